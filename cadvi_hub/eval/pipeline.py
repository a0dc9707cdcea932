"""lighteval's pipeline, restricted to our own tasks."""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

import torch
from lighteval.logging.evaluation_tracker import EvaluationTracker
from lighteval.logging.info_loggers import DetailsLogger
from lighteval.models.abstract_model import LightevalModel
from lighteval.tasks.lighteval_task import LightevalTask, LightevalTaskConfig
from lighteval.tasks.requests import Doc

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.registry import SWAPPED
from cadvi_hub.eval.intervals import Share
from cadvi_hub.eval.models.base import specific
from cadvi_hub.eval.models.row_images import LazyRows
from cadvi_hub.eval.reader import Asked
from cadvi_hub.eval.tasks import READING, predicted

with torch.set_grad_enabled(torch.is_grad_enabled()):
    # importing lighteval switches gradients off, and a later training in the same process would fail
    from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters


class Answered(NamedTuple):
    """The predictions of one task in the set's order, the shares that lighteval computed from them, and what was asked
    by the index of its row.
    """

    predictions: list[dict[str, Any]]
    shares: dict[str, Share]
    asked: dict[int, Asked]


class TaskPipeline(Pipeline):
    """A pipeline that takes tasks as configurations, not as names in lighteval's registry.

    The registry of lighteval 0.13 imports every built-in task before ours. That takes seconds, and one of them
    downloads a file when it is imported, so a run without a network fails. Everything else is lighteval's.

    Args:
        configs: the tasks.
        tracker: where results and details go.
        model: the model to ask.
        max_samples: questions per task, None for all. lighteval's sample (seed 42) is kept, but pairs are
            completed, so that the pair metric stays meaningful, and a task with swapped images has the same questions.
    """

    def __init__(
        self,
        configs: list[LightevalTaskConfig],
        tracker: EvaluationTracker,
        model: LightevalModel,
        max_samples: int | None = None,
    ):
        self.configs = configs
        parameters = PipelineParameters(
            launcher_type=ParallelismManager.CUSTOM, max_samples=max_samples, remove_reasoning_tags=False
        )
        super().__init__(tasks="", pipeline_parameters=parameters, evaluation_tracker=tracker, model=model)

    def _init_tasks_and_requests(self, tasks: str) -> None:
        self.registry = None  # type: ignore[assignment]  # only sample caches use it, and our models have none
        self.tasks_dict = {config.full_name: LightevalTask(config) for config in self.configs}
        self._load_datasets()
        self.documents_dict = {}
        for name, task in self.tasks_dict.items():
            if unswapped := self.documents_dict.get(name.replace(SWAPPED, "")):
                asked = {doc.id for doc in unswapped}  # the row's index
                docs = task.get_docs() if task.eval_docs() else []  # it is empty if no statement can be swapped
                self.documents_dict[name] = [doc for doc in docs if doc.id in asked]
            elif task.eval_docs():
                self.documents_dict[name] = whole_groups(task.get_docs(), self.pipeline_parameters.max_samples)
            else:
                raise InputError(
                    f"question set {task.name!r}", "it has no questions", "Make it with `cadvi benchmarks`"
                )
        self.sampling_docs = defaultdict(list)
        for docs in self.documents_dict.values():
            for doc in docs:
                for sampling in doc.sampling_methods:
                    self.sampling_docs[sampling].append(doc)
        self.evaluation_tracker.task_config_logger.log(self.tasks_dict)

    def answered(self) -> dict[str, Answered]:
        """Task → its predictions and shares, after `evaluate`. Sorts the details and removes their pictures."""
        details = self.evaluation_tracker.details_logger.details
        metrics = self.evaluation_tracker.metrics_logger.metric_aggregated
        return {
            task.name: Answered(
                _predictions(details[name]),
                {metric: value for metric, value in metrics[name].items() if isinstance(value, Share)},
                {int(doc.id): Asked(doc.query, specific(doc)["options"]) for doc in self.documents_dict[name]},
            )
            for name, task in self.tasks_dict.items()
            if name in details
        }

    def _load_datasets(self) -> None:
        for name, task in self.tasks_dict.items():
            try:
                LightevalTask.load_datasets({name: task})
                task.dataset = {split: LazyRows(rows) for split, rows in task.dataset.items()}  # type: ignore
            except (OSError, ValueError) as error:
                place = f"question set {task.name!r} of {task.dataset_path}"
                raise InputError(place, f"does not load ({error})", "Make it with `cadvi benchmarks`") from error


def whole_groups(docs: list[Doc], max_samples: int | None) -> list[Doc]:
    """The first groups of `docs` that together have at least `max_samples` questions."""
    if max_samples is None:
        return docs
    chosen: set[str] = set()
    total = 0
    for group, size in Counter(specific(doc)["group"] for doc in docs).items():
        if total >= max_samples:
            break
        chosen.add(group)
        total += size
    return [doc for doc in docs if specific(doc)["group"] in chosen]


def _predictions(details: list[DetailsLogger.Detail]) -> list[dict[str, Any]]:
    details.sort(key=lambda detail: int(detail.doc.id))  # lighteval's id is the row's index; it shuffles the rows
    rows: dict[int, dict[str, Any]] = {}
    ranked: dict[int, str] = {}
    for detail in details:
        index, doc, response = int(detail.doc.id), detail.doc, detail.model_response
        doc.images = None  # otherwise every picture is encoded into the details
        if response.text:
            rows[index] = {"index": index, **(detail.metric.get(READING) or predicted(doc, response))}
        else:
            likeliest = max(range(len(doc.choices)), key=response.logprobs.__getitem__)
            ranked[index] = doc.choices[likeliest]
    return [row | ({"ranked": ranked[index]} if ranked else {}) for index, row in rows.items()]
