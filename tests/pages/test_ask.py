"""Questions about pictures on the terminal: a local model, an adapter's errors, an endpoint, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub.cli import main, parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.ask import ask, asked
from cadvi_hub.pages.settings import AskSettings
from tests.support.openai_server import Answer, openai_server, said
from tests.support.tiny_llava import make_tiny_llava


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file, color in zip(files, ("red", "blue"), strict=True):
        Image.new("RGB", (40, 30), color).save(file)
    return files


def streamed(text: str) -> Answer:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [delta]}
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return Answer(body=body.encode(), content_type="text/event-stream")


def test_pictures_come_first_and_the_question_last() -> None:
    assert asked("images", ["a.jpg", "b.png", "What differs?"]) == {
        "images": ["a.jpg", "b.png"],
        "question": "What differs?",
    }
    assert asked("images", ["a.jpg", "b.png"]) == {"images": ["a.jpg", "b.png"]}
    settings = parse_settings("ask", ["a.jpg", "b.jpg", "Which one, 1 or 2?", "--json", "--model", "m"])
    assert (settings.question, settings.json, settings.model) == ("Which one, 1 or 2?", True, "m")


def test_a_local_model_answers_and_its_name_goes_to_stderr(
    tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_tiny_llava(tmp_path / "tiny")
    main(["ask", *map(str, pictures), "What differs?", "--model", str(model), "--max_tokens", "8"])
    out, err = capsys.readouterr()
    assert out.strip()
    assert "tiny" in err
    assert "tiny" not in out


def test_an_endpoint_gets_both_pictures_and_the_question(
    pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with openai_server(lambda request, number: streamed("The colour.")) as server:
        ask(AskSettings(pictures, "What <image> differs?", model="m", base_url=server.base_url))
        ask(AskSettings(pictures, "What differs?", model="m", base_url=server.base_url, json=True))
        request = server.requests[0]
    kinds = [part["type"] for part in request["messages"][-1]["content"]]
    assert kinds.count("image_url") == 2
    assert "What [image] differs?" in said(request)
    assert capsys.readouterr().out == 'The colour.\n{"answer": "The colour."}\n'


def test_a_summary_is_parsed_or_named_as_none(pictures: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = "Commonalities:\nBoth are plain.\n\nDifferences:\n1. Attributes: Image 1 is red, image 2 is blue."
    with openai_server(lambda request, number: streamed(text)) as server:
        ask(AskSettings(pictures, model="m", base_url=server.base_url, json=True))
    summary = json.loads(capsys.readouterr().out)
    assert summary["commonalities"] == "Both are plain."
    assert summary["differences"] == [{"aspect": "Attributes", "text": "Image 1 is red, image 2 is blue."}]
    with openai_server(lambda request, number: streamed("I see two.")) as server:
        settings = AskSettings(pictures, model="m", base_url=server.base_url, json=True)
        with pytest.raises(InputError, match="this is no summary"):
            ask(settings)


def test_bad_pictures_are_named(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for images, problem in (
        ([], "no picture is given"),
        ([pictures[0]], "a summary compares two pictures, not 1"),
        ([tmp_path / "none.png", pictures[0]], "cannot be read"),
        ([tmp_path / "text.png", pictures[0]], "text.png"),
    ):
        with pytest.raises(InputError, match=problem):
            ask(AskSettings(images, model="m", base_url="http://127.0.0.1:9/v1"))
