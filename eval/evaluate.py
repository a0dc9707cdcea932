"""One model over benchmark tasks, by lighteval's pipeline: its results and details, and our flat table of scores."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.errors import InputError
from cadvi_hub.eval.benchmarks import TASKS
from cadvi_hub.eval.scoring import is_correct, normal_interval, wilson_interval

if TYPE_CHECKING:
    from lighteval.models.abstract_model import LightevalModel
    from lighteval.tasks.requests import Doc

CONSTANT = "constant"


@dataclass
class EvaluateSettings:
    """What `evaluate` runs.

    Attributes:
        model: folder or Hub repo id of a model or LoRA adapter, or "constant" for the constant-answer baseline.
        data: folder of question sets (`DIR/<task>/test.parquet`) or Hub repo id.
        out: folder for results.json, predictions/ and lighteval's results/ and details/.
        name: the model's name in the results; "" takes the last part of `model`.
        tasks: names of the sets to evaluate.
        batch_size: questions per forward pass.
        max_samples: questions per set, a fixed random choice with pairs kept whole; None takes all.
    """

    model: str
    data: str
    out: Path
    name: str = ""
    tasks: Sequence[str] = TASKS
    batch_size: int = 32
    max_samples: int | None = None


def evaluate(settings: EvaluateSettings, model: "LightevalModel | None" = None) -> dict[str, Any]:
    """Ask `settings.tasks` of one model and write, below `settings.out`:

    - results.json: what this function returns;
    - predictions/<task>.jsonl: per question its row `index` in the set, id, category, group, answer, prediction,
      correct (strict reading), in the set's order;
    - results/ and details/: lighteval's own files, the details without pictures (the row index finds them).

    Args:
        settings: what to run.
        model: a model in memory, in place of the one that `settings.model` names.

    Returns:
        Task → metric → value between 0 and 1, "<metric>_interval" → its 95 % interval (Wilson's for shares, normal
        for token_f1), "n" → number of questions; "<metric>_n" where a metric has its own n (pairs, questions of a
        category).

    Raises:
        InputError: unknown task, question set that does not load, folder that cannot be written.
    """
    from lighteval.logging.evaluation_tracker import EvaluationTracker

    from cadvi_hub.eval.pipeline import TaskPipeline
    from cadvi_hub.eval.tasks import task_configs

    if unknown := set(settings.tasks) - set(TASKS):
        raise InputError("tasks", f"unknown: {', '.join(sorted(unknown))}", f"Use some of {', '.join(TASKS)}")
    out = Path(settings.out)
    try:
        (out / "predictions").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(out), f"cannot be written ({error})", "Choose another folder") from error
    pipeline = TaskPipeline(
        configs=[config for config in task_configs(str(settings.data)) if config.name in settings.tasks],
        tracker=EvaluationTracker(output_dir=str(out)),
        model=model or load_model(settings),
        max_samples=settings.max_samples,
    )
    pipeline.evaluate()
    scores = {}
    for full_name, details in pipeline.get_details().items():
        task = pipeline.tasks_dict[full_name].name
        details.sort(key=lambda detail: int(detail.doc.id))  # lighteval's id is the row's index; it shuffles the rows
        for detail in details:
            detail.doc.images = None  # else every picture is encoded into the details again
        rows = [_prediction(detail.doc, detail.model_response.text[0]) for detail in details]
        _write_lines(rows, out / "predictions" / f"{task}.jsonl")
        scores[task] = _with_intervals(pipeline.evaluation_tracker.metrics_logger.metric_aggregated[full_name], rows)
    pipeline.save_and_push_results()
    _write_text(json.dumps(scores, indent=2) + "\n", out / "results.json")
    return scores


def load_model(settings: EvaluateSettings) -> "LightevalModel":
    """The model that `settings` name; its replies are kept in `out/replies.sqlite`, where a stopped run goes on."""
    from lighteval.models.abstract_model import ModelConfig

    config = ModelConfig(model_name=settings.name or Path(settings.model).name)
    if settings.model == CONSTANT:
        from cadvi_hub.eval.constant_model import ConstantModel

        return ConstantModel(config)

    from cadvi_hub.eval.vision_model import VisionModel, local_model
    from cadvi_hub.generation.store import ReplyStore

    local = local_model(settings.model, settings.batch_size)
    return VisionModel(config, local, ReplyStore(Path(settings.out) / "replies.sqlite"))


def _prediction(doc: "Doc", prediction: str) -> dict[str, Any]:
    from cadvi_hub.eval.tasks import specific

    question, answer = specific(doc), doc.get_golds()[0]
    return {
        "index": int(doc.id),
        **{key: question[key] for key in ("id", "category", "group")},
        "answer": answer,
        "prediction": prediction,
        "correct": is_correct(prediction, answer),
    }


def _with_intervals(values: dict[str, float], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """lighteval's values of one task, with the 95 % interval of each."""
    sizes = {f"accuracy_{category}": count for category, count in Counter(row["category"] for row in rows).items()}
    sizes["pair_accuracy"] = len({row["group"] for row in rows})
    scores: dict[str, Any] = {}
    for metric, value in values.items():
        if metric.endswith("_stderr"):
            continue
        n = sizes.get(metric, len(rows))
        scores[metric] = float(value)
        if metric == "token_f1":
            interval = normal_interval(value, values.get("token_f1_stderr", math.inf))
        else:
            interval = wilson_interval(round(value * n), n)
        scores[f"{metric}_interval"] = list(interval)
        if metric in sizes:
            scores[f"{metric}_n"] = n
    return {**scores, "n": len(rows)}


def _write_lines(rows: list[dict[str, Any]], path: Path) -> None:
    _write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), path)


def _write_text(text: str, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
