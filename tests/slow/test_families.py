"""Every family of the table in docs/guides/tune.md trains, merges, answers questions and ranks options."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.generation.chat import ChatRequest, Decoding, Reply
from cadvi_hub.generation.local import LocalGenerator
from tests.support.families import FAMILIES, make_family
from tests.support.tunings import curve, row, run

pytestmark = pytest.mark.slow
PICTURES = tuple(
    encode_png(Image.new("RGB", size, colour)) for size, colour in (((40, 32), "red"), ((64, 64), "blue"))
)
OPTIONS = ("A", "Image 2", "true or false")


def requests() -> list[ChatRequest]:
    texts = ["What is red?", "What differs?"]
    return [
        ChatRequest([message("user", "<image>" * count + text)], PICTURES[:count], Decoding(max_tokens=3))
        for count, text in zip((1, 2), texts, strict=True)
    ]


def logprob(model: LocalGenerator, request: ChatRequest, option: str) -> float:
    """The log-probability of an option, as `generate` finds it when it may write nothing else."""
    network, _, tokenizer = model.load()
    inputs, tokens = model.encode([request]), tokenizer(option, add_special_tokens=False)["input_ids"]
    begun = inputs["input_ids"].shape[1]
    with torch.inference_mode():
        written = network.generate(
            **inputs,
            max_new_tokens=len(tokens),
            do_sample=False,
            eos_token_id=None,
            prefix_allowed_tokens_fn=lambda _, ids: [tokens[len(ids) - begun]],
            output_logits=True,
            return_dict_in_generate=True,
        )
    assert written.sequences[0, begun:].tolist() == tokens
    each = [logits[0].float().log_softmax(-1)[token] for logits, token in zip(written.logits, tokens, strict=True)]
    return float(sum(each))


@pytest.mark.parametrize("family", FAMILIES)
def test_options_are_ranked_as_the_model_would_write_them(tmp_path: Path, family: str) -> None:
    model = LocalGenerator(str(make_family(tmp_path, family)))
    ranked = list(model.generate([replace(request, options=OPTIONS) for request in requests()]))
    for request, reply in zip(requests(), ranked, strict=True):
        assert isinstance(reply, Reply)
        assert reply.ranking
        expected = [logprob(model, request, option) for option in OPTIONS]
        assert reply.ranking.logprobs == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "PaliGemma"])
def test_family_trains_merges_and_answers(tmp_path: Path, family: str) -> None:
    make_family(tmp_path / "base", family)
    (tmp_path / "v1").mkdir()
    data = Dataset.from_list([row(index) for index in range(12)], features=instruct_features())
    data.to_parquet(str(tmp_path / "v1" / "train-00000-of-00001.parquet"))
    changed: dict[str, Any] = {"max_steps": 6, "train_sampling_strategy": "llava", "activation_checkpointing": True}
    run(tmp_path, tmp_path / "out", **changed)
    losses = [loss for _, loss in curve(tmp_path / "out")]
    assert losses[-1] < losses[0]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["rows"] == {"v1": 12}
    model = LocalGenerator(str(tmp_path / "out" / "merged"))
    answers = list(model.generate(requests()))
    assert all(isinstance(answer, Reply) and answer.completion_tokens for answer in answers)
    ranked = list(model.generate([replace(request, options=OPTIONS) for request in requests()]))
    assert all(isinstance(reply, Reply) and reply.ranking for reply in ranked)
