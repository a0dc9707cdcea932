"""MuirBench: questions about two to nine images; half of them cannot be answered, and say so among their options.

`idx`, `task`, `image_relation`, `image_type`, `question` and `options` with `<image>` where an image goes, `answer` (a
letter), `image_list`, `counterpart` (the `idx` of the question's other form). A pair counts when both are right.
Format: https://huggingface.co/datasets/MUIRBENCH/MUIRBENCH
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Joint, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, identifier


def prepare(row: Row, _seed: int) -> Row:
    """A group for the question and its counterpart, whichever comes first."""
    own, other = identifier(row, "idx"), row.get("counterpart")
    return {
        **row,
        "group": "/".join(sorted((own, identifier(row, "counterpart")))) if other not in (None, "") else own,
    }


COLUMNS = ChoiceSettings(
    images=["image_list"],
    option_columns=["options"],
    id="idx",
    category="task",
    group="group",
    options_in_question=False,
)
BENCHMARK = Benchmark(
    name="muirbench",
    columns=(
        ReportColumn("accuracy", "accuracy", None, "MuirBench: questions about several pictures, half unanswerable."),
        ReportColumn("counterpart_accuracy", "pairs", None, "A question and its unanswerable form are both right."),
    ),
    images=0,
    joint=(Joint("counterpart_accuracy", 2, lambda _, group: group if "/" in group else ""),),
    question_file=False,
    upstream=from_columns(COLUMNS, prepare),
    provenance=Provenance("MUIRBENCH/MUIRBENCH", "CC-BY-4.0", "all columns seen"),
)
