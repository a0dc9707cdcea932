"""The order of the rows: a step has rows with equally many images and about the same length (paper's recipe)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from cadvi_hub.training.streaming import Row, RowStream

STEPS_SORTED_TOGETHER = 50  # more would pad less, but make the order less random
FEWEST_ROWS_TOGETHER = 2_000  # with small steps: mixes the rows of about twenty row groups
MOST_BYTES_TOGETHER = 2 * 2**30  # with large pictures; memory holds twice as much


class GroupedSampler(Sampler[int]):
    """Row numbers in batches of one kind (equal number of images), the batches in random order.

    transformers' own sampler sorts 50 batches by length and keeps that order. With short and long answers, the model
    then learns in waves, and each wave unlearns the one before. LLaVA's sampler shuffles the steps, as this one does.

    Args:
        lengths: tokens of each row, (rows,).
        images: number of images of each row, (rows,).
        batch_size: rows of one optimizer step, over all processes.
        seed: of the order; each epoch has another order.
        whole_steps: repeat rows of a kind to fill its last step, instead of mixing the remaining rows at the end of
            the epoch. Processes that share a model must all run its vision tower, or none.
    """

    def __init__(self, lengths: ArrayLike, images: ArrayLike, batch_size: int, seed: int, whole_steps: bool = False):
        self.lengths, self.images = np.asarray(lengths), np.asarray(images)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.whole_steps = whole_steps

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return _rows_read(self.images, self.batch_size, self.whole_steps)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        full: list[np.ndarray] = []
        rest: list[np.ndarray] = []  # too few for a batch of their kind: they come together at the end
        for count in np.unique(self.images):
            rows = rng.permutation(np.flatnonzero(self.images == count))
            whole = len(rows) - len(rows) % self.batch_size
            if whole < len(rows) and self.whole_steps:
                full.append(np.resize(np.concatenate([rows[whole:], rows]), self.batch_size))
            else:
                rest.append(rows[whole:])
            for start in range(0, whole, STEPS_SORTED_TOGETHER * self.batch_size):
                chunk = rows[start : min(start + STEPS_SORTED_TOGETHER * self.batch_size, whole)]
                full += _by_length(chunk, self.lengths[chunk], self.batch_size)
        order = [full[k] for k in rng.permutation(len(full))] + rest
        return iter(np.concatenate(order).tolist() if order else [])


class StreamingSampler(Sampler["Row | None"]):
    """The encoded rows of a stream, in steps like those of `GroupedSampler`.

    Row groups come in random order; those of each source are spread over the epoch. A window is as many row groups as
    make `STEPS_SORTED_TOGETHER` steps, within the bounds above. Its rows are shuffled, and rows of a kind that do not
    fill a step wait for the next window. This plan needs no row. A window is read and sorted by length during the
    steps of the window before it.

    Args:
        stream: the rows.
        batch_size: rows of one optimizer step, over all processes.
        seed: of the order; each epoch has another order.
        grouped: make steps of one kind and about one length; otherwise rows are only shuffled.
        whole_steps: fill the last step of each kind, see `GroupedSampler`.
    """

    def __init__(self, stream: RowStream, batch_size: int, seed: int, grouped: bool, whole_steps: bool = False):
        self.stream, self.batch_size, self.seed = stream, batch_size, seed
        self.grouped, self.whole_steps = grouped, whole_steps
        self.epoch, self.skipped_steps = 0, 0
        self._kinds = stream.images if grouped else np.zeros_like(stream.images)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return _rows_read(self._kinds, self.batch_size, self.whole_steps)

    def __iter__(self) -> Iterator[Row | None]:
        skipped = self.skipped_steps * self.batch_size
        yield from [None] * skipped
        windows = self._windows(skipped)
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, windows, None)
            while rows := coming.result():
                coming = reader.submit(next, windows, None)
                yield from rows

    def _windows(self, skipped: int) -> Iterator[list[Row]]:
        """The rows of an epoch after the first `skipped`, a window at a time."""
        held: dict[int, Row | None] = {}
        for kinds, waiting, order in self._plan():
            size = sum(map(len, kinds))
            if skipped >= size:
                skipped -= size
                continue
            wanted = np.concatenate([*kinds, *waiting])
            held |= self.stream.read(wanted[~np.isin(wanted, list(held))])
            steps = self._steps(kinds, held)
            yield [held[number] or self.stream.spare for k in order for number in steps[k].tolist()][skipped:]
            skipped = 0
            held = {number: held[number] for number in np.concatenate(waiting).tolist()} if waiting else {}

    def _plan(self) -> Iterator[tuple[list[np.ndarray], list[np.ndarray], np.ndarray]]:
        """Per window: by kind, the rows of its steps; the rows that wait for the next window; the order of the steps.

        The rows that still wait after the last window come at the end, kind by kind if in whole steps.
        """
        rng = np.random.default_rng([self.seed, self.epoch])
        waiting: dict[int, np.ndarray] = {}
        recent: dict[int, np.ndarray] = {}
        for visits in self._visits(rng):
            numbers = rng.permutation(np.concatenate([self.stream.numbers(visit) for visit in visits]))
            full = []
            for kind in np.unique(self._kinds[numbers]).tolist():
                new = numbers[self._kinds[numbers] == kind]
                rows = np.concatenate([waiting.get(kind, new[:0]), new])
                whole = len(rows) - len(rows) % self.batch_size
                waiting[kind], recent[kind] = rows[whole:], new
                full += [rows[:whole]] if whole else []
            if full:
                yield full, list(waiting.values()), rng.permutation(sum(map(len, full)) // self.batch_size)
        rest = {kind: rows for kind, rows in waiting.items() if len(rows)}
        if rest and self.whole_steps:
            full = [np.resize(np.concatenate([rows, recent[kind]]), self.batch_size) for kind, rows in rest.items()]
            yield full, [], rng.permutation(len(full))
        elif rest:
            mixed = np.concatenate(list(rest.values()))
            yield [mixed], [], np.arange(-(-len(mixed) // self.batch_size))

    def _visits(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Numbers of the visits of each window."""
        sources = np.array([visit.source for visit in self.stream.visits])
        places = np.empty(len(sources))
        for source in np.unique(sources):
            count = np.count_nonzero(sources == source)
            places[sources == source] = (rng.permutation(count) + rng.random(count)) / count
        order = np.argsort(places)
        rows = max(STEPS_SORTED_TOGETHER * self.batch_size, FEWEST_ROWS_TOGETHER)
        shares = [max(len(visit.rows) / rows, visit.size / MOST_BYTES_TOGETHER) for visit in self.stream.visits]
        windows = np.ceil(np.cumsum(np.array(shares)[order]).round(9))  # 20 shares of 1/20 are one window
        yield from np.split(order, np.flatnonzero(np.diff(windows)) + 1)

    def _steps(self, kinds: list[np.ndarray], held: dict[int, Row | None]) -> list[np.ndarray]:
        """The steps of a window. Rows that cannot be trained on are replaced by others of their kind."""
        steps = []
        for numbers in kinds:
            fit = [number for number in numbers.tolist() if held[number]]
            rows = np.resize(fit, len(numbers)) if fit else numbers
            lengths = np.array([(held[number] or self.stream.spare)["length"] for number in rows.tolist()])
            if self.grouped and len(rows) % self.batch_size == 0:
                steps += _by_length(rows, lengths, self.batch_size)
            else:
                steps += np.split(rows, range(self.batch_size, len(rows), self.batch_size))
        return steps


def _rows_read(kinds: np.ndarray, batch_size: int, whole_steps: bool) -> int:
    """Number of rows in an epoch, repeated rows included."""
    if not whole_steps:
        return len(kinds)
    counts = np.unique(kinds, return_counts=True)[1]
    return int((-(-counts // batch_size)).sum()) * batch_size


def _by_length(rows: np.ndarray, lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Steps of about one length each; `rows` fill whole steps."""
    return np.split(rows[np.argsort(lengths, kind="stable")], len(rows) // batch_size)
