"""What a build counts: dropped rows with their reasons, flags, and the totals that the data set's card shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cadvi_hub.annotation.statements import Outcome
from cadvi_hub.annotation.verify import CAPTIONS, Verified
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.files import Json
from cadvi_hub.core.schema import Aspect
from cadvi_hub.grounding.check import COMMONALITIES

Item = TypeVar("Item")
Result = TypeVar("Result")


class Counted(Generic[Item, Result]):
    """The items of a generator, to be read once; `result` is what the generator returned at its end."""

    result: Result

    def __init__(self, generator: Generator[Item, None, Result]):
        self._generator = generator

    def __iter__(self) -> Iterator[Item]:
        self.result = yield from self._generator


@dataclass(frozen=True)
class Counts:
    """What was counted over the rows of one shard.

    Attributes:
        drops: records that became no row.
        totals: sums over the rows, `rows` among them.
        flags: faults of questions: of those that were kept as they are, or why others were left out.
    """

    drops: Drops = field(default_factory=Drops)
    totals: Counter[str] = field(default_factory=Counter)
    flags: Drops = field(default_factory=Drops)

    def as_dict(self) -> Json:
        return {"drops": self.drops.as_dict(), "totals": self.totals, "flags": self.flags.as_dict()}

    def merge(self, counted: Json) -> None:
        """Add what `as_dict` returned for another shard."""
        self.drops.merge(counted["drops"])
        self.totals.update(counted["totals"])
        self.flags.merge(counted.get("flags", {}))


@dataclass(frozen=True)
class StagedRecords:
    """What was counted while the records of a build were read.

    Attributes:
        records_read: records of the source: captions, where pairs are mined from them.
        drops: what was dropped of them, as `Drops.as_dict` returns it.
        pair_counts: captions and pairs after each rule of the mining; empty if nothing was mined.
        records: records that are left, which shards are cut from.
        blocks: blocks of records, one per shard.
    """

    records_read: int
    drops: Json
    pair_counts: dict[str, int]
    records: int = 0
    blocks: int = 0


def report_of(parts: Sequence[Json], read: StagedRecords) -> Json:
    """The counted part of a build's report, over all shards and the reading of the records."""
    total = Counts()
    total.drops.merge(read.drops)
    for part in parts:
        total.merge(part)
    report = {
        "rows": total.totals["rows"],
        "records_read": read.records_read,
        "pair_counts": read.pair_counts,
        "drops": total.drops.as_dict(),
    }
    if total.flags.counts:
        report["flags"] = total.flags.as_dict()
    if total.totals["verified pairs"]:
        report["verification"] = _verification(total.totals)
    if report["rows"]:
        report["statistics"] = _statistics(total.totals)
    return report


def count_verified(verified: Verified, totals: Counter[str]) -> None:
    """Add what the verifier found about one pair; a pair that had no summary is not counted."""
    if verified.questions or verified.outcomes:
        totals["verified pairs"] += 1
        totals["verifying questions"] += verified.questions
        totals.update({f"verified {section}: {outcome}": n for (section, outcome), n in verified.outcomes.items()})
        totals.update({f"placed {section}: {right}": n for (section, right), n in verified.placements.items()})


def _verification(totals: Counter[str]) -> Json:
    """What became of the statements, by section, and what it cost."""
    pairs, questions = totals["verified pairs"], totals["verifying questions"]
    return {
        "pairs": pairs,
        "questions": questions,
        "questions_per_pair": round(questions / pairs, 2),
        "statements": {
            section: {str(outcome): totals[f"verified {section}: {outcome}"] for outcome in Outcome}
            for section in (COMMONALITIES, *map(str, Aspect))
        },
        **({"round_trip": _round_trip(totals)} if any(key.startswith("placed ") for key in totals) else {}),
    }


def _round_trip(totals: Counter[str]) -> Json:
    """Of how many statements about one image, and captions, the reader said which one in both orders, by section."""
    return {
        section: {"placed": totals[f"placed {section}: True"], "removed": totals[f"placed {section}: False"]}
        for section in (COMMONALITIES, *map(str, Aspect), CAPTIONS)
    }


def _statistics(totals: Counter[str]) -> Json:
    """What the card shows; means are over the rows that have a summary."""
    rows = totals["rows"]
    if "words in answers" in totals:
        return {"mean_words_answer": round(totals["words in answers"] / rows, 2)}
    if rejections := {key: n for key, n in sorted(totals.items()) if key.startswith("rejection ")}:
        return {"rows_with_rejection": {key.removeprefix("rejection "): n for key, n in rejections.items()}}
    if "words in commonalities" not in totals:
        return {name: totals[name] for name in ("rows with an image", "rows of text only")}
    shared = {
        int(key.removeprefix("shared nouns ")): n for key, n in totals.items() if key.startswith("shared nouns ")
    }
    without = totals["rows without a summary"]
    summaries = max(rows - without, 1)
    return {
        "mean_words_commonalities": round(totals["words in commonalities"] / summaries, 2),
        "mean_words_differences": round(totals["words in differences"] / summaries, 2),
        "rows_with_aspect": {aspect.value: totals[f"aspect {aspect}"] for aspect in Aspect},
        **({"rows_with_shared_nouns": {str(number): shared[number] for number in sorted(shared)}} if shared else {}),
        **({"rows_without_summary": without} if without else {}),
    }
