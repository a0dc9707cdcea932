"""VLM-SubtleBench in free form: how do two images differ? Its rows with `has_caption`, judged against `caption`."""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import CATEGORIES, Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.benchmarks.question import prompt_text
from cadvi_hub.eval.benchmarks.vlm_subtle_bench import PROVENANCE, prepare
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row


def prepare_caption(row: Row, seed: int) -> Row | None:
    """The row with our question; None if it has no caption."""
    if not row.get("has_caption"):
        return None
    category = str(row.get("category", "")).partition(CATEGORIES)[0]
    return {**prepare(row, seed), "question": prompt_text("difference_note"), "category": category}


COLUMNS = ChoiceSettings(images=["images"], answer="caption", category="category")
BENCHMARK = Benchmark(
    name="vlm_subtle_captions",
    columns=(
        ReportColumn("rouge_l", "ROUGE-L", None, "How do two nearly equal pictures differ?"),
        ReportColumn("cider", "CIDEr", None, "The same, by n-grams that are rare among the references."),
    ),
    max_tokens=256,
    judge_prompt="judge_answer",
    question_file=False,
    upstream=from_columns(COLUMNS, prepare_caption, split="test"),
    provenance=PROVENANCE,
)
