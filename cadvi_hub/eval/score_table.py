"""The scores of one model for a terminal: every metric of every set, the strict reading beside the tolerant one."""

from collections.abc import Iterator, Mapping
from typing import Any

from cadvi_hub.eval.scoring import PREFIX

TOLERANT = PREFIX["tolerant"]


def format_scores(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """`evaluate`'s scores as plain text: % with the 95 % interval, and n if it differs from the set's."""
    return "\n".join(line for task, metrics in scores.items() for line in _task_lines(task, metrics))


def _task_lines(task: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    notes = [str(metrics[key]) for key in ("images", "questions") if key in metrics]
    unswapped = metrics.get("not_swapped_n")
    facts = [f"{metrics['n']} questions", *notes, *([f"{unswapped} in one order only"] if unswapped else [])]
    heading = f"{task} ({', '.join(facts)})"
    yield f"{heading:<44}{'strict':<24}tolerant"
    for metric in metrics:
        if f"{metric}_interval" not in metrics or metric.startswith(TOLERANT):
            continue
        cells = [_cell(metrics, name) for name in (metric, TOLERANT + metric) if name in metrics]
        n = metrics.get(f"{metric}_n")
        name = metric.replace("_", " ") + (f" (n {n})" if n else "")
        yield f"  {name:<42}" + "".join(f"{cell:<24}" for cell in cells).rstrip()
    yield ""


def _cell(metrics: Mapping[str, Any], metric: str) -> str:
    low, high = metrics[f"{metric}_interval"]
    return f"{100 * metrics[metric]:.1f} [{100 * low:.1f}–{100 * high:.1f}]"
