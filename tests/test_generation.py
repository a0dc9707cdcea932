"""Endpoints that fail in every usual way."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator

import pytest
from openai_server import Answer, echo, openai_server, said
from PIL import Image

from cadvi_hub.errors import InputError
from cadvi_hub.generation import ChatRequest, Decoding, Failed, Reply, request_key
from cadvi_hub.generation.server import LOOK_AHEAD, ServerGenerator
from cadvi_hub.schema import message

SHORT = Decoding(max_tokens=12)
KEY = "sk-secret-0123456789"


def ask(text: str, **rest: object) -> ChatRequest:
    return ChatRequest([message("user", text)], **rest)  # type: ignore[arg-type]


def picture(colour: str, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def texts(outcomes: Iterator[Reply | Failed]) -> list[str]:
    return [outcome.text if isinstance(outcome, Reply) else outcome.reason for outcome in outcomes]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's pauses between retries grow from half a second; tests need not wait."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_request_key_depends_on_all_that_decides_a_reply() -> None:
    base = ask("<image> what is it?", images=(picture("red"),))
    others = [
        ask("<image> what is that?", images=(picture("red"),)),
        ask("<image> what is it?", images=(picture("blue"),)),
        ask("<image> what is it?", images=(picture("red"),), decoding=Decoding(temperature=0.5)),
        ask("<image> what is it?", images=(picture("red"),), json_schema={"type": "object"}),
    ]
    keys = {request_key("model", request) for request in [base, *others]} | {request_key("other", base)}
    assert len(keys) == 6
    assert request_key("model", ask("<image> what is it?", images=(picture("red"),))) == request_key("model", base)
    assert request_key("model", ask("\ud83d")) != request_key("model", ask("?"))


def test_replies_come_in_the_order_of_the_requests_though_answered_in_another() -> None:
    second_arrived = threading.Event()
    arrived: list[str] = []

    def first_last(request: dict, number: int) -> Answer:
        if said(request) == "0":
            second_arrived.wait(5)
        return echo(request, number)

    def note(request: ChatRequest, reply: Reply) -> None:
        arrived.append(reply.text)
        if reply.text == "echo 1":
            second_arrived.set()

    with openai_server(first_last) as server:
        generator = ServerGenerator("m", server.base_url, concurrency=4)
        replies = texts(generator.generate([ask(str(i)) for i in range(9)], note))
    assert replies == [f"echo {i}" for i in range(9)]
    assert sorted(arrived) == sorted(replies)
    assert arrived.index("echo 1") < arrived.index("echo 0")


def test_load_stays_within_concurrency_and_requests_are_read_little_ahead() -> None:
    read = 0

    def requests() -> Iterator[ChatRequest]:
        nonlocal read
        for i in range(200):
            read += 1
            yield ask(str(i))

    with openai_server() as server:
        replies = ServerGenerator("m", server.base_url, concurrency=3).generate(requests())
        assert isinstance(next(replies), Reply)
        assert read <= 3 * LOOK_AHEAD
        assert texts(replies) == [f"echo {i}" for i in range(1, 200)]
        assert 1 <= server.most_at_once <= 3
        assert len(server.requests) == 200


def test_images_go_as_data_urls_where_the_prompt_has_them() -> None:
    red, blue = picture("red"), picture("blue", "JPEG")
    request = ChatRequest(
        [message("system", "Be brief."), message("user", "Image 1: <image>\nImage 2: <image>\nSame?")],
        images=(red, blue),
        decoding=Decoding(max_tokens=5, stop=("\n",), seed=3),
        json_schema={"type": "object"},
    )
    with openai_server() as server:
        list(ServerGenerator("m", server.base_url).generate([request]))
        sent = server.requests[0]

    def url(mime: str, data: bytes) -> dict:
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}}

    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image 1: "},
                url("image/png", red),
                {"type": "text", "text": "\nImage 2: "},
                url("image/jpeg", blue),
                {"type": "text", "text": "\nSame?"},
            ],
        },
    ]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["seed"]) == ("m", 5, 0.0, 3)
    assert sent["stop"] == ["\n"]
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_asked_again(status: int) -> None:
    def once(request: dict, number: int) -> Answer:
        return Answer("busy", status=status) if number == 0 else echo(request, number)

    with openai_server(once) as server:
        assert texts(ServerGenerator("m", server.base_url, max_retries=2).generate([ask("hi")])) == ["echo hi"]
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(f"Incorrect API key: {KEY}", status=401), "Set OPENAI_API_KEY"),
        (Answer("no model", status=404), "knows no model 'm'"),
        (Answer(body=b"<html>hello</html>", content_type="text/html"), "ends in /v1"),
        (Answer(body=b"{torn", content_type="application/json"), "ends in /v1"),
        (Answer(f"broken for {KEY}", status=500), "still answers 500 after 1 retries"),
        (Answer(f"slow down, {KEY}", status=429), "still answers 429 after 1 retries"),
    ],
)
def test_a_lasting_failure_stops_the_run_and_says_where_and_what_to_do(answer: Answer, says: str) -> None:
    with openai_server(lambda request, number: answer) as server:
        with pytest.raises(InputError) as caught:
            list(ServerGenerator("m", server.base_url, max_retries=1).generate([ask("hi")]))
        assert server.base_url in str(caught.value)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_the_key_comes_from_the_named_variable_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    monkeypatch.delenv("OPENAI_API_KEY")
    with openai_server() as server:
        list(ServerGenerator("m", server.base_url, api_key_env="MY_KEY").generate([ask("hi")]))
        list(ServerGenerator("m", server.base_url).generate([ask("hi")]))
        assert server.keys == ["Bearer mine", "Bearer EMPTY"]


def test_a_hanging_endpoint_stops_the_run_and_says_that_it_gave_no_answer() -> None:
    release = threading.Event()

    def hang(request: dict, number: int) -> Answer:
        release.wait(20)
        return Answer("too late")

    with openai_server(hang) as server:
        with pytest.raises(InputError, match=r"gave no answer within 0\.2 s, tried 2 times"):
            list(ServerGenerator("m", server.base_url, timeout=0.2, max_retries=1).generate([ask("hi")]))
        release.set()


def test_an_endpoint_that_is_not_there_is_named_without_its_password() -> None:
    with openai_server() as server:
        address = server.base_url.replace("http://", "http://user:hunter2@")
    with pytest.raises(InputError, match="cannot be reached") as caught:
        list(ServerGenerator("m", address, max_retries=0).generate([ask("hi")]))
    assert server.base_url in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_was_answered_before_the_failure_is_handed_on() -> None:
    rest_answered = threading.Event()
    answered = []

    def first_fails(request: dict, number: int) -> Answer:
        if said(request) == "0":
            rest_answered.wait(5)
            return Answer("broken", status=500, headers={"x-should-retry": "false"})
        return echo(request, number)

    def count(request: ChatRequest, reply: Reply) -> None:
        answered.append(reply.text)
        if len(answered) == 4:
            rest_answered.set()

    with openai_server(first_fails) as server:
        generator = ServerGenerator("m", server.base_url, concurrency=5)
        with pytest.raises(InputError, match="still answers 500"):
            list(generator.generate([ask(str(i)) for i in range(5)], count))
    assert sorted(answered) == [f"echo {i}" for i in range(1, 5)]


def test_a_refused_request_fails_alone() -> None:
    def too_long(request: dict, number: int) -> Answer:
        return Answer("maximum context length is 8", status=400) if said(request) == "1" else echo(request, number)

    with openai_server(too_long) as server:
        outcomes = list(ServerGenerator("m", server.base_url).generate([ask(str(i)) for i in range(3)]))
    assert isinstance(outcomes[1], Failed)
    assert "maximum context length is 8" in outcomes[1].reason
    assert [outcomes[0].text, outcomes[2].text] == ["echo 0", "echo 2"]  # type: ignore[union-attr]


def test_an_endpoint_that_refuses_everything_stops_the_run() -> None:
    with openai_server(lambda request, number: Answer("no response_format here", status=400)) as server:
        generator = ServerGenerator("m", server.base_url, concurrency=2)
        with pytest.raises(InputError, match=r"refuses every request .*no response_format here"):
            list(generator.generate(ask(str(i)) for i in range(100)))
        assert len(server.requests) < 100


def test_cut_replies_and_lone_surrogates_are_told_and_mended() -> None:
    def odd(request: dict, number: int) -> Answer:
        return Answer("a \ud83d b \U0001f600", finish_reason="length")

    with openai_server(odd) as server:
        (reply,) = ServerGenerator("m", server.base_url).generate([ask("hi")])
    assert reply == Reply("a � b \U0001f600", "length", prompt_tokens=7, completion_tokens=3)


def test_a_picture_of_no_known_format_is_not_sent() -> None:
    with openai_server() as server:
        with pytest.raises(InputError, match="format is not known"):
            list(ServerGenerator("m", server.base_url).generate([ask("<image>", images=(b"no picture",))]))
        assert server.requests == []


def test_an_address_that_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="no http"):
        ServerGenerator("m", "localhost:8000/v1")


@pytest.mark.parametrize(
    ("model", "name"),
    [("org/model", "org/model"), ("/data/models/org/model", "org/model"), ("/model", "model"), ("model", "model")],
)
def test_a_model_that_a_server_knows_by_its_path_is_recorded_without_it(model: str, name: str) -> None:
    with openai_server() as server:
        generator = ServerGenerator(model, server.base_url)
        assert texts(generator.generate([ask("hi")])) == ["echo hi"]
    assert generator.name == name
    assert server.requests[0]["model"] == model
