"""Questions without a reply: they are counted, the rest is scored, and a rerun asks them again."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.comparison import compare_predictions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.judge.run import answered_of
from cadvi_hub.eval.score_table import format_scores
from cadvi_hub.eval.scoring import closed_shares, prediction
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.settings import EndpointSettings
from tests.eval.test_evaluate import pairs, row
from tests.support.openai_server import Answer, openai_server, said

NO_REPLIES = {
    "nothing": Answer(None),
    "filtered": Answer("I can", finish_reason="content_filter"),
    "refused": Answer("the prompt is not allowed", status=400),
    "failing": Answer("boom", status=500),
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture
def settings(tmp_path: Path) -> EvaluateSettings:
    def named(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**each, "question": f"<image><image> {each['task']} {each['id']}?"} for each in rows]

    rows = [*(row("bison", index) for index in range(5)), *pairs("cola", 3), *(row("cad_qa", i) for i in range(2))]
    write_questions(named(iter(rows)), tmp_path / "data")
    return EvaluateSettings("tiny", str(tmp_path / "data"), tmp_path / "out", both_orders=False)


@pytest.mark.parametrize("kind", NO_REPLIES)
def test_a_question_without_a_reply_is_counted_and_asked_again(
    settings: EvaluateSettings, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    silent = ("bison 4?", "cola 1_0?", "cad_qa 0?")

    def answer(request: dict[str, Any], number: int) -> Answer:
        return NO_REPLIES[kind] if any(each in said(request) for each in silent) else Answer("A")

    with openai_server(answer) as server, caplog.at_level(logging.WARNING, "cadvi_hub"):
        settings.endpoint = EndpointSettings(server.base_url, concurrency=1, max_retries=0)
        scores = evaluate(settings)
    bison, cola, open_answers = scores["bison"], scores["cola"], scores["cad_qa"]
    assert (bison["n"], bison["accuracy_n"], bison["accuracy"]) == (5, 4, 0.5)
    assert (bison["unanswered"], bison["unreadable"], bison["unreadable_n"]) == (0.2, 0, 4)
    assert (cola["accuracy_n"], cola["pair_accuracy_n"], cola["unanswered"]) == (5, 2, 1 / 6)
    assert (open_answers["token_f1_n"], open_answers["unanswered"]) == (1, 0.5)
    assert "unanswered" in format_scores(scores)
    assert "3 of 13 questions got no answer" in caplog.text
    lines = (settings.out / "predictions" / "bison.jsonl").read_text().splitlines()
    assert [json.loads(line).get("unanswered", "") != "" for line in lines] == [False] * 4 + [True]
    judged = list(answered_of(settings.out, "cad_qa", str(settings.data)))
    assert [index["id"] for index, _ in judged] == ["1"]

    with openai_server(lambda request, number: Answer("B")) as server:
        settings.endpoint = EndpointSettings(server.base_url, concurrency=1, max_retries=0)
        again = evaluate(settings)
        assert sorted(said(request).split("> ")[-1].strip() for request in server.requests) == sorted(silent)
    assert not any("unanswered" in metrics for metrics in again.values())
    assert again["bison"]["accuracy"] == 0.4


def test_a_model_that_answers_nothing_is_an_error(settings: EvaluateSettings) -> None:
    with openai_server(lambda request, number: Answer(None)) as server:
        settings.endpoint = EndpointSettings(server.base_url, concurrency=1, max_retries=0)
        with pytest.raises(InputError, match="refuses every request"):
            evaluate(settings)


def predicted(index: int, text: str, unanswered: str = "") -> dict[str, Any]:
    question = {"id": str(index), "category": "", "group": str(index // 2), "options": ["A", "B"]}
    return {"index": index, **prediction("cola", question, "A", text, unanswered)}


def test_a_comparison_is_about_the_questions_that_both_models_answered() -> None:
    first = [predicted(index, "A") for index in range(6)]
    second = [predicted(index, "B" if index else "", "filtered" if not index else "") for index in range(6)]
    accuracy, of_pairs = compare_predictions("cola", first, second)
    assert (accuracy.n, accuracy.only_first, of_pairs.n) == (5, 5, 2)
    with pytest.raises(InputError, match="no question was answered by both"):
        compare_predictions("cola", first[:1], second[:1])


def test_a_set_without_any_reply_has_no_accuracy() -> None:
    assert closed_shares("cola", [predicted(0, "", "filtered")]) == {"unanswered": 1.0}


def test_an_endpoint_that_refuses_parameters_is_evaluated_with_others(settings: EvaluateSettings) -> None:
    def modern(request: dict[str, Any], number: int) -> Answer:
        refused = sorted({"seed", "temperature", "max_tokens"} & set(request))
        return Answer(f"unsupported: {refused[0]}", status=400) if refused else Answer("A")

    names = {"seed": None, "temperature": None, "max_tokens": "max_completion_tokens"}
    with openai_server(modern) as server:
        settings.endpoint = EndpointSettings(server.base_url, max_retries=0)
        with pytest.raises(InputError, match="refuses every request"):
            evaluate(settings)
        settings.endpoint = EndpointSettings(server.base_url, max_retries=0, rename_parameters=names)
        scores = evaluate(settings)
        assert server.requests[-1]["max_completion_tokens"] == settings.max_tokens
    assert (scores["bison"]["n"], scores["bison"].get("unanswered", 0)) == (5, 0)
