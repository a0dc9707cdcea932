"""VLM-SubtleBench: 13,000 questions about what differs between two images, in ten categories and five domains.

`image_1` and `image_2` (URLs; the file's path is after `/resolve/main/`), `question`, `answer` ("second image"),
`distractors`, `has_caption`, `caption`, `category`, `domain`, `source`, `source_id`. Options are the answer and the
distractors in an order that `seed` and the row draw (the authors' shuffle has no seed). A difference is of the second
image relative to the first; with the images swapped, "first" and "second" change places.
Format: https://huggingface.co/datasets/KRAFTON/VLM-SubtleBench (data/test.jsonl, data/val.jsonl, images/)
"""

from __future__ import annotations

import random

from cadvi_hub.eval.benchmarks.benchmark import CATEGORIES, Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, items, text

_BEFORE_PATH = "/resolve/main/"


def prepare(row: Row, seed: int) -> Row:
    """File names of the images, shuffled options, and both categories."""
    options = [text(row, "answer"), *items(row, "distractors")]
    images = [text(row, f"image_{number}").rpartition(_BEFORE_PATH)[2] for number in (1, 2)]
    random.Random(f"{seed}/{images}/{text(row, 'question')}").shuffle(options)
    category = f"{text(row, 'category')}{CATEGORIES}{text(row, 'domain')}"
    return {**row, "images": images, "options": options, "category": category}


COLUMNS = ChoiceSettings(
    images=["images"], option_columns=["options"], category="category", swap_words=["first", "second"]
)
PROVENANCE = Provenance(
    "KRAFTON/VLM-SubtleBench", "CC-BY-NC-4.0", "all columns seen", "the authors' order of options is not reproducible"
)
BENCHMARK = Benchmark(
    name="vlm_subtle_bench",
    columns=(ReportColumn("accuracy", "accuracy", None, "VLM-SubtleBench: a subtle difference of two pictures."),),
    swaps=True,
    question_file=False,
    upstream=from_columns(COLUMNS, prepare, split="test"),
    provenance=PROVENANCE,
)
