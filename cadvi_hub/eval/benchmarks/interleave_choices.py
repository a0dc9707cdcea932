"""LLaVA-NeXT-Interleave-Bench, its choices about two images: NLVR2 as Mantis asks it, and Q-Bench.

The columns are those of `interleave_differences.py`; the prompt lists its options by letter.
"""

from __future__ import annotations

import re
import string

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.benchmarks.interleave_differences import PROVENANCE, whole_prompt
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, unreadable

SUB_TASKS = ("NLVR2_Mantis", "QBench")
_LISTED = re.compile(r"(?<![\w.])\(?([A-H])[.:)](?=\s)")


def prepare(row: Row, _seed: int) -> Row | None:
    """The options A to the last letter that the prompt lists."""
    found = whole_prompt(row, SUB_TASKS, "multi-choice")
    if found is None:
        return None
    listed = set(_LISTED.findall(found["question"]))
    if len(listed) < 2:
        raise unreadable("its question lists no options by letter")
    return {**found, "options": list(string.ascii_uppercase[: string.ascii_uppercase.index(max(listed)) + 1])}


COLUMNS = ChoiceSettings(images=["images"], option_columns=["options"], id="sample_id", category="sub_task")
BENCHMARK = Benchmark(
    name="interleave_choices",
    columns=(ReportColumn("accuracy", "accuracy", None, "NLVR2 and Q-Bench as LLaVA-NeXT-Interleave asks them."),),
    categories=SUB_TASKS,
    question_file=False,
    upstream=from_columns(COLUMNS, prepare),
    provenance=PROVENANCE,
)
