"""Making the shards of a build: one after the other, by several processes, or as the share of one cluster task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import cache
from typing import Any

from cadvi_hub.annotation.annotators import GroundedAnnotator, reply_store
from cadvi_hub.annotation.filters import UNUSABLE_REPLY, DropReason
from cadvi_hub.builder.authors import Authors, make_authors
from cadvi_hub.builder.counts import Counted, StagedRecords, report_of
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.pictures import Pictures
from cadvi_hub.builder.plan import Plan
from cadvi_hub.builder.preferences import preference_rows
from cadvi_hub.builder.rows import Rows, built_rows, cad_qa_rows, cad_rows, instruct_rows, written_rows
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.builder.stages import GRAPHS, GRAPHS_FILE, RECORDS
from cadvi_hub.core import schema
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json
from cadvi_hub.core.processes import worker_pool
from cadvi_hub.grounding.store import GraphStore
from cadvi_hub.pairing.explain import advise
from cadvi_hub.pairing.similarity import ImageSimilarity
from cadvi_hub.sources.formats import format_of


class ShardMaker:
    """Makes shards of one build; the texts come from `authors` or from those that the settings describe."""

    def __init__(self, settings: BuildSettings, folder: BuildFolder, authors: Authors | None = None):
        self.settings, self.folder = settings, folder
        self.annotator, self.writer, self.verifier = authors or make_authors(settings)
        self._features = getattr(schema, f"{settings.config}_features")()
        self._format = format_of(settings.config, settings.source)
        store = self._format.images(settings.source)
        same_look = settings.pairs.same_look if self._format.holds == "captions" else None
        self._pictures = Pictures(
            store, settings.source.bad_rows == "refuse", settings.images == "embedded", same_look
        )
        self._similarity = ImageSimilarity(settings.clip_model) if settings.clip_model else None
        self._graphs = GraphStore(folder.stages.path(GRAPHS) / GRAPHS_FILE) if settings.graphs else None
        if self.annotator and self._graphs:
            self.annotator = GroundedAnnotator(self.annotator, self._graphs, settings.max_contradicted)

    def make(self, number: int) -> int:
        """Write shard `number`; returns how many records went into it."""
        records: list[Any] = list(map(self._format.record_from, self.folder.stages.read_block(RECORDS, number)))
        rows = Counted(self._rows(records))
        self.folder.write_part(number, rows, self._features, lambda: rows.result.as_dict())
        return len(records)

    def _rows(self, records: list[Any]) -> Rows:
        if self.annotator and self.writer:
            return written_rows(records, self.annotator, self.verifier, self.writer, self._pictures)
        if self.annotator:
            return cad_rows(records, self.annotator, self.verifier, self._pictures, self._similarity, self.settings)
        if self._format.holds == "summaries":
            wanted, seed = self.settings.rejections, self.settings.seed
            return preference_rows(records, wanted, self.verifier, self._graphs, self._pictures, seed)
        if self._format.holds == "rows":
            return built_rows(records, self._features, self._pictures)
        if self.settings.config == "cad_qa":
            return cad_qa_rows(records, self.settings.questions.max_words, self._pictures)
        return instruct_rows(records, self._pictures)


def is_made(settings: BuildSettings, folder: BuildFolder, number: int) -> bool:
    """Whether shard `number` is there and whole, and has no reply that is to be asked again."""
    if not folder.has_part(number):
        return False
    return not settings.annotator.retry_unreadable or not _unusable_replies(folder.part_counts(number)["drops"])


def make_shards(plan: Plan, folder: BuildFolder, missing: list[int]) -> Iterator[int]:
    """Make the `missing` shards with the number of processes that the settings ask for.

    Yields how many records went into each.

    Raises:
        InputError: whatever a shard raises, or a worker was killed; the shards that are whole stay.
    """
    workers = min(plan.settings.workers, len(missing))
    if workers == 1:
        yield from map(ShardMaker(plan.settings, folder, plan.authors).make, missing)
    if workers < 2:
        return
    with worker_pool(workers, _start_worker, plan.settings, folder) as pool:
        try:
            for shard in as_completed([pool.submit(_make_in_worker, number) for number in missing]):
                yield shard.result()
        except BrokenProcessPool as error:
            hint = "Use fewer workers if memory was short, and guard a script's start with __name__; run it again"
            raise InputError("workers", "a worker process was killed", hint) from error


_maker_of_worker: Callable[[], ShardMaker]


def _start_worker(settings: BuildSettings, folder: BuildFolder) -> None:
    global _maker_of_worker
    # Made with the first shard, whose result carries an error to the user; an error here would only break the pool.
    _maker_of_worker = cache(lambda: ShardMaker(settings, folder))


def _make_in_worker(number: int) -> int:
    return _maker_of_worker().make(number)


def lay_out(plan: Plan, folder: BuildFolder, read: StagedRecords) -> None:
    """Fix the final names of the shards, and the report over all of them.

    Raises:
        InputError: no row is left.
    """
    parts = list(map(folder.part_counts, range(read.blocks)))
    counted = report_of(parts, read)
    if not counted["rows"]:
        problem = f"no row is left ({reasons(counted['drops'], examples=True) or 'no pair or row was found'})"
        advice = read.pair_counts and advise(read.pair_counts, read.drops, asdict(plan.settings.pairs))
        limits = f"Look at the source and at the recipe's limits{f': {advice}' if advice else ''}"
        hint = f"{limits}{retry_hint(plan, counted['drops'])}{refusal_hint(counted['drops'])}"
        raise InputError(str(plan.settings.source.path), problem, hint)
    if plan.settings.graphs:
        counted["graphs"] = folder.stages.counts(GRAPHS)
    report = {"config": plan.settings.config, "digest": plan.digest, "recipe": plan.recipe, **counted}
    folder.lay_out([part["totals"].get("rows", 0) for part in parts], report)


def reasons(drops: Json, examples: bool = False) -> str:
    """Why rows were dropped, for messages."""
    return ", ".join(
        f"{entry['count']} × {reason}" + (f", as {entry['first'][0]}" if examples else "")
        for reason, entry in drops.items()
    )


def refusal_hint(drops: Json) -> str:
    """How to leave a parameter out that the endpoint refuses; nothing if it refuses none."""
    refused = drops.get(DropReason.REQUEST_FAILED, {"first": []})["first"]
    for name in ("temperature", "max_tokens", "top_p", "seed", "stop", "response_format"):
        if any(re.search(rf"\b4\d\d\b.*\b{name}\b", said) for said in refused):
            return f"; --annotator.rename_parameters '{{{name}: null}}' leaves {name} out of every request"
    return ""


def retry_hint(plan: Plan, drops: Json, is_finished: bool = False) -> str:
    """Where the replies are that cannot be used, and how to ask again; nothing if there are none."""
    number, annotator = _unusable_replies(drops), plan.settings.annotator
    if not number or annotator.kind == "mentions":
        return ""
    store, first = reply_store(annotator, plan.settings.out), f"remove {plan.path}; " if is_finished else ""
    return f"; {number} replies in {store} cannot be used ({first}--annotator.retry_unreadable true asks again)"


def _unusable_replies(drops: Json) -> int:
    return sum(entry["count"] for reason, entry in drops.items() if reason in UNUSABLE_REPLY)
