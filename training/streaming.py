"""A mixture read from its parquet files while the training goes on: nothing is copied, and no row is counted before.

The footers and a small column of each file tell at the start how many rows there are, and how many images each has.
The order of an epoch follows from that and the seed (`sampling.StreamingSampler`); row groups are read when their rows
come next, from this machine or the Hub.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import load_dataset_builder
from httpx import HTTPError
from huggingface_hub import HfFileSystem
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers import ProcessorMixin

from cadvi_hub.errors import InputError
from cadvi_hub.training.lengths import CUT, DROPPED, RowCounter, no_room
from cadvi_hub.training.mixture import Mixture, Source, parse_sources, passes, pin, place_of, row_features

UNFIT = "faulty; the training's output names the first of them"
NAMED = 10  # faulty rows of a source
HUB = "hf://"
READERS = 16  # files whose footers are fetched at once

logger = logging.getLogger(__name__)
Row = dict[str, Any]  # images (encoded), messages and length


class Visit(NamedTuple):
    """Rows of one row group, read together once in an epoch.

    Attributes:
        source: the data set's name in the mixture.
        file: index into `RowStream.files`.
        group: number of the row group in the file.
        start: number that the group's first row has in the data set.
        rows: which of the group's rows, from 0, (rows,).
        images: how many images each of these has, (rows,).
    """

    source: str
    file: int
    group: int
    start: int
    rows: np.ndarray
    images: np.ndarray


class _File(NamedTuple):
    """A parquet file, with what its footer says."""

    path: str
    metadata: pq.FileMetaData


class RowStream(Dataset):
    """The rows of a mixture, numbered in the order of `visits`, repeats counted; `read` fetches any of them.

    A data set to a `DataLoader` whose sampler gives the encoded rows themselves instead of their numbers: one process
    reads, and its workers decode.

    Args:
        files: where the row groups lie.
        visits: what an epoch reads.
        counters: per source, how its rows are counted and cut.

    Attributes:
        visits: what an epoch reads.
        images: how many images every row has, (rows,).
        dropped: per source, rows left out by reason, among those read until now; others take their places.
        cut: per source, rows that lost text by kind, among those read until now; see `lengths.fit_rows`.
        spare: a row that stands where no other is left to.
    """

    spare: Row

    def __init__(self, files: list[_File], visits: list[Visit], counters: Mapping[str, RowCounter]):
        self.visits, self.images = visits, np.concatenate([visit.images for visit in visits])
        self._files, self._counters, self._features = files, counters, row_features()
        self._ends = np.cumsum([len(visit.rows) for visit in visits])
        self.dropped = {
            name: Counter({no_room(counter.max_tokens): 0, UNFIT: 0}) for name, counter in counters.items()
        }
        self.cut = {name: Counter(dict.fromkeys(CUT.values(), 0)) for name in counters}
        self._noted: set[tuple[str, int]] = set()
        self._first_faults: dict[str, InputError] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: Row) -> Row:
        """The encoded `row` with its pictures decoded."""
        return row | self._features.decode_example({name: row[name] for name in self._features})

    def numbers(self, visit: int) -> np.ndarray:
        """The numbers of the rows of this visit, (rows,)."""
        return np.arange(self._ends[visit] - len(self.visits[visit].rows), self._ends[visit])

    def read(self, numbers: np.ndarray) -> dict[int, Row | None]:
        """Number → row, cut where it was too long; None for one that does not fit or is faulty.

        Raises:
            InputError: a file cannot be read.
        """
        found: dict[int, Row | None] = {}
        visits = np.searchsorted(self._ends, numbers, side="right")
        for index in np.unique(visits):
            visit, wanted = self.visits[index], numbers[visits == index]
            rows = visit.rows[wanted - self.numbers(index)[0]]
            file = self._files[visit.file]
            with _opened(file.path, file.metadata) as parquet:
                table = parquet.read_row_group(visit.group, columns=list(self._features))
            table = _as_ours(table.take(rows), file.path)
            found |= zip(
                wanted.tolist(), self._fitted(visit.source, table, (visit.start + rows).tolist()), strict=True
            )
        return found

    def try_out(self) -> None:
        """Read every source's first rows, and set `spare`.

        Raises:
            InputError: none of a source's can be trained on.
        """
        firsts = {visit.source: index for index, visit in reversed(list(enumerate(self.visits)))}
        for name, index in firsts.items():
            rows = list(self.read(self.numbers(index)).values())
            fit = [row for row in rows if row]
            if not fit:
                fault, mend = no_room(self._counters[name].max_tokens), "Raise max_tokens"
                if name in self._first_faults:
                    fault, mend = self._first_faults[name].fault, self._first_faults[name].mend
                fault = f"none of its first {len(rows)} rows can be trained on ({fault})"
                raise InputError(f"data set {name!r}", fault, mend)
            self.spare = fit[0]

    def _fitted(self, source: str, table: pa.Table, numbers: list[int]) -> list[Row | None]:
        """The rows of `table`, which have these numbers in their data set."""
        try:
            counted = self._counters[source](table, numbers)
        except InputError as error:
            if len(numbers) > 1:  # all but the faulty ones
                return [self._fitted(source, table.slice(i, 1), [number])[0] for i, number in enumerate(numbers)]
            if self._is_new(source, numbers[0]):
                self.dropped[source][UNFIT] += 1
                if self.dropped[source][UNFIT] <= NAMED:
                    logger.warning("left out: %s", error)
                self._first_faults.setdefault(source, error)
            return [None]
        fitted: list[Row | None] = []
        outcomes = counted["outcome"].to_pylist()
        rows = counted.drop_columns("outcome").append_column("images", table["images"]).to_pylist()
        for row, number, outcome in zip(rows, numbers, outcomes, strict=True):
            if (outcome in CUT or outcome == DROPPED) and self._is_new(source, number):
                if outcome == DROPPED:
                    self.dropped[source][no_room(self._counters[source].max_tokens)] += 1
                else:
                    self.cut[source][CUT[outcome]] += 1
            fitted.append(None if outcome == DROPPED else row)
        return fitted

    def _is_new(self, source: str, number: int) -> bool:
        """Whether this row is told of for the first time: an epoch reads it again, and a repeat."""
        is_new = (source, number) not in self._noted
        self._noted.add((source, number))
        return is_new


def stream_mixture(settings: Mapping[str, Any], processor: ProcessorMixin, max_tokens: int, seed: int) -> Mixture:
    """The sources of a recipe as a `RowStream`; of a row that does not fit, and a faulty one, another takes the place.

    Arguments as `mixture.load_mixture` has them.

    Raises:
        InputError: a source is not there or not made of parquet files, or its first rows cannot be trained on.
    """
    files: list[_File] = []
    visits: list[Visit] = []
    rows: dict[str, int] = {}
    sources = pin(parse_sources(settings))
    for name, source in sources.items():
        groups = []  # (file, row group, its first row's number, images of each row)
        first = 0
        for path, (metadata, images) in _looked_into(name, _paths(name, source)):
            for number, of_rows in enumerate(images):
                groups.append((len(files), number, first, of_rows))
                first += len(of_rows)
            files.append(_File(path, metadata))
        if not first:
            raise InputError(place_of(name, source), "it has no rows", "Build it again, or remove it from the mixture")
        drawn = passes(source, first, seed)
        rows[name] = sum(map(len, drawn))
        for chosen in drawn:
            for file, number, start, of_rows in groups:
                here = chosen[slice(*np.searchsorted(chosen, [start, start + len(of_rows)]))] - start
                if len(here):
                    visits.append(Visit(name, file, number, start, here, of_rows[here]))
    # Of its own: a tokenizer cannot serve two threads, and rows are counted ahead of the batch that is made.
    processor = copy.deepcopy(processor)
    stream = RowStream(files, visits, {name: RowCounter(name, processor, max_tokens) for name in sources})
    stream.try_out()
    revisions = {name: source.revision for name, source in sources.items()}
    return Mixture(stream, rows, revisions, stream.dropped, stream.cut)


def _paths(name: str, source: Source) -> list[str]:
    """The parquet files of a pinned source: a folder's, or `hf://` addresses at its commit."""
    place = place_of(name, source)
    if Path(source.path).is_dir():
        paths = sorted(map(str, Path(source.path, source.config or "").glob("train*.parquet")))
        if not paths:
            raise InputError(place, "no train*.parquet is there", "Build the data set first, or mend path and config")
        return paths
    try:
        found = load_dataset_builder(source.path, source.config, revision=source.revision).config.data_files or {}
    except Exception as error:  # the Hub's client and `datasets` each raise their own kinds
        raise InputError(place, f"it does not load ({error})", "Mend path, config and revision") from error
    paths = list(map(str, found.get("train", [])))
    if not paths or not all(path.endswith(".parquet") for path in paths):
        raise InputError(place, "its split train is not made of parquet files", "Leave streaming off, which reads any")
    return paths


def _looked_into(name: str, paths: list[str]) -> Iterator[tuple[str, tuple[pq.FileMetaData, list[np.ndarray]]]]:
    """Each file with its footer and, per row group, how many images each row has."""
    with ThreadPoolExecutor(READERS) as pool:
        looks = zip(paths, pool.map(_look_into, paths), strict=True)
        yield from tqdm(looks, f"Footers of {name}", len(paths), unit=" files", disable=None)


def _look_into(path: str) -> tuple[pq.FileMetaData, list[np.ndarray]]:
    with _opened(path) as file:
        _as_ours(file.schema_arrow.empty_table(), path)
        columns = [file.schema.column(index).path for index in range(len(file.schema.names))]
        # A list's lengths stand in every column below it: the paths tell them, and no picture is read.
        paths = [name for name in columns if name.startswith("images.") and name.endswith(".path")]
        groups = [file.read_row_group(number, columns=paths or ["images"]) for number in range(file.num_row_groups)]
        counts = [pc.list_value_length(table["images"]).fill_null(0).to_numpy() for table in groups]
        return file.metadata, counts


@contextmanager
def _opened(path: str, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    try:
        if not path.startswith(HUB):
            with pq.ParquetFile(path, metadata=metadata, memory_map=True) as file:
                yield file
            return
        with HfFileSystem().open(path, "rb", cache_type="none") as content:  # Arrow asks for what it reads, at once
            yield pq.ParquetFile(content, metadata=metadata, pre_buffer=True)
    except (OSError, pa.ArrowException, HTTPError) as error:
        mend = "Mend the file or the connection, and start again: it goes on from the last checkpoint"
        raise InputError(path, f"cannot be read ({error})", mend) from error


def _as_ours(table: pa.Table, path: str) -> pa.Table:
    """The columns that a training reads, with their types.

    Raises:
        InputError: one is missing or has another type.
    """
    features = row_features()
    if missing := sorted(set(features) - set(table.column_names)):
        raise InputError(path, f"no column {', '.join(missing)}", "Training reads the columns images and messages")
    try:
        return table.select(list(features)).cast(features.arrow_schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise InputError(path, f"its columns have other types ({error})", "See schema.instruct_features") from error
