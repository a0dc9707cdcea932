"""The rows of one shard. Each generator returns what it counted when all rows are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cadvi_hub.annotation.annotators import Annotator, Summarized
from cadvi_hub.annotation.conversations import (
    difference_note_messages,
    told_apart_messages,
    v1_messages,
    v2_messages,
    which_image_messages,
)
from cadvi_hub.annotation.filters import Dropped, DropReason
from cadvi_hub.annotation.question_flags import count_flags
from cadvi_hub.annotation.questions import QuestionWriter, with_images
from cadvi_hub.annotation.verify import Verified, Verifier
from cadvi_hub.builder.counts import Counts, count_verified
from cadvi_hub.builder.pictures import Pictures
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CadSummary, ImagePair, Message, Provenance, summary_of
from cadvi_hub.pairing.similarity import ImageSimilarity
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.llava_mix import InstructExample

Row = dict[str, Any]
Rows = Generator[Row, None, Counts]


def instruct_rows(examples: Sequence[InstructExample], pictures: Pictures) -> Rows:
    """Rows of `instruct_features`."""
    drops, totals = Drops(), Counter[str]()
    for example in pictures.usable(examples, drops):
        totals.update(["rows", "rows with an image" if example.images else "rows of text only"])
        images = pictures.embed(example.images)
        yield {"id": example.id, "images": images, "messages": example.messages, "source": example.source}
    return Counts(drops, totals)


def built_rows(records: Sequence[BuiltRow], columns: Collection[str], pictures: Pictures) -> Rows:
    """Rows that are already made, with their images.

    Raises:
        InputError: a row lacks one of the data set's `columns`, or was not written by `cadvi build`.
    """
    drops, totals = Drops(), Counter[str]()
    for record in pictures.usable(records, drops):
        row = {**record.row, "images": pictures.embed(record.images)}
        if missing := [name for name in columns if name not in row]:
            hint = "Build it under the config that it was built under"
            raise InputError(f"row {record.id}", f"it has no {', '.join(missing)}", hint)
        try:
            if "answer" in columns:
                _count_answer(row["answer"], totals)
            elif "rejection" in columns:
                totals.update(["rows", f"rejection {row['rejection']}"])
            elif "commonalities" in columns:
                _count_summary(row["shared_nouns"], summary_of(row), totals)
            else:
                totals.update(["rows", "rows with an image" if record.images else "rows of text only"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"a column does not hold what `cadvi build` writes ({error!r})"
            raise InputError(f"row {record.id}", problem, "Fix or remove the row") from error
        yield row
    return Counts(drops, totals)


def cad_qa_rows(questions: Sequence[PairQuestion], max_words: int, pictures: Pictures) -> Rows:
    """Rows of `cad_qa_features`; columns that a question file does not have are empty.

    Faulty questions are flagged, and kept as they are.
    """
    drops, totals = Drops(), Counter[str]()
    usable = pictures.usable(questions, drops)
    for question in usable:
        _count_answer(question.answer, totals)
        yield {
            **asdict(question),
            "images": pictures.embed(question.images),
            "captions": [],
            **asdict(CadSummary("", ())),
            "shared_nouns": [],
            **asdict(Provenance("", "", "")),
        }
    return Counts(drops, totals, count_flags(usable, max_words))


def written_rows(
    pairs: Sequence[ImagePair],
    annotator: Annotator,
    verifier: Verifier | None,
    writer: QuestionWriter,
    pictures: Pictures,
) -> Rows:
    """Rows of `cad_qa_features` with questions that `writer` writes.

    The flags say why questions were left out, for pairs with one question that was kept and for pairs with none.
    """
    drops, flags, totals = Drops(), Drops(), Counter[str]()
    summarized = []
    annotated = annotator.annotate(pictures.different(pairs, drops), pictures.store)
    for verified in _verified(annotated, verifier, pictures, totals):
        if isinstance(verified.summary, Dropped):
            _drop(verified.pair, verified.summary, drops)
        else:
            summarized.append((verified.pair, verified.summary))
    for pair, summary, written in writer.write(summarized):
        for flag, detail in written.flagged:
            flags.add(flag, f"{pair.pair_id}: {detail}")
        if isinstance(written.kept, Dropped):
            drops.add(written.kept.reason, f"{pair.pair_id}: {written.kept.detail}")
            continue
        _count_answer(written.kept.answer, totals)
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
    return Counts(drops, totals, flags)


def cad_rows(
    pairs: Sequence[ImagePair],
    annotator: Annotator,
    verifier: Verifier | None,
    pictures: Pictures,
    similarity: ImageSimilarity | None,
    settings: BuildSettings,
) -> Rows:
    """Rows of `v1_features` or `v2_features`; `settings` say which conversations they have."""
    drops, totals = Drops(), Counter[str]()
    usable = pictures.different(pairs, drops)
    scores = similarity.scores(usable, pictures.read) if similarity else [None] * len(usable)
    annotated = _verified(annotator.annotate(usable, pictures.store), verifier, pictures, totals)
    for pair, score, verified in zip(usable, scores, annotated, strict=True):
        summary = verified.summary
        if isinstance(summary, Dropped):
            _drop(pair, summary, drops)
            continue
        messages = _messages(settings, pair, summary)
        if isinstance(messages, Dropped):
            _drop(pair, messages, drops)
            continue
        _count_summary(pair.shared_nouns, summary, totals)
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
    return Counts(drops, totals)


def _verified(
    summarized: Summarized, verifier: Verifier | None, pictures: Pictures, totals: Counter[str]
) -> Iterator[Verified]:
    """The summaries that `verifier` leaves; what it finds is added to `totals`."""
    if verifier is None:
        yield from (Verified(pair, summary) for pair, summary in summarized)
        return
    for verified in verifier.verify(summarized, pictures.store):
        count_verified(verified, totals)
        yield verified


def _messages(settings: BuildSettings, pair: ImagePair, summary: CadSummary) -> list[Message] | Dropped:
    if settings.turns == "which_image":
        if pair.captions:
            return which_image_messages(pair, settings.seed)
        turns = told_apart_messages(pair, summary, settings.seed)
        return turns or Dropped(DropReason.NOT_TOLD_APART, "no difference says what one image shows")
    if settings.turns == "difference_note":
        return difference_note_messages(pair)
    write = v1_messages if settings.config == "v1" else v2_messages
    return write(pair, summary, settings.seed)


def _drop(pair: ImagePair, dropped: Dropped, drops: Drops) -> None:
    drops.add(dropped.reason, f"{pair.pair_id}: {dropped.detail}".removesuffix(": "))


def _count_answer(answer: str, totals: Counter[str]) -> None:
    totals["rows"] += 1
    totals["words in answers"] += len(answer.split())


def _count_summary(shared_nouns: Sequence[str], summary: CadSummary, totals: Counter[str]) -> None:
    totals["rows"] += 1
    totals["rows without a summary"] += not summary.commonalities
    totals["words in commonalities"] += len(summary.commonalities.split())
    totals["words in differences"] += sum(len(difference.text.split()) for difference in summary.differences)
    totals.update({f"aspect {difference.aspect}" for difference in summary.differences})
    if shared_nouns:  # a mined pair has some; for others they are unknown
        totals[f"shared nouns {len(shared_nouns)}"] += 1
