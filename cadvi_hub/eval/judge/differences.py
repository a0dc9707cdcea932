"""`cadvi judge differences`: precision and recall of the differences that an answer names, by an LLM.

Reference and answer become lists: the items of a list, otherwise the sentences; of a CaD summary, those after
"Differences:". The judge says for each item of the answer which item of the reference states the same. Precision is
the share of the answer's items that one states, recall the share of the reference's items that the answer states.

With `made` above 0 no model is rated, but the judge: answers are made of references, so that the truth of each item is
known. Some items are left out. Others stay as they are, have their halves exchanged ("B, while A", which says the
same) or their images (which is wrong). Items of other references are put in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.annotation.prompt import prompt_hash, render_prompt
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import write_json, write_json_lines
from cadvi_hub.core.image_order import swap_sides
from cadvi_hub.core.json_stream import parse_json
from cadvi_hub.core.output import open_output
from cadvi_hub.core.summaries import object_schema
from cadvi_hub.eval.benchmarks.stored import read_texts
from cadvi_hub.eval.evaluate import question_places
from cadvi_hub.eval.intervals import clustered_share
from cadvi_hub.eval.judge.files import check_open
from cadvi_hub.eval.judge.model import Judge
from cadvi_hub.eval.judge.rating import PROMPTS, as_data
from cadvi_hub.eval.judge.run import answered_of
from cadvi_hub.eval.judge.settings import DifferencesSettings
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Reply

_PROMPT, _COMMAND, _RESULTS = "judge_differences", "cadvi judge differences", "differences.json"
_MOST_ITEMS = 40  # of a list that a judge is shown
_HEADING = re.compile(r"^\W*differences?\W*:?\s*$|\bdifferences:", re.I | re.M)
_ITEM = re.compile(r"^\s*(?:\d{1,2}[.):]|[-*•])\s+", re.M)
_HALVES = re.compile(
    r"(?P<aspect>[A-Z][\w ]*: )?(?P<first>.+?),? (?P<link>while|whereas) (?P<second>.+?)(?P<end>[.!]?)"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")


class Lists(NamedTuple):
    """A question's differences, by its row in the set: of the reference and of the answer.

    `truth` has for each item of the answer the number of the reference's item, from 1, or 0; None if nobody knows.
    `kinds` says how each item was made.
    """

    row: int
    reference: list[str]
    answer: list[str]
    truth: list[int] | None = None
    kinds: list[str] | None = None


def differences(settings: DifferencesSettings) -> str:
    """`judge_differences`, with its scores as a table."""
    judged = judge_differences(settings)
    return "\n".join([f"judge: {judged['judge']}", *(_line(task, each) for task, each in judged["tasks"].items())])


def judge_differences(settings: DifferencesSettings) -> dict[str, Any]:
    """Compare the lists of `settings.tasks` and write, below `settings.results`/judged/differences/<judge>/:

    - <task>.jsonl: per answer its `row` in the set, both lists, `truth`, and `matches` (None: unreadable);
    - differences.json: what this function returns.

    Returns:
        `judge`, and `tasks`: task → `precision`, `recall` and `f1`, the first two with their intervals and numbers of
        items, `unreadable` (share of the replies) and n; with `made`, also `agreement`: the share of items of which
        the judge finds the truth, and `agreement_<kind>` (same, halves_exchanged, images_exchanged, borrowed).

    Raises:
        InputError: a task that is not open or has no predictions, or a judge that cannot be reached.
    """
    check_open(settings.tasks)
    results = Path(settings.results)
    there = [task for task in PROMPTS if (results / "predictions" / f"{task}.jsonl").is_file()]
    places = question_places(settings.data, settings.tasks or ([] if settings.made else there))
    places = {task: place for task, place in places.items() if task in PROMPTS}
    if not places or not (settings.made or settings.tasks or there):
        raise InputError(str(results), f"nothing to compare: no answers to {' or '.join(PROMPTS)}", "Evaluate a model")
    of_tasks = {task: list(_lists(settings, task, place)) for task, place in places.items()}
    judge = Judge(settings.judge, results / "judged" / "replies.sqlite")
    folder = results / "judged" / "differences" / judge.folder_name
    found: dict[str, Any] = {"judge": judge.name, "judge_prompt": prompt_hash(_PROMPT), "tasks": {}}
    with open_output(folder, _COMMAND, lambda _: []) as output:
        output.claim([_RESULTS, *(f"{task}.jsonl" for task in of_tasks)])
        for task, lists in of_tasks.items():
            rows = list(_compared(judge, lists))
            found["tasks"][task] = difference_scores(rows)
            write_json_lines(folder / f"{task}.jsonl", rows)
            write_json(folder / _RESULTS, found)
    return found


def listed(text: str) -> list[str]:
    """The differences in a text, as its list or its sentences say them, each in one line."""
    if heading := _HEADING.search(text):
        text = text[heading.end() :]
    parts = [part for part in (_ITEM.split(text) if _ITEM.search(text) else [text]) if part.strip()]
    if _ITEM.search(text) and not _ITEM.match(text.lstrip("\n")):
        parts = parts[1:]  # what introduces the list
    sentences = [sentence for part in parts for sentence in _SENTENCE.split(" ".join(part.split()))]
    return [sentence for sentence in sentences if re.search(r"\w", sentence)][:_MOST_ITEMS]


def read_matches(outcome: Reply | Failed, lists: Lists) -> list[int] | None:
    """The numbers in a judge's reply; None unless there is one for each item of the answer, and each is in range."""
    if isinstance(outcome, Failed):
        return None
    start, end = outcome.answer.find("{"), outcome.answer.rfind("}")
    try:
        found = parse_json(outcome.answer[start : end + 1])["matches"]
    except (ValueError, KeyError, TypeError):
        return None
    whole = isinstance(found, list) and all(type(each) is int for each in found)
    if not whole or len(found) != len(lists.answer) or not set(found) <= set(range(len(lists.reference) + 1)):
        return None
    return list(found)


def difference_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The scores of rows as `<task>.jsonl` has them. Items are counted over all answers; an answer is a cluster."""
    read = [row for row in rows if row["matches"] is not None]
    unreadable = len(rows) - len(read)
    scores: dict[str, Any] = {"unreadable": unreadable / len(rows) if rows else 0.0, "n": len(rows)}
    right = [(row["row"], match > 0) for row in read for match in row["matches"]]
    stated = [(row["row"], number in row["matches"]) for row in read for number in range(1, len(row["reference"]) + 1)]
    items: dict[str, list[tuple[int, bool]]] = {"precision": right, "recall": stated, "agreement": []}
    for row in read:
        if row["truth"] is not None:
            for match, truth, kind in zip(row["matches"], row["truth"], row["kinds"], strict=True):
                for name in ("agreement", f"agreement_{kind}"):
                    items.setdefault(name, []).append((row["row"], match == truth))
    shares = {
        name: clustered_share([holds for _, holds in of_name], [index for index, _ in of_name])
        for name, of_name in items.items()
        if of_name
    }
    for name, share in shares.items():
        scores |= {name: float(share), f"{name}_interval": list(share.interval), f"{name}_n": share.n}
    if {"precision", "recall"} <= shares.keys():
        precision, recall = float(shares["precision"]), float(shares["recall"])
        scores["f1"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return scores


def made_lists(references: Sequence[list[str]], number: int, seed: int) -> Iterator[Lists]:
    """Answers whose truth is known: about half of a reference's items, some of them changed, and as many of other
    references, shuffled."""
    rng = random.Random(f"{seed}/made differences")
    for index in sorted(rng.sample(range(len(references)), min(number, len(references)))):
        reference = references[index]
        kept = [place for place in range(1, len(reference) + 1) if rng.random() < 0.5]
        own = set(reference)
        others = [item for other in references for item in other if item not in own]
        added = rng.sample(others, min(len(others), max(1, len(kept))))
        answer = [_made_item(reference[place - 1], place, own, rng) for place in kept]
        answer += [(item, 0, "borrowed") for item in added]
        rng.shuffle(answer)
        texts = [text for text, _, _ in answer]
        yield Lists(index, reference, texts, [truth for _, truth, _ in answer], [kind for _, _, kind in answer])


def _made_item(item: str, place: int, own: set[str], rng: random.Random) -> tuple[str, int, str]:
    """What item `place` of the reference becomes in an answer: a text, its truth, and how it was made."""
    kind = rng.choice(("same", "halves_exchanged", "images_exchanged"))
    if kind == "halves_exchanged" and (halves := _HALVES.fullmatch(item)):
        first, second = halves["first"], halves["second"]
        text = (
            f"{halves['aspect'] or ''}{second[0].upper()}{second[1:]}, {halves['link']} {first[0].lower()}{first[1:]}"
        )
        return text + halves["end"], place, kind
    if kind == "images_exchanged" and (text := swap_sides(item)) not in own:
        return text, 0, kind
    return item, place, "same"


def _lists(settings: DifferencesSettings, task: str, place: str) -> Iterator[Lists]:
    if settings.made:
        references = [items for row in read_texts(place, task) if (items := listed(row["answer"]))]
        return made_lists(references, settings.made, settings.seed)
    found = answered_of(Path(settings.results), task, place)
    lists = (Lists(row["index"], listed(each.reference), listed(each.answer)) for row, each in found)
    return (each for each in lists if each.reference)


def _compared(judge: Judge, lists: Sequence[Lists]) -> Iterator[dict[str, Any]]:
    """A row per answer, in their order; nobody is asked about an answer that names nothing."""
    asked = [each for each in lists if each.answer]
    matches = {
        each.row: read_matches(outcome, each)
        for each, outcome in judge.ask(asked, lambda each: _request(each, judge.uses_schema))
    }
    for each in lists:
        yield each._asdict() | {"matches": matches[each.row] if each.answer else []}


def _request(lists: Lists, uses_schema: bool) -> ChatRequest:
    reference, answer = ([as_data(item) for item in items] for items in (lists.reference, lists.answer))
    number = {"type": "integer", "minimum": 0, "maximum": len(reference)}
    bounds = {"minItems": len(answer), "maxItems": len(answer)}
    return ChatRequest(
        render_prompt(_PROMPT, reference=reference, answer=answer),
        decoding=Decoding(max_tokens=16 + 8 * len(answer)),
        json_schema=object_schema(matches={"type": "array", "items": number, **bounds}) if uses_schema else None,
    )


def _line(task: str, scores: Mapping[str, Any]) -> str:
    def shown(name: str) -> str:
        low, high = scores[f"{name}_interval"]
        return f"{name} {100 * scores[name]:.1f} [{100 * low:.1f}–{100 * high:.1f}] of {scores[f'{name}_n']}"

    facts = [shown(name) for name in ("precision", "recall", "agreement") if name in scores]
    facts += [shown(name) for name in scores if name.startswith("agreement_") and f"{name}_n" in scores]
    facts += [f"n {scores['n']}", f"unreadable {100 * scores['unreadable']:.1f} %"]
    return f"  {task}: {', '.join(facts)}"
