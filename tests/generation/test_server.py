"""What is sent to an endpoint, and how replies come back."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Reply, request_key
from cadvi_hub.generation.server import UNANSWERED, UNYIELDED, ServerGenerator
from cadvi_hub.generation.settings import EndpointSettings
from tests.support.openai_server import Answer, echo, openai_server, said, served

SHORT = Decoding(max_tokens=12)
KEY = "sk-secret-0123456789"


def ask(text: str, **rest: Any) -> ChatRequest:
    return ChatRequest([message("user", text)], **rest)


def picture(colour: str, kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def texts(outcomes: Iterable[Reply | Failed]) -> list[str]:
    return [outcome.text if isinstance(outcome, Reply) else outcome.reason for outcome in outcomes]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's pauses between retries grow from half a second; tests need not wait."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("cadvi_hub.generation.endpoint.PAUSES", (0.01, 0.02, 0.03))
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

    def first_last(request: dict[str, Any], number: int) -> Answer:
        if said(request) == "0":
            second_arrived.wait(5)
        return echo(request, number)

    def note(replies: Sequence[tuple[int, Reply]]) -> None:
        arrived.extend(reply.text for _, reply in replies)
        assert all(reply.text == f"echo {number}" for number, reply in replies)
        if "echo 1" in arrived:
            second_arrived.set()

    with openai_server(first_last) as server:
        generator = served(server.base_url, concurrency=4)
        replies = texts(generator.generate([ask(str(i)) for i in range(9)], note))
    assert replies == [f"echo {i}" for i in range(9)]
    assert sorted(arrived) == sorted(replies)
    assert arrived.index("echo 1") < arrived.index("echo 0")


def test_load_stays_within_concurrency_and_requests_are_read_little_ahead() -> None:
    read = 0

    def requests() -> Iterator[ChatRequest]:
        nonlocal read
        for i in range(300):
            read += 1
            yield ask(str(i))

    with openai_server() as server:
        replies = served(server.base_url, concurrency=3).generate(requests())
        assert isinstance(next(replies), Reply)
        assert read <= 3 * UNYIELDED
        assert texts(replies) == [f"echo {i}" for i in range(1, 300)]
        assert 1 <= server.most_at_once <= 3
        assert len(server.requests) == 300


def test_one_slow_request_does_not_idle_the_others() -> None:
    rest_answered = threading.Event()

    def first_last(request: dict[str, Any], number: int) -> Answer:
        if said(request) == "0":
            assert rest_answered.wait(10)
        elif number == 60:
            rest_answered.set()
        return echo(request, number)

    with openai_server(first_last) as server:
        replies = texts(served(server.base_url, concurrency=2).generate(ask(str(i)) for i in range(80)))
    assert replies == [f"echo {i}" for i in range(80)]


def test_only_the_pictures_of_a_few_requests_are_held_in_memory() -> None:
    held = most = 0

    class Picture(bytes):
        def __del__(self) -> None:
            nonlocal held
            held -= 1

    def requests() -> Iterator[ChatRequest]:
        nonlocal held, most
        for i in range(150):
            held += 1
            most = max(most, held)
            yield ask(f"<image>{i}", images=(Picture(red),))

    red = picture("red")
    with openai_server() as server:
        replies = texts(served(server.base_url, concurrency=4).generate(requests()))
    assert replies == [f"echo {i}" for i in range(150)]
    assert most <= UNANSWERED * 4 + 1
    assert held == 0


def test_images_go_as_data_urls_where_the_prompt_has_them() -> None:
    red, blue = picture("red"), picture("blue", "JPEG")
    request = ChatRequest(
        [message("system", "Be brief."), message("user", "Image 1: <image>\nImage 2: <image>\nSame?")],
        images=(red, blue),
        decoding=Decoding(max_tokens=5, stop=("\n",), seed=3),
        json_schema={"type": "object"},
    )
    with openai_server() as server:
        list(served(server.base_url).generate([request]))
        sent = server.requests[0]

    def url(mime: str, data: bytes) -> dict[str, Any]:
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


def test_the_key_comes_from_the_named_variable_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    monkeypatch.delenv("OPENAI_API_KEY")
    with openai_server() as server:
        list(served(server.base_url, api_key_env="MY_KEY").generate([ask("hi")]))
        list(served(server.base_url).generate([ask("hi")]))
        assert server.keys == ["Bearer mine", "Bearer EMPTY"]


def test_an_address_that_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="not an http"):
        served("localhost:8000/v1")


@pytest.mark.parametrize(
    ("model", "name"),
    [("org/model", "org/model"), ("/data/models/org/model", "org/model"), ("/model", "model"), ("model", "model")],
)
def test_a_model_that_a_server_knows_by_its_path_is_recorded_without_it(model: str, name: str) -> None:
    with openai_server() as server:
        generator = ServerGenerator(model, EndpointSettings(server.base_url))
        assert texts(generator.generate([ask("hi")])) == ["echo hi"]
    assert generator.name == name
    assert server.requests[0]["model"] == model
