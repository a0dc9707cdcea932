"""Servers take other parameters, know other roles and write replies in other ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cadvi_hub.cli import parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply, request_key, without_system_role
from tests.generation.test_server import KEY, ask, picture, short_pauses, texts
from tests.support.openai_server import Answer, Behaviour, echo, openai_server, said, served

__all__ = ["short_pauses"]  # a fixture that every test here uses

RULES = "Write one sentence."
WITH_RULES = ChatRequest([message("system", RULES), message("user", "<image> hi")], (picture("red"),))


def test_parameters_are_added_renamed_and_left_out() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"}
    names = {"max_tokens": "max_completion_tokens", "seed": None, "stop": "stop_sequences"}
    with openai_server() as server:
        generator = served(server.base_url, extra_body=extra, rename_parameters=names)
        assert texts(generator.generate([ask("hi")])) == ["echo hi"]
        (sent,) = server.requests
    assert sent.pop("messages")[0]["content"] == "hi"
    assert sent == {"model": "m", "temperature": 0.0, "top_p": 1.0, "max_completion_tokens": 512, **extra}


def test_replies_under_other_parameters_are_other_replies() -> None:
    generators = [
        served("http://127.0.0.1:9/v1", **settings)
        for settings in ({}, {"extra_body": {"reasoning_effort": "low"}}, {"rename_parameters": {"seed": None}})
    ]
    keys = {request_key(each.name, ask("hi"), changes=each.request_changes) for each in generators}
    assert len(keys) == 3
    assert request_key("m", ask("hi")) in keys  # nothing is asked again for those who change nothing


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rename_parameters": {"max_token": "n"}}, "'max_token' is not sent .*max_tokens"),
        ({"extra_body": {"messages": []}}, "'messages' cannot be set"),
        ({"extra_body": {"stream": True}}, "'stream' cannot be set"),
    ],
)
def test_a_parameter_that_is_none_or_ours_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        served("http://127.0.0.1:9/v1", **settings)
    assert says.split(" .*")[0] in str(caught.value)


def test_annotator_judge_and_evaluation_have_these_keys_on_the_command_line() -> None:
    pair = ['{"seed": null}', '{"chat_template_kwargs": {"enable_thinking": false}}']
    words = ["v1", "--config", "v1", "--annotator.rename_parameters", pair[0], "--annotator.extra_body", pair[1]]
    settings = parse_settings("build", words).annotator
    assert settings.rename_parameters == {"seed": None}
    assert settings.extra_body == {"chat_template_kwargs": {"enable_thinking": False}}
    words = ["--results", "r", "--data", "d", "--judge.extra_body.reasoning_effort", "low"]
    assert parse_settings("judge run", words).judge.extra_body == {"reasoning_effort": "low"}
    words = ["--model", "m", "--data", "d", "--out", "o", "--endpoint.rename_parameters", pair[0]]
    assert parse_settings("evaluate", words).endpoint.rename_parameters == {"seed": None}


def no_system_role(status: int) -> Behaviour:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        if any(turn["role"] == "system" for turn in request["messages"]):
            return Answer("roles must alternate user/assistant", status=status, headers={"x-should-retry": "false"})
        return echo(request, number)

    return behaviour


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_model_without_a_system_role_gets_the_rules_in_the_first_user_turn(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with openai_server(no_system_role(status)) as server:
        replies = texts(served(server.base_url, concurrency=3).generate([WITH_RULES] * 20))
        last = server.requests[-1]["messages"]
        assert len(server.requests) <= 20 + 3  # it is found out once
    assert len(replies) == 20
    assert all(RULES in reply for reply in replies)
    assert [turn["role"] for turn in last] == ["user"]
    assert [part["type"] for part in last[0]["content"]] == ["text", "text", "image_url", "text"]
    assert [record.getMessage().count("no system role") for record in caplog.records].count(1) == 1


def test_the_rules_go_before_the_first_question_and_the_examples_stay_in_their_order() -> None:
    turns = [("system", RULES), ("user", "1"), ("assistant", "one"), ("user", "2")]
    merged = without_system_role([message(*turn) for turn in turns])
    assert [turn["role"] for turn in merged] == ["user", "assistant", "user"]
    assert "".join(part["text"] for part in merged[0]["content"]) == f"{RULES}\n\n1"
    assert without_system_role(merged) == merged


def test_an_endpoint_that_takes_only_short_prompts_without_rules_is_not_tried_for_ever() -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        return Answer("no", status=400) if len(request["messages"]) > 1 else echo(request, number)

    chat = ChatRequest([message(role, "hi") for role in ("system", "user", "assistant", "user")])
    with openai_server(behaviour) as server:
        with pytest.raises(InputError, match="refuses every request"):
            list(served(server.base_url, concurrency=2).generate([chat] * 200))
        assert len(server.requests) < 60


def test_an_endpoint_that_begins_to_refuse_everything_stops_the_run() -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        return echo(request, number) if number < 5 else Answer("out of credit", status=400)

    with openai_server(behaviour) as server, pytest.raises(InputError, match=r"refuses every request .*out of credit"):
        list(served(server.base_url, concurrency=2).generate([ask(str(i)) for i in range(100)]))


def content(value: Any) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": value}, "finish_reason": "stop"}
    return Answer(body=json.dumps({"choices": [choice]}).encode())


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "text": "A red kite."}], "A red kite."),
        ([{"type": "text", "text": "A red "}, {"type": "text", "text": "kite."}], "A red kite."),
        (["A red ", {"type": "output_text", "text": "kite."}], "A red kite."),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": "A kite."}], "A kite."),
    ],
)
def test_a_reply_in_parts_is_joined_without_the_thoughts(parts: list[Any], text: str) -> None:
    with openai_server(lambda request, number: content(parts)) as server:
        assert texts(served(server.base_url).generate([ask("hi")])) == [text]


def in_200(**error: Any) -> Answer:
    return Answer(body=json.dumps({"error": error}).encode())


@pytest.mark.parametrize("answer", [in_200(message="busy", code=429), in_200(message="broken", code="502")])
def test_a_passing_error_with_status_200_is_asked_again(answer: Answer) -> None:
    with openai_server(lambda request, number: echo(request, number) if number else answer) as server:
        assert texts(served(server.base_url, max_retries=1).generate([ask("hi")])) == ["echo hi"]


@pytest.mark.parametrize("answer", [in_200(message="too long", code=400), in_200(message="too long")])
def test_an_error_with_status_200_about_one_request_fails_that_one(answer: Answer) -> None:
    with openai_server(lambda request, number: answer if said(request) == "1" else echo(request, number)) as server:
        outcomes = list(served(server.base_url).generate([ask(str(i)) for i in range(3)]))
    assert isinstance(outcomes[1], Failed)
    assert "too long" in outcomes[1].reason
    assert texts(outcomes[::2]) == ["echo 0", "echo 2"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (in_200(message=f"bad key {KEY}", code=401), "Set OPENAI_API_KEY"),
        (in_200(message=f"broken for {KEY}", code=500), "still answers 500"),
        (in_200(message="slow down", code=429), "Lower the concurrency"),
    ],
)
def test_a_lasting_error_with_status_200_stops_the_run_and_says_what_to_do(answer: Answer, says: str) -> None:
    with openai_server(lambda request, number: answer) as server, pytest.raises(InputError) as caught:
        list(served(server.base_url, max_retries=1).generate([ask("hi")]))
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_limited_rate_is_waited_for_longer_than_the_retries() -> None:
    def later(request: dict[str, Any], number: int) -> Answer:
        return Answer("slow down", status=429) if number < 3 else echo(request, number)

    with openai_server(later) as server:
        assert texts(served(server.base_url, max_retries=0).generate([ask("hi")])) == ["echo hi"]


def test_a_quota_that_is_used_up_is_not_waited_for() -> None:
    body = json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}}).encode()
    with openai_server(lambda request, number: Answer(status=429, body=body)) as server:
        with pytest.raises(InputError, match="no credit"):
            list(served(server.base_url, max_retries=0).generate([ask("hi")]))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A red kite.", "A red kite."),
        ("<think>\nHm, a kite?\n</think>\n\nA red kite.", "\n\nA red kite."),
        ("Hm, a kite?</think>A red kite.", "A red kite."),
        ("[THINK]Hm.[/THINK]A red kite.", "A red kite."),
        ("<|channel|>analysis<|message|>Hm.<|end|><|channel|>final<|message|>A red kite.<|return|>", "A red kite."),
        ("A red kite.<|im_end|>\n", "A red kite."),
        ("A red kite. <|eot_id|></s>", "A red kite."),
        ("<think>\nHm, a kite? It is never", ""),
    ],
)
def test_the_answer_of_a_reply_has_no_thoughts_and_no_end_marks(text: str, answer: str) -> None:
    assert Reply(text, "stop", 1, 1).answer == answer
