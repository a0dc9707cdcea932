"""EqBen with its authors' three scores: the pairs of `eqben.py`, asked in all four ways.

`eqben` asks which image suits a caption, as the paper on CaD-VI does; here each image is also asked for its caption.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.eval.benchmarks.caption_square import caption_square, square_benchmark
from cadvi_hub.eval.benchmarks.eqben import PROVENANCE, read_pairs
from cadvi_hub.eval.benchmarks.question import Question


def read_eqben_group(path: Path, seed: int) -> Iterator[Question]:
    """Yield four questions per pair of images, in the order of files and pairs.

    Raises:
        InputError: no file, one of another form, or a bad pair, with file and place.
    """
    return read_pairs(path, seed, caption_square)


BENCHMARK = square_benchmark(
    name="eqben_group",
    about="Two nearly equal pictures and a caption for each.",
    upstream=read_eqben_group,
    provenance=PROVENANCE,
)
