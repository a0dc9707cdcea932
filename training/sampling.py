"""The order of the rows: each step takes rows with equally many images and of about equal length (paper's recipe)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

STEPS_SORTED_TOGETHER = 50  # more would pad less, and leave less to chance


class GroupedSampler(Sampler[int]):
    """Row numbers, `batch_size` of a kind at a time, the batches in random order.

    transformers' own sampler sorts 50 batches by length and leaves them so: a mixture of short and long answers is
    then learned in waves, and each wave unlearns the one before. LLaVA's shuffles the steps, as this one does.

    Args:
        lengths: tokens of every row.
        images: images of every row.
        batch_size: rows of one optimizer step, over all processes.
        seed: of the order; every epoch has another one.
        whole_steps: fill the last step of each kind with rows of that kind, read once more, instead of mixing what is
            left at the end of the epoch. Processes that share a model must all run its vision tower, or none.
    """

    def __init__(
        self, lengths: Sequence[int], images: Sequence[int], batch_size: int, seed: int, whole_steps: bool = False
    ):
        self.lengths, self.images = np.asarray(lengths), np.asarray(images)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.whole_steps = whole_steps

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if not self.whole_steps:
            return len(self.lengths)
        kinds = np.unique(self.images, return_counts=True)[1]
        return int((-(-kinds // self.batch_size)).sum()) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        full: list[np.ndarray] = []
        rest: list[np.ndarray] = []  # too few for a batch of their kind: they end the epoch together
        for count in np.unique(self.images):
            rows = rng.permutation(np.flatnonzero(self.images == count))
            whole = len(rows) - len(rows) % self.batch_size
            if whole < len(rows) and self.whole_steps:
                full.append(np.resize(np.concatenate([rows[whole:], rows]), self.batch_size))
            else:
                rest.append(rows[whole:])
            for start in range(0, whole, STEPS_SORTED_TOGETHER * self.batch_size):
                chunk = rows[start : min(start + STEPS_SORTED_TOGETHER * self.batch_size, whole)]
                chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
                full += np.split(chunk, len(chunk) // self.batch_size)
        order = [full[k] for k in rng.permutation(len(full))] + rest
        return iter(np.concatenate(order).tolist() if order else [])
