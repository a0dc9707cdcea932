"""Scores where the Hub shows them on a model's page: `.eval_results/<name>.yaml`, an entry per question set.

Format: https://huggingface.co/docs/hub/eval-results. The data set that an entry names is that of the question sets,
whose `eval.yaml` lists the same tasks. Values are in percent; `notes` has the metric, its interval and n.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cadvi_hub.core.files import read_json

FOLDER = ".eval_results"
# The first of these that a set has is its main score: a metric of groups comes before that of single answers.
MAIN_METRICS = ("group_score", "group_accuracy", "pair_accuracy", "accuracy", "rouge_l", "token_f1")
_SWAPPED = "_swapped"  # ends the name of a set with swapped images, which is no task of the data set


def eval_results(results: Path, model: str, dataset: str) -> dict[str, bytes]:
    """The files for the scores of `model` in a results file, by their path in the model's repository.

    Args:
        results: JSON file `results[model][task][metric]`.
        model: which of its models.
        dataset: data set on the Hub with the questions, `owner/name`.

    Raises:
        InputError: the file cannot be read.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for task, scores in read_json(results, "Name the results.json of a whole run")[model].items():
        metric = next((metric for metric in MAIN_METRICS if metric in scores), None)
        if metric and not task.endswith(_SWAPPED):
            value = round(100 * scores[metric], 2)
            entries.append(EvalResultEntry(dataset, task, value, notes=_notes(metric, scores)))
    content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
    return {f"{FOLDER}/{dataset.rpartition('/')[2]}.yaml": content.encode()} if entries else {}


def _notes(metric: str, scores: Mapping[str, Any]) -> str:
    """What a reader must know: the metric, its interval, what was left out or blanked."""
    facts = [metric.replace("_", " ")]
    if interval := scores.get(f"{metric}_interval"):
        facts.append("95 % interval " + "–".join(f"{100 * end:.1f}" for end in interval))
    if n := scores.get(f"{metric}_n", scores.get("n")):
        facts.append(f"n {n}")
    return ", ".join([*facts, *(scores[key] for key in ("images", "questions") if key in scores)])
