"""An endpoint that fails in every usual way."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import Failed, Reply
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from tests.generation.test_server import KEY, ask, picture, short_pauses, texts
from tests.support.openai_server import Answer, Behaviour, echo, openai_server, said, served

__all__ = ["short_pauses"]  # a fixture that every test here uses

BROKEN = Answer("broken", status=500)
NO_RETRY = {"x-should-retry": "false"}


def only(text: str, answer: Answer) -> Behaviour:
    """`answer` to the request that says `text`, an echo to all others."""
    return lambda request, number: answer if said(request) == text else echo(request, number)


def completion(**message: object) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}] if message else []
    return json.dumps({"choices": choices}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        Answer("busy", status=429),
        Answer("broken", status=500),
        Answer("loading", status=503),
        Answer("half of this arrives", breaks_off=True),
    ],
)
def test_a_passing_failure_is_asked_again(answer: Answer) -> None:
    def once(request: dict[str, Any], number: int) -> Answer:
        return answer if number == 0 else echo(request, number)

    with openai_server(once) as server:
        assert texts(served(server.base_url, max_retries=2).generate([ask("hi")])) == ["echo hi"]
        assert len(server.requests) == 2


def test_a_busy_endpoint_is_left_in_peace_for_as_long_as_it_asks() -> None:
    asked: list[float] = []

    def once(request: dict[str, Any], number: int) -> Answer:
        asked.append(time.monotonic())
        return echo(request, number) if number else Answer("busy", status=429, headers={"Retry-After": "0.4"})

    with openai_server(once) as server:
        assert texts(served(server.base_url, max_retries=1).generate([ask("hi")])) == ["echo hi"]
    assert asked[1] - asked[0] >= 0.4


def test_an_endpoint_that_is_slow_to_start_is_waited_for() -> None:
    with openai_server() as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
    started = threading.Event()
    end = threading.Event()

    def start_late() -> None:
        time.sleep(0.3)
        with openai_server(port=port):
            started.set()
            end.wait(10)

    thread = threading.Thread(target=start_late)
    thread.start()
    try:
        assert texts(served(server.base_url, max_retries=12).generate([ask("hi")])) == ["echo hi"]
        assert started.is_set()
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(f"Incorrect API key: {KEY}", status=401), "Set OPENAI_API_KEY"),
        (Answer("no model", status=404), "knows no model 'm'"),
        (Answer(body=b"<html>hello</html>", content_type="text/html"), "ends in /v1"),
        (Answer(body=f"<p>\n{KEY}</p>".encode(), content_type="text/html"), "it begins with '<p> [key]</p>'"),
        (Answer(body=b"{torn"), "ends in /v1"),
        (Answer(body=b"{torn"), "than a chat completion (Expecting property name"),
        (Answer(body=b'{"choices": []}'), """it begins with "{'choices': []}"."""[:-1]),
        (Answer(body=completion()), "something other than a chat completion"),
        (Answer(f"broken for {KEY}", status=500), "still answers 500 after 1 retries"),
        (Answer(f"slow down, {KEY}", status=429), "still answers 429 after 1 retries"),
        (Answer("slow", status=429), "Lower the concurrency"),
        (Answer("never whole", breaks_off=True), "breaks off the connection, tried 2 times"),
    ],
)
def test_a_lasting_failure_stops_the_run_and_says_where_and_what_to_do(answer: Answer, says: str) -> None:
    with openai_server(lambda request, number: answer) as server:
        with pytest.raises(InputError) as caught:
            list(served(server.base_url, max_retries=1).generate([ask("hi")]))
        assert server.base_url in str(caught.value)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_hanging_endpoint_stops_the_run_and_says_that_it_gave_no_answer() -> None:
    release = threading.Event()

    def hang(request: dict[str, Any], number: int) -> Answer:
        release.wait(20)
        return Answer("too late")

    with openai_server(hang) as server:
        with pytest.raises(InputError, match=r"gave no answer within 0\.2 s, tried 2 times"):
            list(served(server.base_url, timeout=0.2, max_retries=1).generate([ask("hi")]))
        release.set()


def test_an_endpoint_that_is_not_there_is_named_without_its_password() -> None:
    with openai_server() as server:
        address = server.base_url.replace("http://", "http://user:hunter2@")
    with pytest.raises(InputError, match="cannot be reached") as caught:
        list(served(address, max_retries=0).generate([ask("hi")]))
    assert server.base_url in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("maximum context length is 8", status=400), "maximum context length is 8"),
        (Answer("too large", status=413), "413: "),
        (replace(BROKEN, headers=NO_RETRY), "still answers 500"),
        (Answer(body=completion()), "something other than a chat completion"),
        (Answer(body=completion(content=None)), "has no text"),
        (Answer("half a sent", finish_reason="abort"), "has no end (finish_reason 'abort')"),
    ],
)
def test_a_request_that_fails_where_others_are_answered_fails_alone(answer: Answer, says: str) -> None:
    with openai_server(only("1", answer)) as server:
        outcomes = list(served(server.base_url).generate([ask(str(i)) for i in range(3)]))
    assert isinstance(outcomes[1], Failed)
    assert says in outcomes[1].reason
    assert texts([outcomes[0], outcomes[2]]) == ["echo 0", "echo 2"]


def test_a_reply_that_never_stops_is_told_from_a_whole_one() -> None:
    def endless(request: dict[str, Any], number: int) -> Answer:
        return Answer("a \ud83d b \U0001f600" if number else None, finish_reason="length")

    with openai_server(endless) as server:
        replies = list(served(server.base_url, concurrency=1).generate([ask("hi \ud83d"), ask("ho")]))
    cut = Reply("a � b \U0001f600", "length", prompt_tokens=7, completion_tokens=3)
    assert replies == [replace(cut, text=""), cut]  # a model that spent all its tokens on thinking writes no text
    assert said(server.requests[0]) == "hi �"


@pytest.mark.parametrize("tokens", ["12", 2**70, -1, [1], 1.5])
def test_a_number_of_tokens_that_is_none_costs_no_reply(tokens: object, tmp_path: Path) -> None:
    choice = {"message": {"content": "A reply."}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": tokens, "completion_tokens": 7}}).encode()
    with openai_server(lambda request, number: Answer(body=body)) as server:
        stored = StoredGenerator(served(server.base_url), ReplyStore(tmp_path / "replies.sqlite"))
        assert list(stored.generate([ask("Hello.")])) == [Reply("A reply.", "stop", 0, 7)]


def test_an_endpoint_that_refuses_everything_stops_the_run() -> None:
    with openai_server(lambda request, number: Answer("no such setting", status=400)) as server:
        generator = served(server.base_url, concurrency=2)
        with pytest.raises(InputError, match=r"refuses every request .*no such setting"):
            list(generator.generate(ask(str(i)) for i in range(100)))
        assert len(server.requests) < 100


def test_refusals_of_long_requests_alone_do_not_stop_the_run() -> None:
    def too_long(request: dict[str, Any], number: int) -> Answer:
        return Answer("too long", status=400) if len(said(request)) > 100 else echo(request, number)

    with openai_server(too_long) as server:
        generator = served(server.base_url, concurrency=2)
        outcomes = list(generator.generate(ask("long " * 30 + str(i)) for i in range(40)))
    assert all(isinstance(outcome, Failed) for outcome in outcomes)


def test_an_endpoint_without_json_schemas_is_told_so_at_the_first_request() -> None:
    def plain_only(request: dict[str, Any], number: int) -> Answer:
        return Answer("unknown key", status=400) if "response_format" in request else echo(request, number)

    request = ask("<image> hi", images=(picture("red"),), json_schema={"type": "object"})
    says = r"takes no JSON schema \(400: .*unknown key.*Set json_schema to false"
    with openai_server(plain_only) as server, pytest.raises(InputError, match=says):
        list(served(server.base_url).generate([request]))


@pytest.mark.parametrize("last", ["401", "hangs", "ctrl-c", "full disk", "closed"])
def test_whatever_ends_a_run_the_replies_that_arrived_are_stored_and_only_the_rest_is_asked_again(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "replies.sqlite"
    others_stored, release = threading.Event(), threading.Event()
    put = ReplyStore.put

    def watched(store: ReplyStore, replies: dict[str, Reply]) -> None:
        if last == "full disk" and any(reply.text == "echo 5" for reply in replies.values()):
            raise InputError("disk", "full", "Free some space")
        put(store, replies)
        if len(store) == 5:
            others_stored.set()

    def fails_last(request: dict[str, Any], number: int) -> Answer:
        if said(request) != "5":
            return echo(request, number)
        assert others_stored.wait(10)
        if last == "ctrl-c":
            os.kill(os.getpid(), signal.SIGINT)
        if last in ("ctrl-c", "hangs", "closed"):
            release.wait(5)
        return echo(request, number) if last == "full disk" else Answer("bad key", status=401)

    monkeypatch.setattr(ReplyStore, "put", watched)
    requests = [ask(str(i)) for i in (5, 0, 1, 2, 3, 4)] if last != "closed" else [ask(str(i)) for i in range(6)]
    with openai_server(fails_last) as server:
        generator = served(server.base_url, concurrency=6, timeout=0.5, max_retries=0)
        outcomes = StoredGenerator(generator, ReplyStore(path)).generate(requests)
        if last == "closed":
            next(outcomes)
            assert others_stored.wait(10)
            outcomes.close()  # type: ignore[attr-defined]
        else:
            with pytest.raises(KeyboardInterrupt if last == "ctrl-c" else InputError):
                list(outcomes)
        release.set()
    monkeypatch.setattr(ReplyStore, "put", put)
    store = ReplyStore(path)
    assert len(store) == 5
    with openai_server() as server:
        replies = texts(StoredGenerator(served(server.base_url), store).generate(requests))
        assert sorted(replies) == [f"echo {i}" for i in range(6)]
        assert [said(request) for request in server.requests] == ["5"]


def test_replies_are_handed_on_while_the_caller_is_busy() -> None:
    """A build writes a shard between two replies; what arrives meanwhile must survive a kill."""
    arrived: list[int] = []
    all_arrived = threading.Event()

    def note(replies: Sequence[tuple[int, Reply]]) -> None:
        arrived.extend(number for number, _ in replies)
        if len(arrived) == 8:
            all_arrived.set()

    with openai_server() as server:
        outcomes = served(server.base_url, concurrency=4).generate([ask(str(i)) for i in range(8)], note)
        next(outcomes)
        assert all_arrived.wait(10)
        assert len(list(outcomes)) == 7


def test_the_cost_of_a_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with openai_server(only("1", Answer("too long", status=400))) as server, caplog.at_level(logging.INFO):
        list(served(server.base_url).generate([ask(str(i)) for i in range(3)]))
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("cadvi_hub")]
    assert line.startswith("m: 2 replies in ")
    assert "1 failed; 14 + 6 tokens" in line
