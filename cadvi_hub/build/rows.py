"""The rows of one shard, with what was dropped on the way and what the data set's card counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, Protocol, TypeVar

from cadvi_hub.annotation import Annotator
from cadvi_hub.conversations import difference_note_messages, v1_messages, v2_messages, which_image_messages
from cadvi_hub.errors import InputError
from cadvi_hub.filters import Dropped
from cadvi_hub.images import image_file, read_image
from cadvi_hub.schema import Aspect, CadSummary, EmbeddedImage, ImagePair, Message, Provenance
from cadvi_hub.sources import Drops, SourceSettings
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.llava_mix import InstructExample

BAD_PICTURE = "picture does not decode or is too large"

Row = dict[str, Any]
Turns = Literal["full", "which_image", "difference_note"]


class _HasImages(Protocol):
    @property
    def images(self) -> tuple[str, ...]: ...


Record = TypeVar("Record", bound=_HasImages)


class Pictures:
    """The picture files of a source. Each is decoded once, before anybody is asked to describe it."""

    def __init__(self, source: SourceSettings):
        self.root = source.path
        self._refuse = source.bad_rows == "refuse"
        self._decodes: dict[str, bool] = {}

    def usable(self, records: Sequence[Record], drops: Drops) -> list[Record]:
        """The records whose pictures all decode.

        Raises:
            InputError: a picture that does not, where `bad_rows` is `refuse`.
        """
        kept = []
        for record in records:
            bad = [name for name in record.images if not self._check(name)]
            if bad:
                drops.add(BAD_PICTURE, bad[0])
            else:
                kept.append(record)
        return kept

    def embed(self, names: Sequence[str]) -> list[EmbeddedImage]:
        """The files' bytes as they stand, each with its file name."""
        files = [image_file(self.root, name) for name in names]
        return [{"bytes": file.read_bytes(), "path": file.name} for file in files]

    def _check(self, name: str) -> bool:
        if name not in self._decodes:
            try:
                read_image(image_file(self.root, name))
            except InputError as error:
                if self._refuse:
                    mend = f"{error.mend}, or set source.bad_rows to drop"
                    raise InputError(error.place, error.fault, mend) from error
                self._decodes[name] = False
            else:
                self._decodes[name] = True
        return self._decodes[name]


def instruct_rows(examples: Sequence[InstructExample], pictures: Pictures, facts: Row) -> Iterator[Row]:
    """Rows of `instruct_features`; `facts` gets `drops` and `totals` when all are read."""
    drops, totals = Drops(), Counter[str]()
    for example in pictures.usable(examples, drops):
        totals.update(["rows", "rows with an image" if example.images else "rows of text only"])
        images = pictures.embed(example.images)
        yield {"id": example.id, "images": images, "messages": example.messages, "source": example.source}
    facts |= {"drops": drops.as_dict(), "totals": totals}


def cad_qa_rows(questions: Sequence[PairQuestion], pictures: Pictures, facts: Row) -> Iterator[Row]:
    """Rows of `cad_qa_features`, empty in what a question file does not tell; `facts` gets `drops` and `totals`."""
    drops, totals = Drops(), Counter[str]()
    for question in pictures.usable(questions, drops):
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
    facts |= {"drops": drops.as_dict(), "totals": totals}


def cad_rows(
    config: str,
    pairs: Sequence[ImagePair],
    annotator: Annotator,
    pictures: Pictures,
    turns: Turns,
    seed: int,
    facts: Row,
) -> Iterator[Row]:
    """Rows of `v1_features` or `v2_features`; `facts` gets `drops` and `totals` when all are read."""
    drops, totals = Drops(), Counter[str]()
    usable = pictures.usable(pairs, drops)
    for pair, (_, summary) in zip(usable, annotator.annotate(usable, pictures.root), strict=True):
        if isinstance(summary, Dropped):
            drops.add(summary.reason, f"{pair.pair_id}: {summary.detail}".removesuffix(": "))
            continue
        messages = _messages(config, turns, pair, summary, seed)
        _count(pair, summary, totals)
        own = {"captions": list(pair.captions)} if config == "v1" else {"context": pair.context}
        yield {
            "id": pair.pair_id,
            "images": pictures.embed(pair.images),
            "messages": messages,
            "source": pair.source,
            **asdict(summary),
            "shared_nouns": list(pair.shared_nouns),
            **asdict(annotator.provenance),
            **own,
        }
    facts |= {"drops": drops.as_dict(), "totals": totals}


def _messages(config: str, turns: Turns, pair: ImagePair, summary: CadSummary, seed: int) -> list[Message]:
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
        "rows_with_shared_nouns": {str(number): shared[number] for number in sorted(shared)},
    }


def _count(pair: ImagePair, summary: CadSummary, totals: Counter[str]) -> None:
    totals["rows"] += 1
    totals["words in commonalities"] += len(summary.commonalities.split())
    totals["words in differences"] += sum(len(difference.text.split()) for difference in summary.differences)
    totals.update({f"aspect {difference.aspect}" for difference in summary.differences})
    totals[f"shared nouns {len(pair.shared_nouns)}"] += 1
