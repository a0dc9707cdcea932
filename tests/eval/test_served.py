"""A served model: what its endpoint is asked, in which order, and what becomes of a run whose endpoint dies."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models import served as served_model
from cadvi_hub.eval.models.base import EvalModel, Unanswered
from cadvi_hub.eval.models.load import load_model
from cadvi_hub.eval.models.row_images import LazyRows, RowImages
from cadvi_hub.eval.models.served import ServedModel
from cadvi_hub.generation.server import ServerGenerator
from cadvi_hub.generation.settings import EndpointSettings
from tests.support.openai_server import Answer, OpenAIServer, echo, openai_server, said

RED, BLUE = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (32, 48), "blue")
QUERY = "Image 1: <image>\nImage 2: <image>\n{}?"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def question(caption: str, group: str = "0", images: Any = (RED, BLUE), task: str = "cola|0") -> Doc:
    return Doc(
        query=QUERY.format(caption),
        choices=["A", "B"],
        gold_index=0,
        images=images if isinstance(images, RowImages) else list(images),  # type: ignore[arg-type]  # lighteval asks for a list
        specific={"id": caption, "group": group, "category": "", "options": ["A", "B"]},
        generation_size=12,
        task_name=task,
    )


def model_at(server: OpenAIServer, **settings: Any) -> ServedModel:
    return ServedModel(
        ModelConfig(model_name="tiny"), ServerGenerator("tiny", EndpointSettings(server.base_url, **settings))
    )


def pictures(request: dict[str, Any]) -> list[Image.Image]:
    urls = [part["image_url"]["url"] for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def answers(model: LightevalModel, docs: list[Doc]) -> list[str]:
    return [text for response in model.greedy_until(docs) for text in response.text]


def test_a_question_is_sent_as_one_greedy_chat_with_its_pictures_where_they_belong() -> None:
    with openai_server() as server:
        assert answers(model_at(server), [question("a dog")]) == ["echo Image 1: \nImage 2: \na dog?"]
    (request,) = server.requests
    kinds = [part["type"] for part in request["messages"][-1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"]
    assert [list(image.getdata()) for image in pictures(request)] == [list(RED.getdata()), list(BLUE.getdata())]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("tiny", 0, 12)
    assert len(request["messages"]) == 1


def test_questions_of_a_group_are_asked_one_after_the_other_and_answered_in_their_own_order() -> None:
    docs = [
        question(f"{'very ' * (group % 3)}{caption} {group} {task}", str(group), images, f"{task}|0")
        for task, images in (("cola", (RED, BLUE)), ("cola_swapped", (BLUE, RED)))
        for caption in ("long caption of a cat", "dog")
        for group in range(6)
    ]
    with openai_server() as server:
        replies = answers(model_at(server, concurrency=1), docs)
    assert replies == [f"echo {doc.query.replace('<image>', '')}" for doc in docs]
    asked = [said(request).split()[-2:] for request in server.requests]
    runs = [group for index, (group, _) in enumerate(asked) if index == 0 or asked[index - 1][0] != group]
    assert len(runs) == len(set(runs)) == 6
    for group in runs:
        tasks = [task for number, task in asked if number == group]
        assert tasks[:2] in (["cola?"] * 2, ["cola_swapped?"] * 2)  # those with the first picture first stay together
        assert sorted(tasks) == ["cola?"] * 2 + ["cola_swapped?"] * 2


def test_the_pictures_of_a_question_set_are_sent_as_they_are_stored() -> None:
    stored: list[Any] = []
    for colour in ("red", "blue"):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), colour).save(buffer, "JPEG")
        stored.append({"bytes": buffer.getvalue(), "path": f"{colour}.jpg"})
    (row,) = LazyRows(Dataset.from_list([{"id": "a", "images": stored}]))
    with openai_server() as server:
        answers(model_at(server), [question("a dog", images=row["images"][::-1])])
    (request,) = server.requests
    urls = [part["image_url"]["url"] for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
    sent = [f"data:image/jpeg;base64,{base64.b64encode(each['bytes']).decode()}" for each in stored]
    assert urls == sent[::-1]


def test_a_damaged_picture_of_a_question_set_is_named() -> None:
    (row,) = LazyRows(Dataset.from_list([{"id": "a", "images": [{"bytes": b"no picture", "path": "x.jpg"}] * 2}]))
    with openai_server() as server, pytest.raises(InputError, match=r"question a, picture x.jpg: .*does not decode"):
        answers(model_at(server), [question("a dog", images=row["images"])])
    assert not server.requests


def test_requests_are_sent_at_once_within_the_concurrency() -> None:
    docs = [question(str(number), str(number)) for number in range(40)]
    with openai_server() as server:
        assert len(answers(model_at(server, concurrency=4), docs)) == 40
        assert 1 <= server.most_at_once <= 4


def test_a_passing_failure_is_asked_again() -> None:
    def busy_at_first(request: dict[str, Any], number: int) -> Answer:
        return echo(request, number) if number else Answer("busy", status=503)

    with openai_server(busy_at_first) as server:
        assert len(answers(model_at(server), [question("a dog")])) == 1
        assert len(server.requests) == 2


def test_what_an_endpoint_answered_before_it_died_is_kept_and_a_rerun_asks_the_rest(tmp_path: Path) -> None:
    docs = [question(str(number), str(number)) for number in range(12)]

    def dies(request: dict[str, Any], number: int) -> Answer:
        return echo(request, number) if number < 5 else Answer("out of memory", status=500)

    def load(server: OpenAIServer) -> EvalModel:
        endpoint = EndpointSettings(server.base_url, concurrency=1, max_retries=1)
        return load_model("served/tiny", tmp_path, endpoint=endpoint)

    with openai_server(dies) as server, pytest.raises(InputError, match="still answers 500") as caught:
        load(server).greedy_until(docs)
    assert server.base_url in str(caught.value)
    assert "5 replies are safe in" in str(caught.value)
    with openai_server() as server:
        model = load(server)
        assert model.config.model_name == "tiny"
        assert answers(model, docs) == [f"echo {doc.query.replace('<image>', '')}" for doc in docs]
        assert len(server.requests) == 7
        assert {request["model"] for request in server.requests} == {"served/tiny"}


def test_a_question_that_the_endpoint_refuses_is_named_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    def two_at_most(request: dict[str, Any], number: int) -> Answer:
        if len(pictures(request)) > 2:
            return Answer("At most 2 image(s) may be provided in one prompt.", status=400)
        return echo(request, number)

    three = question("three <image>", "1", (RED, BLUE, RED))
    with openai_server(two_at_most) as server:
        model = model_at(server, concurrency=1)
        said_of = model.greedy_until([question("a dog"), three])
        with pytest.raises(InputError, match=r"cola\|0, question three.*At most 2"):
            model.greedy_until([three])
    assert [isinstance(each, Unanswered) for each in said_of] == [False, True]
    assert re.search(r"cola\|0, question three.*At most 2", caplog.text)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Image.Image]:
    """A picture whose file is cut short, which Pillow notices when its pixels are asked for."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:2000])
    with Image.open(tmp_path / "cut.png") as image:
        yield image


def test_questions_that_cannot_be_asked_are_named_before_anything_is_sent(damaged: Image.Image) -> None:
    with openai_server() as server:
        model = model_at(server)
        with pytest.raises(InputError, match=r"question a dog: its text has 2 <image> and 3 images are there"):
            model.greedy_until([question("a dog", images=(RED, BLUE, RED))])
        with pytest.raises(InputError, match=r"question a cat: one of its pictures does not decode"):
            model.greedy_until([question("a cat", images=(RED, damaged))])
        assert not server.requests


def test_what_an_endpoint_cannot_tell_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel(
        ModelConfig(model_name="tiny"), ServerGenerator("tiny", EndpointSettings("http://127.0.0.1:9/v1"))
    )
    with pytest.raises(InputError, match="how likely a given answer is"):
        model.loglikelihood([question("a dog")])
    with pytest.raises(InputError, match="perplexity"):
        model.loglikelihood_rolling([question("a dog")])
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match="OPENAI_BASE_URL: no endpoint is named"):
        ServedModel(ModelConfig(model_name="tiny"))


def test_lightevals_command_finds_the_endpoint_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    classes: list[Any] = [
        value
        for value in vars(served_model).values()
        if isinstance(value, type) and issubclass(value, LightevalModel) and value is not LightevalModel
    ]
    assert classes == [ServedModel]  # lighteval takes the only one
    with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert answers(classes[0](ModelConfig(model_name="tiny")), [question("a dog")])
        assert server.requests[0]["model"] == "tiny"
