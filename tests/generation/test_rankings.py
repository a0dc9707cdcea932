"""A local model ranks options alike in any batch, and the reply store keeps rankings as it keeps texts."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Ranking, Reply, request_key
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.store import ReplyStore
from tests.support.tiny_llava import make_tiny_llava

RANKING = Ranking((-0.1, -2.5000000000000004), (True, False), ((3, 4), (5,)))
REQUEST = ChatRequest([message("user", "A or B?")])


def test_a_stored_ranking_comes_back_as_it_was(tmp_path: Path) -> None:
    replies = {"ranked": Reply("", "stop", 0, 0, RANKING), "written": Reply("A", "stop", 5, 1)}
    ReplyStore(tmp_path / "replies.sqlite").put(replies)
    store = ReplyStore(tmp_path / "replies.sqlite")
    assert {key: store.get(key) for key in replies} == replies
    assert len(store) == 2


def test_options_decide_a_ranking_and_leave_the_key_of_other_requests_alone() -> None:
    asked = [REQUEST, replace(REQUEST, options=("A", "B")), replace(REQUEST, options=("B", "A"))]
    keys = [request_key("model", request) for request in asked]
    assert len(set(keys)) == 3
    before = "1f4fbe0a0f01e998f8f4685c7a9efafc456996733ed50459ef5104cdda16ee45"
    assert keys[0] == before  # older stores stay of use


def test_a_batch_of_rankings_equals_rankings_one_by_one(tmp_path: Path) -> None:
    model = str(make_tiny_llava(tmp_path / "tiny"))
    red, blue = (encode_png(Image.new("RGB", (32, 32), color)) for color in ("red", "blue"))
    asked = [
        ChatRequest([message("user", f"<image>\n{question}")], (picture,), options=options)
        for question in ("Is there a dog?", "What is different on the left, or on the right?")
        for picture in (red, blue)
        for options in (("yes", "no"), ("true or false", "A", "two cats on the right"))
    ]
    asked.append(ChatRequest([message("user", "Yes or no?")], options=("yes", "no")))
    batched = list(LocalGenerator(model, batch_size=16).generate(asked))
    single = [reply for request in asked for reply in LocalGenerator(model, batch_size=1).generate([request])]
    assert len(batched) == len(single) == 9
    for one, other in zip(batched, single, strict=True):
        assert isinstance(one, Reply)
        assert isinstance(other, Reply)
        assert one.ranking is not None
        assert other.ranking is not None
        assert one.ranking.logprobs == pytest.approx(other.ranking.logprobs, abs=1e-4)
        assert (one.ranking.greedy, one.ranking.tokens) == (other.ranking.greedy, other.ranking.tokens)
        assert one.prompt_tokens == other.prompt_tokens
    logprobs = {reply.ranking.logprobs for reply in batched if isinstance(reply, Reply) and reply.ranking}
    assert len(logprobs) == 9  # question, picture and options all matter
