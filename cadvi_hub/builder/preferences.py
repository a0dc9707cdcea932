"""The rows of one shard of preference pairs, made of the summaries of a finished data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from cadvi_hub.annotation.annotators import graph_name
from cadvi_hub.annotation.filters import Dropped
from cadvi_hub.annotation.preferences import Rejection, worse_answers
from cadvi_hub.annotation.prompt import seeded
from cadvi_hub.annotation.statements import Outcome
from cadvi_hub.annotation.verify import Verified, Verifier
from cadvi_hub.builder.counts import Counts, count_verified
from cadvi_hub.builder.pictures import Pictures
from cadvi_hub.builder.rows import Row, Rows
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CadSummary, Difference, ImagePair, Message, message, summary_of
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.grounding.store import GraphStore
from cadvi_hub.sources.built import BuiltRow

NO_SUMMARY = "no summary"
NO_REJECTION = "no worse answer of the wanted kinds"
OTHERS = 20  # summaries of other pairs that are tried


def preference_rows(
    records: Sequence[BuiltRow],
    wanted: Collection[Rejection],
    verifier: Verifier | None,
    graphs: GraphStore | None,
    pictures: Pictures,
    seed: int,
) -> Rows:
    """Rows of `preferences_features`, one per record that has a summary. The kind of the worse answer is drawn.

    With a verifier, the better answer is what it leaves of the summary; where it removed something, the summary as it
    was written is a worse answer of the kind `contradicted`. With scene graphs, a difference of another pair that they
    contradict makes one, too.

    Raises:
        InputError: a row has no columns of a summary.
    """
    drops, totals = Drops(), Counter[str]()
    usable = [record for record in pictures.usable(records, drops) if _has_summary(record, drops)]
    written = [summary_of(record.row) for record in usable]
    pairs = [ImagePair(record.id, (record.images[0], record.images[1]), record.row["source"]) for record in usable]
    summarized = zip(pairs, written, strict=True)
    verified = verifier.verify(summarized, pictures.store) if verifier else (Verified(*each) for each in summarized)
    for number, (record, checked) in enumerate(zip(usable, verified, strict=True)):
        count_verified(checked, totals)
        pair, chosen = checked.pair, checked.summary
        if isinstance(chosen, Dropped):
            drops.add(chosen.reason, f"{pair.pair_id}: {chosen.detail}")
            continue
        drawn = seeded(pair, seed, "rejection")
        others = written[number + 1 : number + 1 + OTHERS] + written[max(number - OTHERS, 0) : number]
        worse = worse_answers(chosen, others, _contradicts(pair, graphs, pictures), drawn)
        if any(outcome in (Outcome.REMOVED, Outcome.MOVED) for _, outcome in checked.outcomes):
            worse["contradicted"] = written[number]
        answers = {kind: render_summary(summary) for kind, summary in worse.items() if kind in wanted}
        better = render_summary(chosen)
        kinds = sorted(kind for kind, answer in answers.items() if answer != better)
        if not kinds:
            drops.add(NO_REJECTION, pair.pair_id)
            continue
        kind = drawn.choice(kinds)
        totals.update(["rows", f"rejection {kind}"])
        yield {
            "id": pair.pair_id,
            "images": pictures.embed(record.images),
            "prompt": [_question(record)],
            "chosen": [message("assistant", better)],
            "rejected": [message("assistant", answers[kind])],
            "source": pair.source,
            "rejection": kind,
            **{name: record.row.get(name) or "" for name in ("annotator", "prompt_hash", "decoding")},
        }
    return Counts(drops, totals)


def _has_summary(record: BuiltRow, drops: Drops) -> bool:
    if missing := [name for name in ("messages", "commonalities", "differences") if name not in record.row]:
        hint = "Name a data set with summaries, such as v1 or v2"
        raise InputError(f"row {record.id}", f"it has no {', '.join(missing)}", hint)
    whole = len(record.images) == 2 and record.row["commonalities"] and record.row["differences"]
    if not whole:
        drops.add(NO_SUMMARY, record.id)
    return bool(whole)


def _question(record: BuiltRow) -> Message:
    """The request to compare, with both images."""
    first: Row = record.row["messages"][0]
    images = sum(part["type"] == "image" for part in first["content"])
    if first["role"] != "user" or images != 2:
        raise InputError(f"row {record.id}", "its first message does not show both images", "Fix or remove the row")
    return first


def _contradicts(pair: ImagePair, graphs: GraphStore | None, pictures: Pictures) -> Callable[[Difference], bool]:
    """Whether the scene graphs of the pair contradict a difference; never without both graphs."""
    names = [graph_name(name, pictures.store) for name in pair.images]
    first, second = (graphs.get(name) for name in names) if graphs else (None, None)

    def is_contradicted(difference: Difference) -> bool:
        if first is None or second is None:
            return False
        grounding = check_grounding(CadSummary("", (difference,)), (first, second))
        return grounding.first(Verdict.CONTRADICTED) is not None

    return is_contradicted
