"""EqBen with its authors' three scores: the pairs of `eqben.py`, asked in all four ways.

`eqben` asks which image suits a caption, as the paper on CaD-VI does; here each image is also asked for its caption.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.eval.answers import IMAGE_LETTERS
from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.caption_square import caption_square, square_columns, square_joints
from cadvi_hub.eval.benchmarks.eqben import PROVENANCE, read_pairs
from cadvi_hub.eval.benchmarks.question import Question


def read_eqben_group(path: Path, seed: int) -> Iterator[Question]:
    """Yield four questions per pair of images, in the order of files and pairs.

    Raises:
        InputError: no file, one of another form, or a bad pair, with file and place.
    """
    return read_pairs(path, seed, caption_square)


BENCHMARK = Benchmark(
    name="eqben_group",
    columns=square_columns("Two nearly equal pictures and a caption for each."),
    options=IMAGE_LETTERS,
    joint=square_joints(),
    swaps=True,
    question_file=False,
    upstream=read_eqben_group,
    provenance=PROVENANCE,
)
