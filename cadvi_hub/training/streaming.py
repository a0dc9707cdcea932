"""A mixture that is read from its parquet files during the training: nothing is copied or counted in advance.

At the start, the footers and a small column of each file say how many rows there are, and how many images each has.
This and the seed decide the order of an epoch (`sampling.StreamingSampler`). Row groups are read when their rows come
next, from this machine or the Hub.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset
from transformers import ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.lengths import CUT, FIRST, RowCounter
from cadvi_hub.training.mixture import Mixture, passes, pin, place_of
from cadvi_hub.training.order import SwappedCounter
from cadvi_hub.training.pixels import UNLIMITED, PixelBudget
from cadvi_hub.training.row_groups import SourceFile, source_files
from cadvi_hub.training.settings import parse_sources

UNFIT = "faulty; the training's output names the first of them"
NAMED = 10  # faulty rows of a source that are named in the output

logger = logging.getLogger(__name__)
Row = dict[str, Any]  # images (encoded), messages and length


class Visit(NamedTuple):
    """Rows of one row group, read together once in an epoch.

    Attributes:
        source: the data set's name in the mixture.
        file: the file of the row group.
        group: number of the row group in the file.
        start: number of the group's first row in the data set.
        rows: numbers of the rows in the group, from 0, (rows,).
        images: number of images of each row, (rows,).
        size: approximate bytes of these rows.
    """

    source: str
    file: SourceFile
    group: int
    start: int
    rows: np.ndarray
    images: np.ndarray
    size: float


class RowStream(Dataset[Row]):
    """The rows of a mixture, numbered in the order of `visits`, repeats included. `read` fetches any of them.

    The sampler of its `DataLoader` yields the encoded rows themselves instead of their numbers: the main process
    reads, and the workers decode.

    Args:
        visits: what an epoch reads.
        counters: per source, how its rows are counted and cut.

    Attributes:
        visits: what an epoch reads.
        images: number of images of each row, (rows,).
        dropped: per source, the dropped rows by reason, among those read so far; other rows take their places.
        cut: per source, the rows that lost text by kind, among those read so far; see `lengths.fit_rows`.
        spare: a row to use where no other is left.
    """

    spare: Row

    def __init__(self, visits: list[Visit], counters: Mapping[str, RowCounter]):
        self.visits = visits
        self.images: np.ndarray = np.concatenate([visit.images for visit in visits])
        self._counters, self._features = counters, RowCounter.features()
        self._ends = np.cumsum([len(visit.rows) for visit in visits])
        self.dropped = {
            name: Counter(dict.fromkeys([*counter.reasons.values(), UNFIT], 0)) for name, counter in counters.items()
        }
        self.cut = {name: Counter(dict.fromkeys(CUT.values(), 0)) for name in counters}
        self._noted: set[tuple[str, int]] = set()
        self._first_faults: dict[str, InputError] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: Row) -> Row:
        """The encoded `row` with its pictures decoded."""
        decoded: Row = self._features.decode_example({name: row[name] for name in self._features})
        return row | decoded

    def numbers(self, visit: int) -> np.ndarray:
        """The numbers of the rows of this visit, (rows,)."""
        return np.arange(self._ends[visit] - len(self.visits[visit].rows), self._ends[visit])

    def read(self, numbers: np.ndarray) -> dict[int, Row | None]:
        """Number → row, cut if it is too long. A row that does not fit or is faulty is None.

        Raises:
            InputError: a file cannot be read.
        """
        found: dict[int, Row | None] = {}
        visits = np.searchsorted(self._ends, numbers, side="right")
        for index in np.unique(visits):
            visit, wanted = self.visits[index], numbers[visits == index]
            rows = visit.rows[wanted - self.numbers(index)[0]]
            table = visit.file.read(visit.group).take(rows)
            fitted = self._fitted(visit.source, table, (visit.start + rows).tolist())
            found |= zip(wanted.tolist(), fitted, strict=True)
        return found

    def try_out(self) -> None:
        """Read every source's first rows, and set `spare`.

        Raises:
            InputError: no row of a source can be trained on.
        """
        firsts = {visit.source: index for index, visit in reversed(list(enumerate(self.visits)))}
        for name, index in firsts.items():
            rows = list(self.read(self.numbers(index)).values())
            fit = [row for row in rows if row]
            self._counters[name].verify(self[row] for row in fit[:FIRST])
            if not fit:
                problem = max(self.dropped[name], key=lambda why: self.dropped[name][why])
                hint = "Raise max_tokens, or see which rows are dropped"
                if name in self._first_faults:
                    problem, hint = self._first_faults[name].problem, self._first_faults[name].hint
                problem = f"none of its first {len(rows)} rows can be trained on ({problem})"
                raise InputError(f"data set {name!r}", problem, hint)
            self.spare = fit[0]

    def _fitted(self, source: str, table: pa.Table, numbers: list[int]) -> list[Row | None]:
        """The rows of `table`; `numbers` are their numbers in the data set."""
        try:
            counted = self._counters[source](table, numbers)
        except InputError as error:
            if len(numbers) > 1:  # all but the faulty ones
                return [self._fitted(source, table.slice(i, 1), [number])[0] for i, number in enumerate(numbers)]
            if self._is_new(source, numbers[0]):
                self.dropped[source][UNFIT] += 1
                if self.dropped[source][UNFIT] <= NAMED:
                    logger.warning("dropped: %s", error)
                self._first_faults.setdefault(source, error)
            return [None]
        fitted: list[Row | None] = []
        outcomes, reasons = counted["outcome"].to_pylist(), self._counters[source].reasons
        rows = counted.drop_columns("outcome").append_column("images", table["images"]).to_pylist()
        for row, number, outcome in zip(rows, numbers, outcomes, strict=True):
            if outcome in reasons and self._is_new(source, number):
                self.dropped[source][reasons[outcome]] += 1
            elif outcome in CUT and self._is_new(source, number):
                self.cut[source][CUT[outcome]] += 1
            fitted.append(None if outcome in reasons else row)
        return fitted

    def _is_new(self, source: str, number: int) -> bool:
        """Whether this row is reported for the first time: later epochs and repeats read it again."""
        is_new = (source, number) not in self._noted
        self._noted.add((source, number))
        return is_new


def stream_mixture(
    settings: Mapping[str, Any],
    processor: ProcessorMixin,
    max_tokens: int,
    seed: int,
    budget: PixelBudget = UNLIMITED,
) -> Mixture:
    """The sources of a recipe as a `RowStream`. Another row replaces a row that does not fit or is faulty.

    The arguments are those of `mixture.load_mixture`.

    Raises:
        InputError: a source is missing or not made of parquet files, or its first rows cannot be trained on.
    """
    visits: list[Visit] = []
    rows: dict[str, int] = {}
    sources = pin(parse_sources(settings))
    for name, source in sources.items():
        groups = [
            (file, group, images) for file in source_files(name, source) for group, images in enumerate(file.images)
        ]
        starts = np.cumsum([0, *(len(images) for _, _, images in groups)]).tolist()
        if not starts[-1]:
            raise InputError(place_of(name, source), "it has no rows", "Build it again, or remove it from the mixture")
        drawn = passes(source, starts[-1], seed)
        rows[name] = sum(map(len, drawn))
        for chosen in drawn:
            for (file, group, images), start, stop in zip(groups, starts, starts[1:], strict=False):
                here = chosen[slice(*np.searchsorted(chosen, [start, stop]))] - start
                if len(here):
                    size = file.metadata.row_group(group).total_byte_size * len(here) / len(images)
                    visits.append(Visit(name, file, group, start, here, images[here], size))
    # A copy: a tokenizer cannot serve two threads, and rows are counted while a batch is made.
    processor = copy.deepcopy(processor)
    counters = {
        name: (SwappedCounter if source.swapped else RowCounter)(name, processor, max_tokens, budget)
        for name, source in sources.items()
    }
    stream = RowStream(visits, counters)
    stream.try_out()
    revisions = {name: source.revision for name, source in sources.items()}
    return Mixture(stream, rows, revisions, stream.dropped, stream.cut)
