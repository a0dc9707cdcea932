"""A local model ranks options alike in any batch, and the reply store keeps rankings as it keeps texts."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import DynamicCache

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Ranking, Reply, request_key
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.server import ServerGenerator
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.store import ReplyStore
from tests.support.openai_server import Answer, openai_server
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


def test_a_ranking_is_what_the_whole_text_says(tmp_path: Path) -> None:
    local = LocalGenerator(str(make_tiny_llava(tmp_path / "tiny")))
    picture = encode_png(Image.new("RGB", (32, 32), "red"))
    options = ("yes", "true or false", "two cats on the right", "no")
    asked = ChatRequest([message("user", "<image>\nIs there a dog?")], (picture,), options=options)
    (reply,) = local.generate([asked])
    assert isinstance(reply, Reply)
    model, _, tokenizer = local.load()
    prompt = local.encode([asked])
    assert reply.ranking is not None
    for option, logprob, greedy in zip(options, reply.ranking.logprobs, reply.ranking.greedy, strict=True):
        ids = tokenizer(option, add_special_tokens=False, return_tensors="pt")["input_ids"]
        whole = torch.cat([prompt["input_ids"], ids], dim=1)
        with torch.inference_mode():
            logits = model(input_ids=whole, pixel_values=prompt["pixel_values"]).logits[0, -ids.shape[1] - 1 : -1]
        assert logprob == pytest.approx(float(logits.log_softmax(-1).gather(1, ids[0, :, None]).sum()), abs=1e-4)
        assert greedy == torch.equal(logits.argmax(-1), ids[0])


def test_the_cache_of_a_prompt_is_copied_only_for_options_of_several_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = LocalGenerator(str(make_tiny_llava(tmp_path / "tiny")))
    tokenizer = local.load()[2]
    options = ("A", "B", "two cats on the right")
    lengths = [len(tokenizer(option, add_special_tokens=False)["input_ids"]) for option in options]
    assert [length > 1 for length in lengths] == [False, False, True]
    copied: list[int] = []
    select = DynamicCache.batch_select_indices

    def counted(cache: DynamicCache, indices: torch.Tensor) -> None:
        copied.append(len(indices))
        select(cache, indices)

    monkeypatch.setattr(DynamicCache, "batch_select_indices", counted)
    for some in (options, options[:2]):
        asked = [ChatRequest([message("user", text)], options=some) for text in ("Which one?", "And now?")]
        list(local.generate(asked))
    assert copied == [2]  # one for each of the first two requests


def _with_logprobs(text: str, tokens: list[tuple[str, float]]) -> bytes:
    top = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    choice = {
        "message": {"content": text},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": tokens[0][0], "logprob": tokens[0][1], "top_logprobs": top}]},
    }
    return json.dumps({"choices": [choice]}).encode()


ASKED = ChatRequest([message("user", "Is there a cat?")], options=("yes", "no", "Yes", "No"))


def test_an_endpoint_ranks_options_by_its_first_token() -> None:
    body = _with_logprobs("Yes.", [("Yes", -0.2), (" no", -2.0), ("no", -3.0), ("Maybe", -4.0)])
    with openai_server(lambda request, number: Answer(body=body)) as server:
        generator = ServerGenerator("m", EndpointSettings(server.base_url))
        (reply,) = generator.generate([ASKED])
        (plain,) = generator.generate([REQUEST])
    assert isinstance(reply, Reply)
    assert (reply.text, reply.ranking) == (
        "Yes.",
        Ranking((-math.inf, -2.0, -0.2, -math.inf), (False, False, True, False), ((), (), (), ())),
    )
    assert isinstance(plain, Reply)
    assert plain.ranking is None
    assert [request.get("top_logprobs") for request in server.requests] == [20, None]


@pytest.mark.parametrize("tokens", [[("Sure", -0.1)], [("<think>", 0.0), ("I", -9.0)]])
def test_an_endpoint_whose_first_token_is_no_option_ranks_none(tokens: list[tuple[str, float]]) -> None:
    with openai_server(lambda request, number: Answer(body=_with_logprobs("Yes.", tokens))) as server:
        (reply,) = ServerGenerator("m", EndpointSettings(server.base_url)).generate([ASKED])
    assert isinstance(reply, Reply)
    assert (reply.text, reply.ranking) == ("Yes.", None)


def test_an_endpoint_that_refuses_to_return_log_probabilities_answers_in_words() -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        return Answer("logprobs is not supported", status=400) if "logprobs" in request else Answer("No.")

    with openai_server(behaviour) as server:
        settings = EndpointSettings(server.base_url, concurrency=1)
        replies = list(ServerGenerator("m", settings).generate([ASKED, ASKED]))
    assert [isinstance(reply, Reply) and (reply.text, reply.ranking) for reply in replies] == [("No.", None)] * 2
    assert len(server.requests) == 3
