"""The order of the rows, in steps that save padding. There are two ways to group them:

- `group_by_length`: a step has rows with equally many images and of about one length. Least padding.
- `llava`: a step is drawn at random from the rows with images, or from those without, as LLaVA's own training and the
  paper's do. Inside the step, the parts that processes read at the same time have about equally many tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from cadvi_hub.training.streaming import Row, RowStream

STEPS_SORTED_TOGETHER = 50  # more would pad less, but make the order less random
FEWEST_ROWS_TOGETHER = 2_000  # with small steps: mixes the rows of about twenty row groups
MOST_BYTES_TOGETHER = 2 * 2**30  # with large pictures; memory holds twice as much


class Grouping(NamedTuple):
    """How rows come into steps.

    Attributes:
        strategy: as in `Tuning.train_sampling_strategy`; others than the two above only shuffle.
        step: rows of one optimizer step, over all processes.
        batch: rows that a process reads at once, a part of the step.
    """

    strategy: str
    step: int
    batch: int

    def kinds(self, images: np.ndarray) -> np.ndarray:
        """The kind of each row, (rows,), by its number of images; a step has rows of one kind."""
        if self.strategy == "llava":
            return np.asarray(np.minimum(images, 1))
        return images if self.strategy == "group_by_length" else np.zeros_like(images)

    def steps(self, rows: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """The steps of `rows`, which are of one kind, in random order, and fill whole steps."""
        if self.strategy == "group_by_length":
            return np.split(rows[np.argsort(lengths, kind="stable")], len(rows) // self.step)
        parts = zip(rows.reshape(-1, self.step), lengths.reshape(-1, self.step), strict=True)
        if self.strategy == "llava":
            return [step[even_order(of_step, self.batch)] for step, of_step in parts]
        return [step for step, _ in parts]


def even_order(lengths: np.ndarray, batch: int) -> np.ndarray:
    """An order of the rows in which every `batch` rows have about equally many tokens, (rows,).

    From the longest row to the shortest, each goes to the batch with the fewest tokens that still has room.
    """
    parts = max(len(lengths) // batch, 1)
    totals, members = np.zeros(parts), [list[int]() for _ in range(parts)]
    for row in np.argsort(-lengths, kind="stable").tolist():
        room = [part for part in range(parts) if len(members[part]) < -(-len(lengths) // parts)]
        part = min(room, key=lambda part: totals[part])
        members[part].append(row)
        totals[part] += lengths[row]
    return np.array([row for part in members for row in part])


class GroupedSampler(Sampler[int]):
    """Row numbers in steps of one kind, the steps in random order.

    transformers' own sampler sorts 50 batches by length and keeps that order. With short and long answers, the model
    then learns in waves, and each wave unlearns the one before. LLaVA's sampler shuffles the steps, as this one does.

    Args:
        lengths: tokens of each row, (rows,).
        images: number of images of each row, (rows,).
        grouping: how rows come into steps.
        seed: of the order; each epoch has another order.
        whole_steps: repeat rows of a kind to fill its last step, instead of mixing the remaining rows at the end of
            the epoch. Processes that share a model must all run its vision tower, or none.
    """

    def __init__(
        self, lengths: ArrayLike, images: ArrayLike, grouping: Grouping, seed: int, whole_steps: bool = False
    ):
        self.lengths, self.grouping = np.asarray(lengths), grouping
        self.kinds = grouping.kinds(np.asarray(images))
        self.seed, self.epoch, self.whole_steps = seed, 0, whole_steps

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return _rows_read(self.kinds, self.grouping.step, self.whole_steps)

    def __iter__(self) -> Iterator[int]:
        rng, size = np.random.default_rng([self.seed, self.epoch]), self.grouping.step
        full: list[np.ndarray] = []
        rest: list[np.ndarray] = []  # too few for a batch of their kind: they come together at the end
        for kind in np.unique(self.kinds):
            rows = rng.permutation(np.flatnonzero(self.kinds == kind))
            whole = len(rows) - len(rows) % size
            if whole < len(rows) and self.whole_steps:
                full.append(np.resize(np.concatenate([rows[whole:], rows]), size))
            else:
                rest.append(rows[whole:])
            for start in range(0, whole, STEPS_SORTED_TOGETHER * size):
                chunk = rows[start : min(start + STEPS_SORTED_TOGETHER * size, whole)]
                full += self.grouping.steps(chunk, self.lengths[chunk])
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
        grouping: how rows come into steps; `llava` draws a step from its window.
        seed: of the order; each epoch has another order.
        whole_steps: fill the last step of each kind, see `GroupedSampler`.
    """

    def __init__(self, stream: RowStream, grouping: Grouping, seed: int, whole_steps: bool = False):
        self.stream, self.grouping, self.seed, self.whole_steps = stream, grouping, seed, whole_steps
        self.batch_size = grouping.step
        self.epoch, self.skipped_steps = 0, 0
        self._kinds = grouping.kinds(stream.images)

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
            if len(rows) % self.batch_size == 0:
                steps += self.grouping.steps(rows, lengths)
            else:
                steps += np.split(rows, range(self.batch_size, len(rows), self.batch_size))
        return steps


def _rows_read(kinds: np.ndarray, batch_size: int, whole_steps: bool) -> int:
    """Number of rows in an epoch, repeated rows included."""
    if not whole_steps:
        return len(kinds)
    counts = np.unique(kinds, return_counts=True)[1]
    return int((-(-counts // batch_size)).sum()) * batch_size
