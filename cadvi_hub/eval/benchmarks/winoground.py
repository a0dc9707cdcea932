"""Winoground: 400 pairs of images and captions that have the same words in another order.

`id`, `image_0`, `image_1`, `caption_0`, `caption_1`, `tag` (fine) and `collapsed_tag` (object, relation or both), by
which it is counted where it is there. Text, image and group score (Thrush et al. 2022), asked as choices.
Format: https://huggingface.co/datasets/facebook/winoground (gated)
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import Provenance
from cadvi_hub.eval.benchmarks.caption_square import read_squares, square_benchmark

BENCHMARK = square_benchmark(
    name="winoground",
    about="Two pictures and two captions of the same words in another order.",
    upstream=read_squares("caption", "collapsed_tag", "tag"),
    provenance=Provenance(
        "facebook/winoground (gated)",
        "for research; its text is among the data set's files",
        "columns from the data set's page and the paper, none seen in a file",
    ),
)
