"""lighteval tasks over the benchmark questions: bison, svo_probes, nlvr2, eqben, cola, cad_qa, single_image.

`cadvi evaluate` runs them with intervals and without a network. lighteval's own command runs them too: set the
variable CADVI_EVAL_DATA to a data set folder (as `eval.benchmarks` writes it) or a Hub repo id, then

    lighteval custom MODEL eval/vision_model.py "bison|0,cola|0" --custom-tasks cadvi_hub.eval.tasks

where MODEL is a folder (a LoRA adapter's, too) or a repo id. Tried with lighteval 0.13: the command works where the
network answers; without one it stops in lighteval's own `tiny_benchmarks`, which downloads a file when imported.
Name this module, not its file, so that lighteval's worker processes can import it. `--max-samples` cuts pairs in
two, and half a pair counts as wrong. Few-shot examples are refused: the paper asks each question alone.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lighteval.metrics.metrics_corpus import CorpusLevelComputation
from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.metrics.utils.metric_utils import CorpusLevelMetric, Metric, SampleLevelMetric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

from cadvi_hub.eval import scoring

DATA = os.environ.get("CADVI_EVAL_DATA", "cadvi-hub/cad-eval")


def prompt(row: dict[str, Any], task_name: str) -> Doc:
    """The question as it stands, its images in prompt order; `choices` of an open question is its reference answer."""
    choices = list(row["options"]) or [row["answer"]]
    return Doc(
        task_name=task_name,
        query=row["question"],
        choices=choices,
        gold_index=choices.index(row["answer"]),
        images=[image.convert("RGB") for image in row["images"]],
        specific={key: row[key] for key in ("id", "group", "category", "options")},
    )


def answer_text(response: ModelResponse) -> str:
    """What the model wrote, whole: reasoning in tags is not cut away, as the reading is strict."""
    return response.text[0]


class Score(SampleLevelComputation):
    """A score of one answer: `score(prediction, doc)`, between 0 and 1."""

    def __init__(self, score: Callable[[str, Doc], float]):
        self.score = score

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> float:
        return float(self.score(answer_text(model_response), doc))


class GroupedScore(SampleLevelComputation):
    """Whether one answer is right, and what joins it with others: `key` is "group" or "category"."""

    def __init__(self, key: str):
        self.key = key

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> dict[str, Any]:
        return {"key": specific(doc)[self.key], "correct": _is_correct(answer_text(model_response), doc)}


class Aggregate(CorpusLevelComputation):
    """`aggregate(keys, correct)` over a task, as a dict: for any other type lighteval starts a pool to bootstrap."""

    def __init__(self, aggregate: Callable[[list[str], list[bool]], dict[str, float]]):
        self.aggregate = aggregate

    def compute_corpus(self, items: list[dict[str, Any]]) -> dict[str, float]:
        return self.aggregate([item["key"] for item in items], [item["correct"] for item in items])


def specific(doc: Doc) -> dict[str, Any]:
    """What `prompt` keeps of the row: id, group, category, options."""
    assert doc.specific is not None  # noqa: S101  (lighteval's type allows None, `prompt` never sets it)
    return doc.specific


def _is_correct(prediction: str, doc: Doc) -> bool:
    return scoring.is_correct(prediction, doc.get_golds()[0])


def _is_answered(prediction: str, doc: Doc) -> bool:
    return scoring.is_answered(prediction, specific(doc)["options"])


def _token_f1(prediction: str, doc: Doc) -> float:
    return scoring.token_f1(prediction, doc.get_golds()[0])


def _pairs(groups: list[str], correct: list[bool]) -> dict[str, float]:
    return {"pair_accuracy": scoring.pair_accuracy(groups, correct)}


def _categories(categories: list[str], correct: list[bool]) -> dict[str, float]:
    return {f"accuracy_{name}": value for name, value in scoring.category_accuracy(categories, correct).items()}


def _mean(name: str, score: Callable[[str, Doc], float]) -> Metric:
    return SampleLevelMetric(
        metric_name=name,
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=Score(score),
        corpus_level_fn=np.mean,
    )


def _grouped(name: str, key: str, aggregate: Callable[[list[str], list[bool]], dict[str, float]]) -> Metric:
    return CorpusLevelMetric(
        metric_name=name,
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=GroupedScore(key),
        corpus_level_fn=Aggregate(aggregate),
    )


ACCURACY = _mean("accuracy", _is_correct)
ANSWERED = _mean("answered", _is_answered)  # share of answers that are one of the options
PAIRS = _grouped("pair_accuracy", "group", _pairs)
CATEGORIES = _grouped("category_accuracy", "category", _categories)
EXACT_MATCH = _mean("exact_match", _is_correct)
TOKEN_F1 = _mean("token_f1", _token_f1)  # a stand-in: the paper rates open answers with an LLM as judge

CLOSED_SIZE = 32  # tokens: the paper allows 256, but what is longer than any option is wrong however it goes on
OPEN_SIZE = 256  # tokens (paper, section 4.1)

SETS: dict[str, tuple[list[Metric], int]] = {
    "bison": ([ACCURACY, ANSWERED], CLOSED_SIZE),
    "svo_probes": ([ACCURACY, ANSWERED, CATEGORIES], CLOSED_SIZE),
    "nlvr2": ([ACCURACY, ANSWERED], CLOSED_SIZE),
    "eqben": ([ACCURACY, ANSWERED, PAIRS, CATEGORIES], CLOSED_SIZE),
    "cola": ([ACCURACY, ANSWERED, PAIRS], CLOSED_SIZE),
    "cad_qa": ([TOKEN_F1, EXACT_MATCH], OPEN_SIZE),
    "single_image": ([ACCURACY, ANSWERED], CLOSED_SIZE),
}


def task_configs(data: str) -> list[LightevalTaskConfig]:
    """The tasks over the data set folder or Hub repo `data`."""
    # `datasets` knows a folder with a card by its name alone, and gives what another one of that name held when it was
    # first read. The folder of one set has no card and is known by its files.
    local = Path(data).is_dir()
    return [
        LightevalTaskConfig(
            name=name,
            prompt_function=prompt,
            hf_repo=str(Path(data, name)) if local else data,
            hf_subset="default" if local else name,
            hf_avail_splits=["test"],
            evaluation_splits=["test"],
            few_shots_split="test",  # the only split; our models refuse few-shot examples, see above
            metrics=metrics,
            generation_size=generation_size,
            stop_sequence=[],
        )
        for name, (metrics, generation_size) in SETS.items()
    ]


TASKS_TABLE = task_configs(DATA)
