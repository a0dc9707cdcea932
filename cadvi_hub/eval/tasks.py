"""lighteval tasks over the benchmark questions, and over those with two images with the images swapped.

`cadvi evaluate` runs them with intervals and without a network. lighteval's own command runs them too: set the
variable CADVI_EVAL_DATA to a data set folder (as `eval.benchmarks` writes it) or a Hub repo id, or
CADVI_EVAL_DATA_<TASK> to that of one set (CADVI_EVAL_DATA_BISON), then

    lighteval custom MODEL eval/vision_model.py "bison|0,bison_swapped|0" --custom-tasks cadvi_hub.eval.tasks

where MODEL is a folder (a LoRA adapter's, too) or a repo id. Tested with lighteval 0.13: the command needs a
network, because lighteval's own `tiny_benchmarks` downloads a file when it is imported.
Name this module, not its file, so that lighteval's worker processes can import it. `--max-samples` cuts pairs in
two, and half a pair counts as wrong. Few-shot examples are refused: the paper asks each question alone.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lighteval.metrics.metrics_corpus import CorpusLevelComputation
from lighteval.metrics.metrics_sample import LoglikelihoodAcc, SampleLevelComputation
from lighteval.metrics.utils.metric_utils import CorpusLevelMetric, Metric, SampleLevelMetric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED
from cadvi_hub.eval.intervals import Share
from cadvi_hub.eval.models.base import Unanswered, specific
from cadvi_hub.eval.models.row_images import RowImages
from cadvi_hub.eval.scoring import closed_shares, prediction
from cadvi_hub.eval.swapping import swap_images
from cadvi_hub.eval.text_scores import token_f1

READING = "reading"  # the metric whose sample values are predictions, and whose corpus values are shares
MAX_TOKENS = 256  # of an answer (paper, section 4.1)


def data_place(task: str) -> str:
    """Where the questions of `task` are, as the environment says: a folder or a Hub repo id."""
    everywhere = os.environ.get("CADVI_EVAL_DATA", "cadvi-hub/cad-eval")
    return os.environ.get(f"CADVI_EVAL_DATA_{task.upper()}", everywhere)


def prompt(row: Mapping[str, Any], task_name: str) -> Doc:
    """The question with its images in prompt order; the only choice of an open question is its reference answer.

    Raises:
        InputError: the row lacks a column, is of another set, has other images than placeholders, or its answer is
            no option.
    """
    if missing := {"id", "images", "question", "options", "answer", "category", "group"} - set(row):
        problem = f"a row has no {', '.join(sorted(missing))}"
        raise InputError(f"task {task_name}", problem, "Make the set with `cadvi benchmarks`")
    place, images = f"task {task_name}, question {row['id']}", row["images"]
    if (found := row.get("task")) not in (None, task_name.partition("|")[0].removesuffix(SWAPPED)):
        raise InputError(place, f"it is a question of {found}", "Name the right set, or make it anew")
    placeholders = row["question"].count(IMAGE_PLACEHOLDER)
    if not len(images) == placeholders > 0:
        problem = f"{len(images)} image(s) and {placeholders} {IMAGE_PLACEHOLDER} in the text"
        raise InputError(place, problem, "Give each image its place in the text")
    if not isinstance(images, RowImages) and None in images:
        raise InputError(place, f"image {images.index(None) + 1} is missing", "Build the set again, with its pictures")
    choices = list(row["options"]) or [row["answer"]]
    if row["answer"] not in choices:
        raise InputError(place, f"the answer {row['answer']!r} is not one of its options", "Fix the set")
    return Doc(
        task_name=task_name,
        query=row["question"],
        choices=choices,
        gold_index=choices.index(row["answer"]),
        # lighteval asks for a list and reads a sequence
        images=images if isinstance(images, RowImages) else [image.convert("RGB") for image in images],  # type: ignore[arg-type]
        specific={key: row[key] for key in ("id", "group", "category", "options")},
    )


def swapped_prompt(row: Mapping[str, Any], task_name: str) -> Doc | None:
    """The question with its images swapped; None, which lighteval skips, if its answer is then unknown."""
    swapped = swap_images(row)
    return None if swapped is None else prompt(swapped, task_name)


def predicted(doc: Doc, response: ModelResponse) -> dict[str, Any]:
    """The row of the predictions file; the whole text is read, including reasoning in tags."""
    reason = response.reason if isinstance(response, Unanswered) else ""
    return prediction(doc.task_name.partition("|")[0], specific(doc), doc.get_golds()[0], response.text[0], reason)


class Score(SampleLevelComputation):
    """A score of one answer: `score(doc, response)`; a number, or what `Shares` counts."""

    def __init__(self, score: Callable[[Doc, ModelResponse], Any]):
        self.score = score

    def compute(self, doc: Doc, model_response: ModelResponse, **_: Any) -> Any:
        return self.score(doc, model_response)


class Shares(CorpusLevelComputation):
    """All shares of a closed set. It returns a dict, because lighteval bootstraps every other type in a pool."""

    def __init__(self, task: str):
        self.task = task

    def compute_corpus(self, items: list[dict[str, Any]]) -> dict[str, Share]:
        return closed_shares(self.task, items)


def _mean(name: str, score: Callable[[Doc, ModelResponse], float]) -> Metric:
    return SampleLevelMetric(
        metric_name=name,
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=Score(score),
        corpus_level_fn=np.mean,
    )


def _token_f1(doc: Doc, response: ModelResponse) -> float:
    return token_f1(response.text[0], doc.get_golds()[0])


def _exact_match(doc: Doc, response: ModelResponse) -> float:
    return float(predicted(doc, response)["correct"])


# metrics without a judge; `cadvi judge run` rates by an LLM as the paper does
OPEN_METRICS = [_mean("token_f1", _token_f1), _mean("exact_match", _exact_match)]
RANKED = SampleLevelMetric(
    metric_name="ranked_accuracy",
    higher_is_better=True,
    category=SamplingMethod.LOGPROBS,
    sample_level_fn=LoglikelihoodAcc(),
    corpus_level_fn=np.mean,
)


def _shares(task: str) -> Metric:
    return CorpusLevelMetric(
        metric_name=READING,
        higher_is_better=True,
        category=SamplingMethod.GENERATIVE,
        sample_level_fn=Score(predicted),
        corpus_level_fn=Shares(task),
    )


def task_configs(
    places: Mapping[str, str], max_tokens: int = MAX_TOKENS, both_orders: bool = True, rank_options: bool = False
) -> list[LightevalTaskConfig]:
    """The tasks over the sets in `places`: set → data set folder or Hub repo id.

    Args:
        places: which sets, and where they are.
        max_tokens: longest answer to a closed question.
        both_orders: whether to ask sets about two images again with the images swapped.
        rank_options: whether to rank the options of closed questions by their log-likelihood, too; not in sets whose
            questions may have no options.
    """
    configs = []
    for task, place in places.items():
        benchmark = BENCHMARKS[task]
        closed = [_shares(task), *([RANKED] if rank_options and benchmark.options else [])]
        # `datasets` caches a folder with a card under its name alone, so a second folder of that name would give the
        # rows of the first. The folder of one set has no card and is cached by its files.
        local = Path(place).is_dir()
        prompts = {task: prompt, **({task + SWAPPED: swapped_prompt} if both_orders and benchmark.swaps else {})}
        configs += [
            LightevalTaskConfig(
                name=name,
                prompt_function=prompt_function,  # type: ignore[arg-type]  # lighteval skips None, but its type does not say so
                hf_repo=str(Path(place, task)) if local else place,
                hf_subset="default" if local else task,
                hf_avail_splits=["test"],
                evaluation_splits=["test"],
                few_shots_split="test",  # the only split; our models refuse few-shot examples, see above
                metrics=OPEN_METRICS if benchmark.is_open else closed,
                generation_size=benchmark.max_tokens or max_tokens,
                stop_sequence=[],
            )
            for name, prompt_function in prompts.items()
        ]
    return configs


TASKS_TABLE = task_configs({task: data_place(task) for task in BENCHMARKS})
