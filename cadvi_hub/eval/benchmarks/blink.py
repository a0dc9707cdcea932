"""BLINK: questions about one to four images that people answer in a blink, in 14 sub-tasks.

`idx`, `question`, `sub_task`, `image_1` … `image_4` (null where there is none), `choices`, `answer` "(A)", `prompt`,
which is the whole question with its options. The prompt is asked as it is, after the images; our line asks for the
letter. One config per sub-task: name the folder of all, or that of one. The answers of the split test are hidden.
Format: https://huggingface.co/datasets/BLINK-Benchmark/BLINK
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.settings import ChoiceSettings

COLUMNS = ChoiceSettings(
    question="prompt",
    images=["image_1", "image_2", "image_3", "image_4"],
    option_columns=["choices"],
    id="idx",
    category="sub_task",
    options_in_question=True,
)
BENCHMARK = Benchmark(
    name="blink",
    columns=(
        ReportColumn("accuracy", "accuracy", None, "BLINK: what people see in a blink, in one to four pictures."),
    ),
    images=0,
    question_file=False,
    upstream=from_columns(COLUMNS, split="val"),
    provenance=Provenance(
        "BLINK-Benchmark/BLINK",
        "Apache-2.0",
        "all columns seen; that some sub-tasks have three or four images is from the paper",
    ),
)
