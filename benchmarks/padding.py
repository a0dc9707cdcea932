"""Padding: the share of padded tokens in a training's batches, by the order of the rows.

    python benchmarks/padding.py --share 0.1

The mixture is the paper's second phase: 278,000 and 71,000 rows of two images, and LLaVA-1.5's mix with 624,610 rows
of one image and 40,688 of text alone (ShareGPT's). An image takes 576 tokens. Lengths of text are drawn: about 200
tokens beside two images (a summary has 157 words on average), a wide spread beside one, up to 2,048 without. That
spread is ours; nobody published it. A step has 128 rows, 32 for each of four GPUs, padded to the longest of the 32.

Each line also has the share of steps whose rows differ in their number of images, and the correlation of a step's
length with the next one's: 0 for steps in random order, 1 for a mixture that is learned in waves. When streamed, rows
are in row groups of 100, each of one kind.
"""

import argparse
from collections.abc import Iterable
from typing import Any

import numpy as np

from cadvi_hub.training.sampling import GroupedSampler, Grouping, StreamingSampler
from cadvi_hub.training.streaming import Row, RowStream, Visit

IMAGE_TOKENS, LONGEST, ROW_GROUP = 576, 2048, 100
PER_DEVICE, DEVICES = 32, 4
# rows, images, median tokens of text, spread (deviation of the logarithm)
KINDS = {
    "two images": (349_000, 2, 200, 0.25),
    "one image": (624_610, 1, 150, 0.7),
    "text alone": (40_688, 0, 900, 0.9),
}


def draw_lengths(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and images of every row; of each kind, `share` of its rows."""
    rng = np.random.default_rng(seed)
    images = np.concatenate([np.full(round(rows * share), images) for rows, images, _, _ in KINDS.values()])
    text = [rng.lognormal(np.log(median), spread, round(rows * share)) for rows, _, median, spread in KINDS.values()]
    return np.minimum(images * IMAGE_TOKENS + np.concatenate(text).astype(int), LONGEST), images


class Lengths(RowStream):
    """Rows that have only a length."""

    def __init__(self, lengths: np.ndarray, images: np.ndarray):
        self.lengths = lengths
        no_file: Any = None
        groups = [images[start : start + ROW_GROUP] for start in range(0, len(images), ROW_GROUP)]
        super().__init__([Visit("mixture", no_file, 0, 0, np.arange(len(group)), group, 0) for group in groups], {})

    def read(self, numbers: np.ndarray) -> dict[int, Row | None]:
        return {number: {"number": number, "length": self.lengths[number]} for number in numbers.tolist()}


def figures(order: Iterable[int], lengths: np.ndarray, images: np.ndarray) -> tuple[float, float, float]:
    """Share of padded tokens, share of steps of several kinds, correlation of a step's length with the next one's."""
    rows = np.array(list(order))
    rows = rows[: len(rows) // (PER_DEVICE * DEVICES) * PER_DEVICE * DEVICES]
    batches = lengths[rows].reshape(-1, PER_DEVICE)
    padded = 1 - batches.sum() / (batches.max(axis=1) * PER_DEVICE).sum()
    steps = lengths[rows].reshape(-1, PER_DEVICE * DEVICES).mean(axis=1)
    mixed = np.ptp(images[rows].reshape(-1, PER_DEVICE * DEVICES), axis=1) > 0
    return float(padded), float(mixed.mean()), float(np.corrcoef(steps[:-1], steps[1:])[0, 1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1, help="of the mixture's rows")
    given = parser.parse_args(argv)

    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    lengths, images = draw_lengths(given.share)
    step = PER_DEVICE * DEVICES
    grouped, stream = Grouping("group_by_length", step, PER_DEVICE), Lengths(lengths, images)
    orders: dict[str, Iterable[int]] = {
        "random": np.random.default_rng(0).permutation(len(lengths)),
        "transformers' LengthGroupedSampler": LengthGroupedSampler(
            step, lengths=lengths.tolist(), generator=torch.Generator().manual_seed(0)
        ),
        "group_by_length": GroupedSampler(lengths, images, grouped, seed=0),
        "group_by_length, streamed": (row["number"] for row in StreamingSampler(stream, grouped, seed=0) if row),
        "llava": GroupedSampler(lengths, images, Grouping("llava", step, PER_DEVICE), seed=0),
    }
    print(f"{len(lengths)} rows, {lengths.mean():.0f} tokens each")
    for name, order in orders.items():
        padded, mixed, waves = figures(order, lengths, images)
        print(f"{name}: {padded:.1%} padded, {mixed:.1%} of the steps mixed, correlation {waves:.2f}", flush=True)


if __name__ == "__main__":
    main()
