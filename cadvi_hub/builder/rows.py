"""The rows of one shard, with what was dropped on the way and what the data set's card counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal

from cadvi_hub.annotation.annotators import Annotator
from cadvi_hub.annotation.conversations import difference_note_messages, v1_messages, v2_messages, which_image_messages
from cadvi_hub.annotation.filters import Dropped
from cadvi_hub.annotation.question_flags import count_flags
from cadvi_hub.annotation.questions import QuestionWriter, with_images
from cadvi_hub.builder.pictures import Pictures
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Message, Provenance
from cadvi_hub.pairing.similarity import ImageSimilarity
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.llava_mix import InstructExample

Row = dict[str, Any]
Turns = Literal["full", "which_image", "difference_note"]


def instruct_rows(examples: Sequence[InstructExample], pictures: Pictures, facts: Row) -> Iterator[Row]:
    """Rows of `instruct_features`; `facts` gets `drops` and `totals` when all are read."""
    drops, totals = Drops(), Counter[str]()
    for example in pictures.usable(examples, drops):
        totals.update(["rows", "rows with an image" if example.images else "rows of text only"])
        images = pictures.embed(example.images)
        yield {"id": example.id, "images": images, "messages": example.messages, "source": example.source}
    facts |= {"drops": drops.as_dict(), "totals": totals}


def built_rows(records: Sequence[BuiltRow], columns: Collection[str], pictures: Pictures, facts: Row) -> Iterator[Row]:
    """Rows that are already made, pictures joined in; `facts` gets `drops` and `totals` when all are read.

    Raises:
        InputError: a row lacks one of the data set's `columns`, or is none of ours.
    """
    drops, totals = Drops(), Counter[str]()
    for record in pictures.usable(records, drops):
        row = {**record.row, "images": pictures.embed(record.images)}
        if missing := [name for name in columns if name not in row]:
            hint = "Build it under the config that it was built under"
            raise InputError(f"row {record.id}", f"it has no {', '.join(missing)}", hint)
        try:
            if "answer" in columns:
                totals["rows"] += 1
                totals["words in answers"] += len(row["answer"].split())
            elif "commonalities" in columns:
                differences = [Difference(Aspect(item["aspect"]), item["text"]) for item in row["differences"]]
                _count(row["shared_nouns"], CadSummary(row["commonalities"], tuple(differences)), totals)
            else:
                totals.update(["rows", "rows with an image" if record.images else "rows of text only"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"a column does not hold what `cadvi build` writes ({error!r})"
            raise InputError(f"row {record.id}", problem, "Fix or remove the row") from error
        yield row
    facts |= {"drops": drops.as_dict(), "totals": totals}


def cad_qa_rows(questions: Sequence[PairQuestion], max_words: int, pictures: Pictures, facts: Row) -> Iterator[Row]:
    """Rows of `cad_qa_features`, empty in what a question file does not tell.

    `facts` gets `drops`, `totals`, and `flags`: what is wrong with questions, which are kept as they stand.
    """
    drops, totals = Drops(), Counter[str]()
    usable = pictures.usable(questions, drops)
    for question in usable:
        totals["rows"] += 1
        totals["words in answers"] += len(question.answer.split())
        yield {
            **asdict(question),
            "images": pictures.embed(question.images),
            "captions": [],
            **asdict(CadSummary("", ())),
            "shared_nouns": [],
            **asdict(Provenance("", "", "")),
        }
    flags = count_flags(usable, max_words)
    facts |= {"drops": drops.as_dict(), "totals": totals, "flags": flags.as_dict()}


def written_rows(
    pairs: Sequence[ImagePair], annotator: Annotator, writer: QuestionWriter, pictures: Pictures, facts: Row
) -> Iterator[Row]:
    """Rows of `cad_qa_features` with questions that `writer` writes.

    `facts` gets `drops`, `totals`, and `flags`: why questions were left out, of pairs of which one was kept or none.
    """
    drops, flags, totals = Drops(), Drops(), Counter[str]()
    summarized = []
    for pair, summary in annotator.annotate(pictures.usable(pairs, drops), pictures.store):
        if isinstance(summary, Dropped):
            drops.add(summary.reason, f"{pair.pair_id}: {summary.detail}".removesuffix(": "))
        else:
            summarized.append((pair, summary))
    for pair, summary, written in writer.write(summarized):
        for flag, detail in written.flagged:
            flags.add(flag, f"{pair.pair_id}: {detail}")
        if isinstance(written.kept, Dropped):
            drops.add(written.kept.reason, f"{pair.pair_id}: {written.kept.detail}")
            continue
        totals["rows"] += 1
        totals["words in answers"] += len(written.kept.answer.split())
        yield {
            "id": pair.pair_id,
            "images": pictures.embed(pair.images),
            "question": with_images(written.kept.question),
            "answer": written.kept.answer,
            "source": pair.source,
            "captions": list(pair.captions),
            **asdict(summary),
            "shared_nouns": list(pair.shared_nouns),
            **asdict(writer.provenance),
        }
    facts |= {"drops": drops.as_dict(), "totals": totals, "flags": flags.as_dict()}


def cad_rows(
    kind: tuple[str, Turns, int],
    pairs: Sequence[ImagePair],
    annotator: Annotator,
    pictures: Pictures,
    similarity: ImageSimilarity | None,
    facts: Row,
) -> Iterator[Row]:
    """Rows of `v1_features` or `v2_features`; `facts` gets `drops` and `totals` when all are read.

    Args:
        kind: config, turns and seed of the conversations.
    """
    drops, totals = Drops(), Counter[str]()
    usable = pictures.usable(pairs, drops)
    scores = similarity.scores(usable, pictures.read) if similarity else [None] * len(usable)
    annotated = annotator.annotate(usable, pictures.store)
    for pair, score, (_, summary) in zip(usable, scores, annotated, strict=True):
        if isinstance(summary, Dropped):
            drops.add(summary.reason, f"{pair.pair_id}: {summary.detail}".removesuffix(": "))
            continue
        messages = _messages(kind, pair, summary)
        _count(pair.shared_nouns, summary, totals)
        yield {
            "id": pair.pair_id,
            "images": pictures.embed(pair.images),
            "messages": messages,
            "source": pair.source,
            **asdict(summary),
            "shared_nouns": list(pair.shared_nouns),
            **asdict(annotator.provenance),
            "captions": list(pair.captions),
            "context": pair.context,
            "clip_sim_score": score,
        }
    facts |= {"drops": drops.as_dict(), "totals": totals}


def _messages(kind: tuple[str, Turns, int], pair: ImagePair, summary: CadSummary) -> list[Message]:
    config, turns, seed = kind
    if turns == "which_image":
        return which_image_messages(pair, seed)
    if turns == "difference_note":
        return difference_note_messages(pair)
    return v1_messages(pair, summary, seed) if config == "v1" else v2_messages(pair, summary, seed)


def statistics(totals: Counter[str]) -> Row:
    """What the card shows, from the summed `totals` of all shards."""
    rows = totals["rows"]
    if "words in answers" in totals:
        return {"mean_words_answer": round(totals["words in answers"] / rows, 2)}
    if "words in commonalities" not in totals:
        return {name: totals[name] for name in ("rows with an image", "rows of text only")}
    shared = {
        int(key.removeprefix("shared nouns ")): n for key, n in totals.items() if key.startswith("shared nouns ")
    }
    return {
        "mean_words_commonalities": round(totals["words in commonalities"] / rows, 2),
        "mean_words_differences": round(totals["words in differences"] / rows, 2),
        "rows_with_aspect": {aspect.value: totals[f"aspect {aspect}"] for aspect in Aspect},
        **({"rows_with_shared_nouns": {str(number): shared[number] for number in sorted(shared)}} if shared else {}),
        **({"rows_without_summary": without} if (without := totals["rows without a summary"]) else {}),
    }


def _count(shared_nouns: Sequence[str], summary: CadSummary, totals: Counter[str]) -> None:
    totals["rows"] += 1
    totals["rows without a summary"] += not summary.commonalities
    totals["words in commonalities"] += len(summary.commonalities.split())
    totals["words in differences"] += sum(len(difference.text.split()) for difference in summary.differences)
    totals.update({f"aspect {difference.aspect}" for difference in summary.differences})
    if shared_nouns:  # a mined pair has some; elsewhere they are not known
        totals[f"shared nouns {len(shared_nouns)}"] += 1
