"""The question sets as a task of inspect-ai: the same prompts as `cadvi evaluate`, the same readings, the same scores.

inspect-ai's own loader of `eval.yaml` takes one picture per row, so sets about two pictures need a task of their own.

    inspect eval eval/inspect_tasks.py -T benchmark=bison -T data=questions --model openai-api/local/NAME
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageUser, ContentImage, ContentText, GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState, generate

from cadvi_hub.eval.benchmarks.registry import SWAPPED, benchmark_of, find_benchmark
from cadvi_hub.eval.benchmarks.stored import check_complete
from cadvi_hub.eval.models.base import specific
from cadvi_hub.eval.models.chat import chat_request
from cadvi_hub.eval.models.row_images import LazyRows
from cadvi_hub.eval.scoring import prediction, task_scores
from cadvi_hub.eval.tasks import MAX_TOKENS, data_place, prompt, swapped_prompt
from cadvi_hub.generation.chat import Decoding
from cadvi_hub.generation.completions import chat_messages

ROW = "prediction"  # in a sample's score: its row of the predictions file


@task
def cadvi(benchmark: str = "bison", data: str = "", swapped: bool = False) -> Task:
    """One set of questions.

    Args:
        benchmark: its name; `cadvi benchmarks list` shows all.
        data: folder of question sets or Hub repo id; by default what CADVI_EVAL_DATA says.
        swapped: ask the questions about two images with the images in the other order.

    Raises:
        InputError: an unknown set, one that is not there or lacks questions, or a bad row.
    """
    found, place = find_benchmark(benchmark, "benchmark"), data or data_place(benchmark)
    check_complete(place, benchmark)
    name = benchmark + SWAPPED if swapped else benchmark
    decoding = Decoding(max_tokens=found.max_tokens or MAX_TOKENS)
    return Task(
        dataset=MemoryDataset(_samples(name, place), name=name),
        solver=generate(),
        scorer=read(name),
        metrics=[all_scores(name)],
        config=GenerateConfig(
            temperature=decoding.temperature,
            max_tokens=decoding.max_tokens,
            top_p=decoding.top_p,
            seed=decoding.seed,
        ),
        name=name,
    )


@scorer(metrics=[])
def read(name: str) -> Scorer:
    """Reads an answer strictly and tolerantly; right is what the strict reading finds right."""

    async def score(state: TaskState, target: Target) -> Score:
        row = prediction(name, state.metadata, target.text, state.output.completion)
        said = {ROW: {"index": state.metadata["index"], **row}}
        return Score(value=CORRECT if row["correct"] else INCORRECT, answer=row.get("strict") or None, metadata=said)

    return score


@metric
def all_scores(name: str) -> Metric:
    """All scores of the set, as `cadvi evaluate` computes them, without their intervals."""

    def compute(scores: list[SampleScore]) -> Value:
        rows = [(sample.score.metadata or {})[ROW] for sample in scores]
        rows.sort(key=lambda row: row["index"])
        found = task_scores(name, {name: rows}, both_orders=False)
        return {key: value for key, value in found.items() if isinstance(value, int | float)}

    return compute


def _samples(name: str, place: str) -> list[Sample]:
    from datasets import load_dataset

    benchmark, is_local = benchmark_of(name), Path(place).is_dir()
    folder, subset = (str(Path(place, benchmark.name)), "default") if is_local else (place, benchmark.name)
    samples = []
    for index, row in enumerate(LazyRows(load_dataset(folder, subset, split="test"))):
        doc = (swapped_prompt if name.endswith(SWAPPED) else prompt)(row, name)
        if doc is not None:
            (turn,) = chat_messages(chat_request(doc, "PNG"))
            said: list[ChatMessage] = [ChatMessageUser(content=[_part(part) for part in turn["content"]])]
            target = doc.get_golds()[0]
            samples.append(Sample(said, target=target, id=str(index), metadata={**specific(doc), "index": index}))
    return samples


def _part(part: dict[str, Any]) -> ContentText | ContentImage:
    return ContentText(text=part["text"]) if part["type"] == "text" else ContentImage(image=part["image_url"]["url"])
