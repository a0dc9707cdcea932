"""What a model folder tells about itself (its form, training, scores), and the card that says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.hub.cards import Verbatim, leaves, render_card

ADAPTER_CONFIG = "adapter_config.json"


CURVE_POINTS = 12  # of a loss curve on the card, first and last among them


@dataclass
class Data:
    """One source of a training's mixture, as the card's table has it."""

    name: str
    path: str
    revision: str
    rows: int
    left_out: str


@dataclass
class Training:
    """The record of a training run: the base's commit, its data, facts by dotted name, (step, loss) first to last."""

    base_revision: str | None
    data: list[Data]
    facts: list[tuple[str, Any]]
    losses: list[tuple[int, float]]


@dataclass
class Score:
    """One number of an evaluation: between 0 and 1 for shares, with its 95 % interval where there is one."""

    task: str
    metric: str
    n: int | None
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        InputError: no such file, or no JSON object in it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"it does not read as JSON ({error})", "Name a file of JSON results") from error
    if not isinstance(record, dict):
        raise InputError(str(path), "it is no JSON object", "Name a file of JSON results")
    return record


def read_training(folder: Path) -> Training | None:
    """`training.json` or `trainer_state.json` of `folder`, or of the folder above it for a merged model; else None."""
    for place in (folder, folder.parent) if folder.name == "merged" else (folder,):
        if (place / "training.json").exists():
            record = read_json(place / "training.json")
            curve = record.pop("curve", [])
        elif (place / "trainer_state.json").exists():
            state = read_json(place / "trainer_state.json")
            curve = state.get("log_history", [])
            record = {key: state[key] for key in ("global_step", "epoch", "train_batch_size") if key in state}
        else:
            continue
        losses = [(entry.get("step", 0), entry["loss"]) for entry in curve if "loss" in entry]
        base_revision = record.get("settings", {}).pop("base_revision", None)
        return Training(base_revision, _data(record), list(leaves(record)), _thinned(losses))
    return None


def _data(record: dict[str, Any]) -> list[Data]:
    """The sources in a `training.json`, taken out of it."""
    settings = record.get("settings", {})
    mixture, revisions = settings.pop("mixture", {}), settings.pop("data_revisions", {})
    dropped, cut = record.pop("dropped", {}), record.pop("cut", {})
    data = []
    for name, rows in record.pop("rows", {}).items():
        source = mixture.get(name, {})
        path = ", ".join(str(source[key]) for key in ("path", "config") if source.get(key))
        left_out = [f"{count} rows: {reason}" for reason, count in dropped.get(name, {}).items() if count]
        left_out += [f"{kind} of {count} rows" for kind, count in cut.get(name, {}).items() if count]
        revision = revisions.get(name) or "not recorded"
        data.append(Data(name, path or "not recorded", revision, rows, ", ".join(left_out) or "nothing"))
    return data


def _thinned(losses: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(losses) <= CURVE_POINTS:
        return losses
    return [losses[round(k * (len(losses) - 1) / (CURVE_POINTS - 1))] for k in range(CURVE_POINTS)]


def read_scores(path: Path, model: str | None) -> tuple[str, list[str], list[Score]]:
    """The scores of every model in a results file, `results[model][task][metric]`.

    Args:
        path: the file.
        model: which of its models is published; may be None when there is one only.

    Returns:
        That model, all models in order, and a score per task and metric of that model.

    Raises:
        InputError: the file has another form, or the model is not in it.
    """
    results = read_json(path)
    models_are_right = all(isinstance(tasks, dict) for tasks in results.values())
    if not models_are_right or not all(
        isinstance(task, dict) for tasks in results.values() for task in tasks.values()
    ):
        raise InputError(str(path), "it is not results[model][task][metric]", "Name the results.json of a whole run")
    if model is None and len(results) == 1:
        model = next(iter(results))
    if model is None or model not in results:
        raise InputError(str(path), f"{model!r} is none of {sorted(results)}", "Set results_model to one of them")
    scores = []
    for task, metrics in results[model].items():
        for metric, value in metrics.items():
            if metric == "n" or metric.endswith(("_interval", "_n")) or not isinstance(value, (int, float)):
                continue
            rows = {name: tasks.get(task, {}) for name, tasks in results.items()}
            values = {name: float(row[metric]) for name, row in rows.items() if metric in row}
            intervals = {
                name: tuple(row[f"{metric}_interval"]) for name, row in rows.items() if f"{metric}_interval" in row
            }
            scores.append(Score(task, metric, metrics.get(f"{metric}_n", metrics.get("n")), values, intervals))
    return model, list(results), scores


def model_card(
    folder: Path,
    repo_id: str,
    license_id: str,
    base_model: str | None,
    datasets: list[str],
    results: Path | None,
    results_model: str | None,
) -> str:
    """README.md of the adapter or full model in `folder`.

    Raises:
        InputError: a record or results file does not read.
    """
    from huggingface_hub import EvalResult, ModelCardData

    is_adapter = (folder / ADAPTER_CONFIG).exists()
    training = read_training(folder)
    name, models, scores = read_scores(results, results_model) if results else ("", [], [])
    evaluations = [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=score.task,
            dataset_name=score.task,
            metric_type=score.metric,
            metric_value=score.values[name],
        )
        for score in scores
    ]
    metadata = ModelCardData(
        license=license_id,
        language="en",
        base_model=base_model,
        base_model_relation=("adapter" if is_adapter else "finetune") if base_model else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        datasets=datasets or None,
        tags=["cad-vi", "comparison", "multi-image"],
        model_name=repo_id,
        eval_results=evaluations or None,
    )
    return render_card(
        "model_cards",
        metadata,
        repo_id=Verbatim(repo_id),
        base_model=Verbatim(base_model) if base_model else None,
        datasets=[Verbatim(dataset) for dataset in datasets],
        is_adapter=is_adapter,
        adapter=list(leaves(adapter_facts(folder))) if is_adapter else [],
        training=training,
        base_revision=training.base_revision if training else None,
        models=models,
        name=name,
        scores=scores,
        license=license_id,
    )


def adapter_facts(folder: Path) -> dict[str, Any]:
    """What the adapter's configuration says about its form."""
    config = read_json(folder / ADAPTER_CONFIG)
    keys = ("peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save")
    return {key: config[key] for key in keys if config.get(key) is not None}
