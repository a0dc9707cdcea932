"""Answers arrive piece by piece, from a model here or from an endpoint; one that is down says so."""

import json
import sys
from pathlib import Path

import pytest

from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import DEMO_BASE_FOLDER
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Decoding
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.pages.chat import EndpointChat, LocalChat, chat_with
from tests.support.openai_server import Answer, openai_server
from tests.support.report_parts import picture
from tests.support.tiny_llava import make_tiny_llava

IMAGES = (picture("red")["bytes"], picture("blue")["bytes"])
REQUEST = ChatRequest(render_prompt("compare_images", wording=0), IMAGES, Decoding(max_tokens=12))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_llava(tmp_path_factory.mktemp("tiny")))


def events(*chunks: object) -> Answer:
    lines = "".join(f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks)
    return Answer(body=lines.encode(), content_type="text/event-stream")


def chunk(text: str) -> dict[str, object]:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [delta]}


def test_a_local_model_streams_what_it_would_have_written_at_once(tiny: str) -> None:
    (whole,) = LocalGenerator(tiny).generate([REQUEST])
    chat = LocalChat(tiny)
    assert "".join(chat.stream(REQUEST)) == whole.text  # type: ignore[union-attr]
    assert "".join(chat.stream(REQUEST)) == whole.text  # type: ignore[union-attr]


def test_a_stopped_answer_leaves_the_model_free(tiny: str) -> None:
    chat = LocalChat(tiny)
    answer = chat.stream(ChatRequest(REQUEST.messages, IMAGES, Decoding(max_tokens=500)))
    next(answer)
    answer.close()  # type: ignore[attr-defined]
    assert "".join(chat.stream(REQUEST))


def test_a_conversation_that_does_not_fit_says_so(tiny: str) -> None:
    long = [*REQUEST.messages, message("assistant", "word " * 2000), message("user", "And?")]
    with pytest.raises(InputError, match="longer than it can read"):
        list(LocalChat(tiny).stream(ChatRequest(long, IMAGES)))


def test_a_model_that_fails_ends_the_stream(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = LocalChat(tiny)
    list(chat.stream(REQUEST))
    model = chat._generator.load()[0]  # type: ignore[union-attr]
    monkeypatch.setattr(model, "generate", lambda **_: 1 / 0)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        list(chat.stream(REQUEST))


def test_a_local_model_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"model models/v1: torch is not installed. Run `pip install"):
        list(LocalChat("models/v1").stream(REQUEST))


def test_an_endpoint_streams_and_gets_both_pictures() -> None:
    with openai_server(lambda *_: events(chunk("Both "), chunk("red."), "[DONE]")) as server:
        pieces = list(EndpointChat(server.base_url, "m", "NO_KEY_HERE").stream(REQUEST))
        assert pieces == ["Both ", "red."]
        (sent,) = server.requests
        assert sent["stream"] is True
        parts = sent["messages"][0]["content"]
        assert sum(part["type"] == "image_url" for part in parts) == 2


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer("no such key: secret-token", status=401), "does not take the key"),
        (Answer("no model", status=404), "knows no model"),
        (Answer("boom secret-token", status=400), "still answers 400"),
        (events("{not json"), "something other than a chat"),
        (events({"error": {"message": "secret-token"}}), "something other than a chat"),
    ],
)
def test_a_fault_of_an_endpoint_is_told_without_the_key(
    answer: Answer, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIEW_KEY", "secret-token")
    with openai_server(lambda *_: answer) as server, pytest.raises(InputError, match=problem) as found:
        list(EndpointChat(server.base_url, "m", "VIEW_KEY").stream(REQUEST))
    assert "secret-token" not in str(found.value)


def test_an_endpoint_that_is_down_says_so_without_its_password() -> None:
    with openai_server() as server:
        port = server.base_url.split(":")[2]
    chat = EndpointChat(f"http://me:password@127.0.0.1:{port}", "m", "NO_KEY_HERE")
    with pytest.raises(InputError, match="cannot be reached") as found:
        list(chat.stream(REQUEST))
    assert "password" not in str(found.value)


def test_an_answer_that_breaks_off_says_so() -> None:
    broken = events(*[chunk("word ")] * 50)
    broken.breaks_off = True
    with openai_server(lambda *_: broken) as server, pytest.raises(InputError, match=r"breaks off|cannot be reached"):
        list(EndpointChat(server.base_url, "m", "NO_KEY_HERE").stream(REQUEST))


def test_without_a_name_the_demo_model_is_taken_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert chat_with()._model == str(DEMO_BASE_FOLDER)  # type: ignore[attr-defined]
    (tmp_path / "out" / "demo" / "models" / "v1" / "merged").mkdir(parents=True)
    assert chat_with().name == "v1/merged"


@pytest.mark.parametrize(("url", "model"), [("ftp://x", "m"), ("http://127.0.0.1:1/v1", "")])
def test_an_endpoint_without_address_or_model_is_refused(url: str, model: str) -> None:
    with pytest.raises(InputError):
        chat_with(model, url)
