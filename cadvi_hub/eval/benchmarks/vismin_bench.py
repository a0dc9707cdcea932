"""VisMin-Bench: 2,084 pairs of images that differ in one object, attribute, count or relation, with a caption each.

`image_0`, `text_0`, `image_1`, `text_1`, `id`, `category`, stored by `save_to_disk`. Its own four questions
(`question_1` … `question_4`) are not used: which image suits a caption, and which caption an image, is asked in our
words. Text, image and group score as Winoground.
Format: https://huggingface.co/datasets/mair-lab/vismin-bench
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import Provenance
from cadvi_hub.eval.benchmarks.caption_square import read_squares, square_benchmark

BENCHMARK = square_benchmark(
    name="vismin_bench",
    about="Two pictures that differ in one thing, with a caption each.",
    upstream=read_squares("text", "category"),
    provenance=Provenance(
        "mair-lab/vismin-bench",
        "CC-BY-4.0",
        "all columns seen",
        "a discussion on the Hub says that images and captions were mixed up; the build counts equal images and "
        "captions with two answers, and cannot see a caption of another image",
    ),
)
