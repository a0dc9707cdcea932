"""Single questions that the page shows, drawn by a seed: pictures, right answer, and what every model said."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.question import TASKS
from cadvi_hub.eval.scoring import OPEN_TASKS, SWAPPED, token_f1
from cadvi_hub.pages.report_columns import Results, judge_names
from cadvi_hub.pages.report_ratings import Rating, read_ratings
from cadvi_hub.pages.report_samples import Picture, numbered, picture, read_rows, short

PER_FILTER = 3  # questions of a set that are drawn for each model and kind of answer
MAX_QUESTIONS = 18  # of a set, so that a page of ten sets has 360 thumbnails at most
KINDS = ("right", "wrong", "unreadable", "order-inconsistent", "open")

Row = dict[str, Any]


class Reply(NamedTuple):
    """What a model answered: its text, "right", "wrong", "unreadable" or "open", and that in words."""

    text: str
    outcome: str
    verdict: str


class Said(NamedTuple):
    """One model's reply, that with the images swapped (None if it was not asked), its kinds, its ratings in words."""

    model: str
    reply: Reply
    swapped: Reply | None
    kinds: tuple[str, ...]
    ratings: list[str]


class Question(NamedTuple):
    """A question with its right answer and what the models said; without text and pictures where the set lacks."""

    task: str
    id: str
    pictures: list[Picture]
    text: str
    answer: str
    said: list[Said]


def sample_questions(
    models: Mapping[str, Path], results: Results, questions: Path | None, seed: int
) -> tuple[list[Question], int]:
    """Questions of all sets, such that every filter of the page finds some.

    Args:
        models: name → folder of its evaluation.
        results: their scores: the sets that each was asked.
        questions: folder of question sets; None shows no pictures.
        seed: of the choice.

    Returns:
        The questions, set by set, and how many they are drawn from.

    Raises:
        InputError: a file that cannot be read, or predictions made on other questions.
    """
    found: list[Question] = []
    total = 0
    for task in TASKS:
        asked = {model: folder for model, folder in models.items() if task in results[model]}
        kinds = {model: answer_kinds(folder, task) for model, folder in asked.items()}
        total += len({index for of_model in kinds.values() for index in of_model})
        if chosen := choose(kinds, f"{seed}/{task}"):
            found += _questions(asked, judge_names(results), questions, task, chosen, kinds)
    return found, total


def choose(kinds: Mapping[str, Mapping[int, Sequence[str]]], seed: str) -> list[int]:
    """Indices of questions, at most `MAX_QUESTIONS`: up to `PER_FILTER` for each model and kind of answer.

    Each model and kind gets its first question before any gets its second.

    Args:
        kinds: model → index → kinds of its answer.
        seed: of the order in which questions are taken.
    """
    indices = sorted({index for of_model in kinds.values() for index in of_model})
    random.Random(seed).shuffle(indices)
    filters = {
        index: [(model, kind) for model, of_model in kinds.items() for kind in of_model.get(index, ())]
        for index in indices
    }
    chosen: set[int] = set()
    filled: Counter[tuple[str, str]] = Counter()
    for wanted in range(1, PER_FILTER + 1):
        for index in indices:
            lacks = any(filled[each] < wanted for each in filters[index])
            if lacks and index not in chosen and len(chosen) < MAX_QUESTIONS:
                chosen.add(index)
                filled.update(filters[index])
    return sorted(chosen)


def answer_kinds(folder: Path, task: str) -> dict[int, tuple[str, ...]]:
    """Index → the kinds of one model's answer."""
    swapped = {row["index"]: _read_and_correct(row) for row in _predictions(folder, task + SWAPPED)}
    found = {}
    for row in _predictions(folder, task):
        (is_read, correct), (swapped_read, swapped_correct) = (
            _read_and_correct(row),
            swapped.get(row["index"], (False, False)),
        )
        inconsistent = is_read and swapped_read and correct != swapped_correct
        found[row["index"]] = (reply_of(row, task).outcome, *(["order-inconsistent"] if inconsistent else []))
    return found


def _read_and_correct(row: Row) -> tuple[bool, bool]:
    return row.get("strict") is not None, row["correct"]


def _questions(
    models: Mapping[str, Path],
    judges: Sequence[str],
    questions: Path | None,
    task: str,
    chosen: Sequence[int],
    kinds: Mapping[str, Mapping[int, tuple[str, ...]]],
) -> Iterator[Question]:
    files = sorted((questions / task).glob("test*.parquet")) if questions else []
    rows = read_rows(files, chosen) if files else {}
    said = {model: _at(folder, task, chosen) for model, folder in models.items()}
    swapped = {model: _at(folder, task + SWAPPED, chosen) for model, folder in models.items()}
    ratings = {model: read_ratings(folder, task) for model, folder in models.items()}
    for index in chosen:
        answered = {model: of_model[index] for model, of_model in said.items() if index in of_model}
        first = next(iter(answered.values()))
        row = rows.get(index, {"id": first["id"], "question": "", "images": []})
        if {row["id"]} != {each["id"] for each in answered.values()}:
            place = str(files[-1]) if files else f"predictions of {task}"
            problem = f"row {index} of {task} is another question than one that was answered"
            raise InputError(place, problem, "Give the questions of the evaluations, or evaluate again")
        yield Question(
            task=task,
            id=row["id"],
            pictures=[picture(image, f"{task} question {row['id']}") for image in row["images"]],
            text=numbered(row["question"]),
            answer=short(first["answer"]),
            said=[
                Said(
                    model,
                    reply_of(each, task),
                    reply_of(swapped[model][index], task) if index in swapped[model] else None,
                    kinds[model][index],
                    rating_lines(ratings[model], judges, index),
                )
                for model, each in answered.items()
            ],
        )


def rating_lines(ratings: Mapping[str, Mapping[int, Rating]], judges: Sequence[str], index: int) -> list[str]:
    """What judges said of an answer, a line each; a judge's number is its place in `judges`, from 1."""
    lines = []
    for judge, by_index in ratings.items():
        if rating := by_index.get(index):
            value = "unreadable rating" if rating.value is None else f"rating {rating.value:g} of 5"
            reason = f": {short(rating.reason)}" if rating.reason else ""
            lines.append(f"{value} [{judges.index(judge) + 1}]{reason}")
    return lines


def _at(folder: Path, task: str, chosen: Sequence[int]) -> dict[int, Row]:
    wanted = set(chosen)
    return {row["index"]: row for row in _predictions(folder, task) if row["index"] in wanted}


def _predictions(folder: Path, task: str) -> Iterator[Row]:
    """The rows of one model's predictions, one at a time; none where it was not asked."""
    file = folder / "predictions" / f"{task}.jsonl"
    if not file.is_file():
        return
    needed = {"index", "id", "answer", "prediction", "correct"}
    if task.removesuffix(SWAPPED) not in OPEN_TASKS:
        needed |= {"strict", "tolerant", "tolerant_correct"}
    number = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007  (the message names it)
                row = json.loads(line)
                if lacking := needed - set(row):
                    raise ValueError(f"no {', '.join(sorted(lacking))}")
                yield row
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}, line {number}", f"cannot be read ({error})", "Evaluate the model again") from error


def reply_of(row: Row, task: str) -> Reply:
    """A row of predictions in words."""
    text = short(row["prediction"])
    if task in OPEN_TASKS:
        return Reply(text, "open", f"token F1 {100 * token_f1(row['prediction'], row['answer']):.0f} %")
    if row["strict"] is not None:
        outcome = "right" if row["correct"] else "wrong"
        return Reply(text, outcome, outcome)
    if row["tolerant"] is None:
        return Reply(text, "unreadable", "unreadable")
    outcome = "right" if row["tolerant_correct"] else "wrong"
    return Reply(text, "unreadable", f"unreadable; tolerant: {row['tolerant']}, {outcome}")
