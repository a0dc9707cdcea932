"""The closed-ended results that the paper reports: arXiv 2406.09240, Table 1, on its own question files.

Its ratings of CaD-QA are not listed: the prompt of its judge is not published, so no other rating compares with them.
"""

from typing import Any

from cadvi_hub.eval.scoring import PAIRS, wilson_interval

SETS = {
    "bison": ("accuracy", 150),
    "svo_probes": ("accuracy", 1500),
    "nlvr2": ("accuracy", 150),
    "eqben": (PAIRS, 120),
    "cola": (PAIRS, 210),
}  # set → metric and number of questions, or of pairs
PERCENT = {  # in the order of SETS
    "SparklesChat": (56.70, 43.93, 58.00, 19.17, 20.00),
    "Otter": (40.67, 47.33, 52.00, 8.33, 8.10),
    "MMICL": (80.00, 88.13, 56.67, 20.83, 25.71),
    "EMU2-Chat": (46.00, 47.93, 60.00, 7.50, 13.33),
    "InternLM-XComposer2-VL": (80.67, 82.07, 66.67, 25.00, 32.38),
    "LLaVA-1.6 7B": (66.00, 70.40, 58.67, 20.83, 11.90),
    "LLaVA-1.6 13B": (81.33, 82.13, 60.00, 17.50, 24.76),
    "LLaVA-1.5 7B": (54.00, 46.80, 61.33, 17.50, 7.62),
    "LLaVA-1.5 13B": (59.33, 56.27, 66.00, 16.67, 12.38),
    "CaD-VI 7B": (95.33, 92.73, 66.67, 39.17, 40.95),
    "CaD-VI 13B": (96.67, 93.00, 69.33, 42.50, 43.33),
}


def paper_results() -> dict[str, dict[str, dict[str, Any]]]:
    """Model → set → metric → share as printed, with Wilson's 95 % interval (ours; the paper gives none) and n."""
    return {
        model: {task: _scores(value, *SETS[task]) for task, value in zip(SETS, values, strict=True)}
        for model, values in PERCENT.items()
    }


def _scores(value: float, metric: str, n: int) -> dict[str, Any]:
    right = round(value * n / 100)
    return {metric: value / 100, f"{metric}_interval": list(wilson_interval(right, n)), "n": n}
