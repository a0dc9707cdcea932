"""Making the shards of a build: one after the other, by several processes, or as the share of one cluster task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import TYPE_CHECKING, Any

from cadvi_hub.annotation.annotators import Annotator, GroundedAnnotator, LlmAnnotator, annotator_model, make_annotator
from cadvi_hub.annotation.questions import QuestionWriter
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.pictures import Pictures
from cadvi_hub.builder.records import GRAPHS, GRAPHS_FILE, RECORDS
from cadvi_hub.builder.rows import built_rows, cad_qa_rows, cad_rows, instruct_rows, statistics, written_rows
from cadvi_hub.core import schema
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.processes import worker_pool
from cadvi_hub.grounding.store import GraphStore
from cadvi_hub.pairing.similarity import ImageSimilarity
from cadvi_hub.sources.formats import format_of

if TYPE_CHECKING:
    from cadvi_hub.builder.build import BuildSettings
    from cadvi_hub.builder.plan import Plan

Row = dict[str, Any]
Authors = tuple[Annotator | None, QuestionWriter | None]  # of summaries and of questions; None where nobody writes


def make_authors(settings: BuildSettings, annotator: Annotator | None = None) -> Authors:
    """Who writes the summaries, `annotator` if there is one, and who writes the questions.

    Raises:
        InputError: settings that do not go together.
    """
    holds = format_of(settings.config, settings.source).holds
    if holds not in ("captions", "pairs"):
        return None, None
    if holds == "pairs" and annotator is None and settings.annotator.prompt == "summary_from_captions":
        hint = "Set it to summary_from_images, and annotator.kind to server or local"
        raise InputError("annotator.prompt", "such pairs have no captions to be read", hint)
    if settings.config != "cad_qa":
        return annotator or make_annotator(settings.annotator, settings.out), None
    if settings.annotator.kind == "local" and (settings.annotator.json_schema or settings.questions.json_schema):
        raise InputError("json_schema", "a local model cannot be held to JSON", "Leave it out or use a server")
    generator = annotator_model(settings.annotator, settings.out)  # one for both: it may hold a model
    return annotator or LlmAnnotator(generator, settings.annotator), QuestionWriter(generator, settings.questions)


class ShardMaker:
    """Makes shards of one build, by `authors` or those that the settings describe."""

    def __init__(self, settings: BuildSettings, folder: BuildFolder, authors: Authors | None = None):
        self.settings, self.folder = settings, folder
        self.annotator, self.writer = authors or make_authors(settings)
        self._features = getattr(schema, f"{settings.config}_features")()
        self._format = format_of(settings.config, settings.source)
        store = self._format.images(settings.source)
        self._pictures = Pictures(store, settings.source.bad_rows == "refuse", settings.images == "embedded")
        self._similarity = ImageSimilarity(settings.clip_model) if settings.clip_model else None
        if self.annotator and settings.graphs:
            graphs = GraphStore(folder.stages.path(GRAPHS) / GRAPHS_FILE)
            self.annotator = GroundedAnnotator(self.annotator, graphs, settings.max_contradicted)

    def make(self, number: int) -> int:
        """Write shard `number`; returns how many records went into it."""
        settings, facts = self.settings, Row()
        records: list[Any] = list(map(self._format.record_from, self.folder.stages.read_block(RECORDS, number)))
        if self.annotator and self.writer:
            rows = written_rows(records, self.annotator, self.writer, self._pictures, facts)
        elif self.annotator:
            kind = (settings.config, settings.turns, settings.seed)
            rows = cad_rows(kind, records, self.annotator, self._pictures, self._similarity, facts)
        elif self._format.holds == "rows":
            rows = built_rows(records, self._features, self._pictures, facts)
        elif settings.config == "cad_qa":
            rows = cad_qa_rows(records, settings.questions.max_words, self._pictures, facts)
        else:
            rows = instruct_rows(records, self._pictures, facts)
        self.folder.write_part(number, rows, self._features, facts)
        return len(records)


def make_shards(plan: Plan, folder: BuildFolder, missing: list[int]) -> Iterator[int]:
    """Make the `missing` shards by as many processes as the settings want.

    Yields how many records went into each.

    Raises:
        InputError: as of a shard, or because a worker was killed; the shards that are whole stay.
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
            hint = "Take fewer workers if memory was short, and guard a script's start with __name__; run it again"
            raise InputError("workers", "a worker process was killed", hint) from error


_maker_of_worker: Callable[[], ShardMaker]


def _start_worker(settings: BuildSettings, folder: BuildFolder) -> None:
    global _maker_of_worker
    # With the first shard, whose result carries a problem to the user; one at the start would only break the pool.
    _maker_of_worker = cache(lambda: ShardMaker(settings, folder))


def _make_in_worker(number: int) -> int:
    return _maker_of_worker().make(number)


def summed(parts: Iterable[Row], read: Row) -> tuple[list[int], Row]:
    """Rows per shard, and the part of the report that is counted: from the facts of all shards and of the reading."""
    drops, flags, totals, rows_per_part = Drops(), Drops(), Counter[str](), []
    drops.merge(read["drops"])
    for facts in parts:
        drops.merge(facts["drops"])
        flags.merge(facts.get("flags", {}))
        totals.update(facts["totals"])
        rows_per_part.append(facts["totals"].get("rows", 0))
    counted = {
        "rows": totals["rows"],
        "records_read": read["records_read"],
        "pair_counts": read["pair_counts"],
        "drops": drops.as_dict(),
    }
    if flags.counts:
        counted["flags"] = flags.as_dict()
    return rows_per_part, {**counted, "statistics": statistics(totals)} if totals["rows"] else counted
