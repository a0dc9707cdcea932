"""LLaVA-NeXT-Interleave-Bench, its captions of differences: Spot-the-Diff, CLEVR-Change, edits and others.

`sample_id`, `sub_task`, `image_0` … `image_11` (null where there is none), `question` (the whole prompt), `answer`,
`question_type`. Rows of other sub-tasks are left out. Scored by ROUGE-L of the first 512 characters, as its authors do
(with the package `rouge`, whose words are split at spaces), and by CIDEr; `cadvi judge run` rates the answers.
Format: https://huggingface.co/datasets/lmms-lab/LLaVA-NeXT-Interleave-Bench
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.benchmarks.question import Question
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, text

SUB_TASKS = ("Spot-the-Diff", "Birds-to-Words", "CLEVR-Change", "IEdit", "HQ-Edit", "MagicBrush")
_IMAGES = 12


def whole_prompt(row: Row, sub_tasks: tuple[str, ...], kind: str) -> Row | None:
    """The row with its images as a list, each with a place in the prompt; None for other sub-tasks and kinds."""
    if text(row, "sub_task") not in sub_tasks or text(row, "question_type") != kind:
        return None
    images = [image for number in range(_IMAGES) if (image := row.get(f"image_{number}"))]
    question = text(row, "question")
    if IMAGE_PLACEHOLDER not in question:
        question = f"{IMAGE_PLACEHOLDER}\n" * len(images) + question
    return {**row, "images": images, "question": question}


def flags(question: Question) -> Iterator[tuple[str, str]]:
    """An answer is right only by chance where the reference is empty."""
    if not question.answer:
        yield "the reference answer is empty", question.category


COLUMNS = ChoiceSettings(images=["images"], id="sample_id", category="sub_task")
PROVENANCE = Provenance(
    "lmms-lab/LLaVA-NeXT-Interleave-Bench",
    "CC-BY-4.0",
    "all columns seen",
    "one of Spot-the-Diff's own rows has an empty sentence",
)
BENCHMARK = Benchmark(
    name="interleave_differences",
    columns=(
        ReportColumn("rouge_l", "ROUGE-L", None, "How do two pictures differ, in a sentence?"),
        ReportColumn("cider", "CIDEr", None, "The same, by n-grams that are rare among the references."),
    ),
    max_tokens=256,
    judge_prompt="judge_answer",
    categories=SUB_TASKS,
    flags=flags,
    question_file=False,
    upstream=from_columns(COLUMNS, lambda row, _seed: whole_prompt(row, SUB_TASKS, "open-ended")),
    provenance=PROVENANCE,
)
