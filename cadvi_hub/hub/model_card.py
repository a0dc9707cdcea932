"""The card of a model, and what it reads: the adapter's form, the record of the training, the scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json
from cadvi_hub.hub.cards import Verbatim, leaves, render_card
from cadvi_hub.hub.settings import PublishSettings

ADAPTER_CONFIG = "adapter_config.json"
TRAINING_LOG = "training.json"
_HINT = "Fix or remove the file"
CURVE_POINTS = 12  # of a loss curve on the card, including the first and last


@dataclass
class Data:
    """One source of a training's mixture: a row of the card's table."""

    name: str
    path: str
    revision: str
    rows: int
    left_out: str


@dataclass
class Training:
    """The record of a training: the base's commit, its data, facts by dotted name, and (step, loss) in order."""

    base_revision: str | None
    data: list[Data]
    facts: list[tuple[str, Any]]
    losses: list[tuple[int, float]]


@dataclass
class Score:
    """One score of an evaluation, shares between 0 and 1, per model with its 95 % interval if there is one."""

    task: str
    metric: str
    n: int | None
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def read_training(folder: Path) -> Training | None:
    """From `training.json` or `trainer_state.json` in `folder`, for a merged model also in its parent; else None."""
    for place in (folder, folder.parent) if folder.name == "merged" else (folder,):
        if (place / TRAINING_LOG).exists():
            record = read_json(place / TRAINING_LOG, _HINT)
            for key in ("files", "finished"):
                record.pop(key, None)
            curve = record.pop("curve", [])
        elif (place / "trainer_state.json").exists():
            state = read_json(place / "trainer_state.json", _HINT)
            curve = state.get("log_history", [])
            record = {key: state[key] for key in ("global_step", "epoch", "train_batch_size") if key in state}
        else:
            continue
        losses = [(entry.get("step", 0), entry["loss"]) for entry in curve if "loss" in entry]
        base_revision = record.get("settings", {}).pop("base_revision", None)
        if str(base_revision).startswith("sha256:"):  # of a folder, which is no revision on the Hub
            base_revision = None
        return Training(base_revision, _data(record), list(leaves(record)), _thinned(losses))
    return None


def _data(record: dict[str, Any]) -> list[Data]:
    """The sources in a `training.json`; removes them from it."""
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
        model: which of its models is published; None if there is only one.

    Returns:
        That model, all models in order, and a score per task and metric of that model.

    Raises:
        InputError: the file has another form, or the model is not in it.
    """
    results = read_json(path, "Name the results.json of a whole run")
    if not all(
        isinstance(of, dict) and all(isinstance(task, dict) for task in of.values()) for of in results.values()
    ):
        raise InputError(str(path), "it is not results[model][task][metric]", "Name the results.json of a whole run")
    if model is None and len(results) == 1:
        model = next(iter(results))
    if model is None or model not in results:
        raise InputError(
            str(path), f"it has no model {model!r}, only {sorted(results)}", "Set results_model to one of them"
        )
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


def model_card(settings: PublishSettings) -> str:
    """README.md of the adapter or full model in `settings.folder`.

    Raises:
        InputError: a record or results file cannot be read.
    """
    from huggingface_hub import EvalResult, ModelCardData

    folder, base_model, task = settings.folder, settings.base_model, "image-text-to-text"
    is_adapter = (folder / ADAPTER_CONFIG).exists()
    training = read_training(folder)
    name, models, scores = read_scores(settings.results, settings.results_model) if settings.results else ("", [], [])
    evaluations = [EvalResult(task, score.task, score.task, score.metric, score.values[name]) for score in scores]
    metadata = ModelCardData(
        license=settings.license,
        language="en",
        base_model=base_model,
        base_model_relation=("adapter" if is_adapter else "finetune") if base_model else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag=task,
        datasets=settings.datasets or None,
        tags=["cad-vi", "comparison", "multi-image"],
        model_name=settings.repo_id,
        eval_results=evaluations or None,
    )
    (asked,) = render_prompt("compare_images", wording=1)  # as `cadvi ask` does
    return render_card(
        "model_cards",
        metadata,
        repo_id=Verbatim(settings.repo_id),
        base_model=Verbatim(base_model) if base_model else None,
        datasets=list(map(Verbatim, settings.datasets)),
        is_adapter=is_adapter,
        question=Verbatim(str(asked["content"][-1]["text"]).strip()),
        adapter=list(leaves(adapter_facts(folder))) if is_adapter else [],
        training=training,
        base_revision=training.base_revision if training else None,
        models=models,
        name=name,
        scores=scores,
        license=settings.license,
    )


def adapter_facts(folder: Path) -> dict[str, Any]:
    """The adapter's form, from its configuration."""
    config = read_json(folder / ADAPTER_CONFIG, _HINT)
    keys = ("peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save")
    return {key: config[key] for key in keys if config.get(key) is not None}
