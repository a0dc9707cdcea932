"""One factory makes a model behind the seam from what settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Reply, ask
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.settings import EndpointSettings
from tests.support.openai_server import openai_server
from tests.support.tiny_llava import make_tiny_llava


def greeting(name: str) -> ChatRequest:
    return ChatRequest([message("user", f"Hello {name}.")])


def test_a_served_model_keeps_its_replies_under_its_revision(tmp_path: Path) -> None:
    replies = tmp_path / "replies.sqlite"
    with openai_server() as server:
        for revision, asked in (("", 2), ("", 2), ("2", 4)):
            generator = make_generator("m", EndpointSettings(server.base_url), revision=revision, replies=replies)
            assert generator.name == ("m@2" if revision else "m")
            answered = list(ask(generator, ["Ann", "Bob"], greeting))
            assert [name for name, _ in answered] == ["Ann", "Bob"]
            assert [reply.text for _, reply in answered if isinstance(reply, Reply)] == [
                "echo Hello Ann.",
                "echo Hello Bob.",
            ]
            assert len(server.requests) == asked


def test_without_an_endpoint_the_model_runs_in_this_process(tmp_path: Path) -> None:
    assert isinstance(make_generator(str(make_tiny_llava(tmp_path / "tiny")), None), LocalGenerator)


def test_the_keys_of_an_endpoint_are_the_annotators_own_on_the_command_line() -> None:
    words = ["v1", "--config", "v1", "--annotator.base_url", "http://a:1/v1", "--annotator.concurrency", "3"]
    settings = parse_settings("build", words)
    assert isinstance(settings, BuildSettings)
    assert isinstance(settings.annotator, EndpointSettings)
    assert (settings.annotator.addresses, settings.annotator.concurrency) == (["http://a:1/v1"], 3)
    assert settings.annotator.timeout == EndpointSettings().timeout


@pytest.mark.parametrize("base_url", ["", "localhost:8000/v1", []])
def test_an_endpoint_without_an_address_is_an_error_and_no_local_model(base_url: str | list[str]) -> None:
    with pytest.raises(InputError, match=r"base_url: (it is not an http|no endpoint is named)"):
        make_generator("m", EndpointSettings(base_url))
