"""Benchmark sets for evaluation: question files and upstream annotations → rows with embedded pictures.

`cadvi benchmarks build` writes `out/<task>/test.parquet`, one configuration per set, which the lighteval tasks read.
One module reads one format; `question.py` says what a question is, `writing.py` and `stored.py` how a set is kept,
`under_way.py` how a killed build goes on.
"""

from cadvi_hub.eval.benchmarks.build import BenchmarkSettings, build_benchmark
from cadvi_hub.eval.benchmarks.question import OPTIONS, PAIR_TASKS, SVO_CATEGORIES, TASKS
from cadvi_hub.eval.benchmarks.question_file import read_questions
from cadvi_hub.eval.benchmarks.stored import check_complete, missing_questions, read_texts
from cadvi_hub.eval.benchmarks.writing import write_questions

__all__ = [
    "OPTIONS",
    "PAIR_TASKS",
    "SVO_CATEGORIES",
    "TASKS",
    "BenchmarkSettings",
    "build_benchmark",
    "check_complete",
    "missing_questions",
    "read_questions",
    "read_texts",
    "write_questions",
]
