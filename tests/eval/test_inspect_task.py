"""inspect-ai sends the prompts of `cadvi evaluate`, and finds its scores."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval

from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.inspect_task import cadvi
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.settings import EndpointSettings
from tests.eval.test_evaluate import row
from tests.support.openai_server import Answer, openai_server, said
from tests.support.published import picture

TASK_FILE = Path(__file__).parents[2] / "eval/inspect_tasks.py"


def asked(request: dict[str, Any]) -> str:
    """What decides an answer: messages and decoding."""
    kept: dict[str, Any] = {
        key: request.get(key) for key in ("messages", "temperature", "max_tokens", "seed", "top_p")
    }
    for turn in kept["messages"]:
        for part in turn["content"]:
            if part["type"] == "image_url":
                part["image_url"] = {"url": part["image_url"]["url"]}  # inspect-ai adds the default detail
    return json.dumps(kept, sort_keys=True)


@pytest.mark.parametrize("task", ["cola", "cad_qa"])
def test_prompts_and_scores_are_those_of_our_own_evaluation(task: str, tmp_path: Path) -> None:
    images = [picture(1), picture(2)]
    changes = [
        {"id": f"{number // 2}_{number % 2}", "group": str(number // 2), "images": images} for number in range(6)
    ]
    rows = [
        row(task, number, **each, question=f"Image 1: <image>\nImage 2: <image>\nWhich, number {number}?")
        for number, each in enumerate(changes)
    ]
    write_questions(rows, tmp_path / "data")

    def answer(request: dict[str, Any], number: int) -> Answer:
        asked_number = int(said(request).split("number ")[1].rstrip("?"))
        return Answer(["A", "B", "A", "A", "(a)", "two red dogs"][asked_number])

    with openai_server(answer) as server:
        settings = EvaluateSettings(
            "m", str(tmp_path / "data"), tmp_path / "out", endpoint=EndpointSettings(server.base_url)
        )
        ours = evaluate(settings)[task]
        prompts = sorted(map(asked, server.requests))
        server.requests.clear()
        (log,) = inspect_eval(
            cadvi(task, str(tmp_path / "data")),
            model="openai-api/local/m",
            model_base_url=server.base_url,
            model_args={"api_key": "none"},
            log_dir=str(tmp_path / "logs"),
            display="none",
        )
    assert log.status == "success", log.error
    assert sorted(map(asked, server.requests)) == prompts
    assert log.results
    (found,) = log.results.scores
    theirs = {name: each.value for name, each in found.metrics.items()}
    expected = {name: value for name, value in ours.items() if isinstance(value, int | float)}
    assert theirs == pytest.approx(expected)
    assert len(expected) > 2


def test_the_task_file_has_the_task() -> None:
    assert "cadvi_hub.eval.inspect_task import cadvi" in TASK_FILE.read_text()
