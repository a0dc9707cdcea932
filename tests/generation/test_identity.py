"""Another model under the same name and address gets replies of its own; a restart of the same one costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.schema import message
from cadvi_hub.generation import identity
from cadvi_hub.generation.chat import ChatRequest
from cadvi_hub.generation.identity import served_facts
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from tests.support.openai_server import OpenAIServer, openai_server, served

CARD: dict[str, Any] = {"id": "m", "root": "/models/a", "owned_by": "vllm", "max_model_len": 4096, "created": 1}


@contextmanager
def asked(path: Path, listed: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """One request to an endpoint that lists the models `listed`, through the store at `path`."""
    monkeypatch.setattr(identity, "listed_models", lambda *_: listed)
    with openai_server() as server:
        generator = StoredGenerator(served(server.base_url), ReplyStore(path))
        list(generator.generate([ChatRequest([message("user", "hello")])]))
        yield server


@pytest.mark.parametrize("change", ["root", "owned_by", "max_model_len", "id"])
def test_another_model_under_the_same_name_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "replies.sqlite"
    other = {**CARD, change: 8192 if change == "max_model_len" else "another"}
    for card, sent in ((CARD, 1), (other, 1), (CARD, 0), (other, 0)):
        with asked(path, [card], monkeypatch) as server:
            assert len(server.requests) == sent


@pytest.mark.parametrize("listed", [[{**CARD, "created": 2}], [{"id": "x"}, CARD], None])
def test_a_restart_another_neighbour_or_an_endpoint_that_is_off_asks_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: Any
) -> None:
    path = tmp_path / "replies.sqlite"
    for card, sent in (([CARD], 1), (listed, 0)):
        with asked(path, card, monkeypatch) as server:
            assert len(server.requests) == sent


def test_facts_are_what_the_list_of_models_says() -> None:
    with openai_server(models=[{"id": "other"}, CARD]) as server:
        settings = EndpointSettings(server.base_url)
        assert served_facts("m", settings, "key") == {name: value for name, value in CARD.items() if name != "created"}
        assert served_facts("unknown", settings, "key") == {}
    with openai_server(models=[{**CARD, "root": None, "max_model_len": [1]}]) as server:
        assert served_facts("any name", EndpointSettings(server.base_url), "key") == {"id": "m", "owned_by": "vllm"}
    with openai_server() as server:  # it lists no models
        assert served_facts("m", EndpointSettings(server.base_url), "key") == {}
    assert served_facts("m", EndpointSettings(server.base_url), "key") is None  # it is gone


def test_what_an_endpoint_lists_may_be_anything() -> None:
    for listed in ("text", {"m": 1}, [1, None, "m"], [{"id": ["m"]}]):
        with openai_server(models=json.loads(json.dumps(listed))) as server:
            assert served_facts("m", EndpointSettings(server.base_url), "key") in ({}, None)
