"""`cadvi benchmarks list`: every benchmark set, what it asks, and which files it can be made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS


@dataclass
class ListSettings:
    """`cadvi benchmarks list` has no settings."""


def list_benchmarks(_settings: ListSettings) -> str:
    """One line per set: its name, metric, options, the files that it is made of, and what it asks."""
    rows = [("set", "metric", "answers", "made of", "what is asked"), *map(_row, BENCHMARKS.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    )


def _row(benchmark: Benchmark) -> tuple[str, str, str, str, str]:
    column = benchmark.columns[0]
    answers = "sentences" if benchmark.is_open else "/".join(benchmark.options) or "its own"
    return benchmark.name, column.metric, answers, ", ".join(_sources(benchmark)), column.about


def _sources(benchmark: Benchmark) -> Iterator[str]:
    if benchmark.own_columns:
        yield "your files or a Hub data set"
    if benchmark.question_file:
        yield "question_file"
    if benchmark.upstream:
        yield f"upstream: {benchmark.provenance.place}" if benchmark.provenance else "upstream"
    if benchmark.summaries:
        yield "a built data set"
