"""The closed-ended results that the paper reports: arXiv 2406.09240, Table 1, on its own question files.

Its ratings of CaD-QA are not listed: the prompt of its judge is not published, so no other rating compares with them.
"""

from typing import Any

from cadvi_hub.eval.benchmarks.benchmark import MODELS_OF_PAPER, PaperResults
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.intervals import wilson_interval


def paper_results() -> dict[str, dict[str, dict[str, Any]]]:
    """Model → set → metric → share as printed, with Wilson's 95 % interval (ours; the paper gives none) and n."""
    reported = {task: benchmark.paper for task, benchmark in BENCHMARKS.items() if benchmark.paper}
    return {
        model: {task: _scores(results, index) for task, results in reported.items()}
        for index, model in enumerate(MODELS_OF_PAPER)
    }


def _scores(results: PaperResults, index: int) -> dict[str, Any]:
    value = results.percent[index] / 100
    interval = list(wilson_interval(round(value * results.n), results.n))
    return {results.metric: value, f"{results.metric}_interval": interval, "n": results.n}
