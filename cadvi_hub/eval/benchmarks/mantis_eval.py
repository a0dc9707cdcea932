"""Mantis-Eval: 217 questions about several images, with options or with a short answer.

`id`, `question_type` (multi-choice or short-answer), `question`, `images`, `options` with their letters ("(A) …"),
`answer`. A short answer is right where it equals the reference; the tolerant reading forgets case and punctuation.
Format: https://huggingface.co/datasets/TIGER-Lab/Mantis-Eval (config mantis_eval)
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns, unlabelled
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, items, text


def prepare(row: Row, _seed: int) -> Row:
    """Options without their letters; none for a short answer."""
    is_choice = text(row, "question_type") == "multi-choice"
    return {**row, "options": unlabelled(items(row, "options")) if is_choice else []}


COLUMNS = ChoiceSettings(
    images=["images"], option_columns=["options"], id="id", category="question_type", options_in_question=False
)
BENCHMARK = Benchmark(
    name="mantis_eval",
    columns=(ReportColumn("accuracy", "accuracy", None, "Mantis-Eval: questions about several pictures."),),
    images=0,
    question_file=False,
    upstream=from_columns(COLUMNS, prepare),
    provenance=Provenance("TIGER-Lab/Mantis-Eval", "Apache-2.0", "all columns seen"),
)
