"""A bad row never reaches the model: it is refused where rows are copied, and left out where they stream."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import LlavaProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import message
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.models import load_processor
from cadvi_hub.training.recipe import TuningModel
from cadvi_hub.training.rendering import MARKED, end_token
from cadvi_hub.training.streaming import UNFIT, stream_mixture
from tests.support.streams import numbered, numbers, processor, sampler, write
from tests.support.tiny_vlms import make_tiny_vlm

__all__ = ["processor"]  # a fixture that tests here use

ANSWER = message("assistant", "Red.")
NO_TEXT = {"role": "user", "content": [{"type": "text", "text": None}]}
FAULTS: dict[str, tuple[Any, str]] = {
    "no messages": ([], "it has no messages"),
    "null messages": (None, "it has no messages"),
    "null content": ([{"role": "user", "content": None}, ANSWER], "no role or no content"),
    "null role": ([{"role": None, "content": []}, ANSWER], "no role or no content"),
    "null text": ([NO_TEXT, ANSWER], "type text, but no text"),
    "null answer": ([message("user", "What?"), NO_TEXT | {"role": "assistant"}], "type text, but no text"),
    "other part": ([{"role": "user", "content": [{"type": "video", "text": "a"}]}, ANSWER], "neither text nor image"),
    "no answer": ([message("user", "What?")], "no assistant message"),
}


def mixture(folder: Path, bad: dict[str, Any]) -> dict[str, Any]:
    rows = [numbered(index, images=0) for index in range(9)]
    write(folder / "v1", [*rows[:5], bad, *rows[5:]])
    return {"v1": {"path": str(folder), "config": "v1"}}


@pytest.mark.parametrize("name", FAULTS)
def test_row_with_broken_messages_is_named_or_left_out(tmp_path: Path, processor: LlavaProcessor, name: str) -> None:
    messages, problem = FAULTS[name]
    settings = mixture(tmp_path, numbered(99, images=0) | {"messages": messages})
    with pytest.raises(InputError, match=problem) as caught:
        load_mixture(settings, processor, 100, seed=0)
    assert caught.value.where == "data set 'v1', row 5"
    rows = stream_mixture(settings, processor, 100, seed=0).dataset
    assert set(numbers(sampler(rows))) == set(range(9))
    assert rows.dropped["v1"][UNFIT] == 1


def test_picture_whose_shape_the_processor_refuses_is_named_or_left_out(tmp_path: Path) -> None:
    wide = {"bytes": encode_png(Image.new("RGB", (1000, 4))), "path": None}
    bad = numbered(99, images=1) | {"images": [wide]}
    qwen = load_processor(TuningModel(model_name_or_path=str(make_tiny_vlm(tmp_path / "base", "qwen2_5_vl"))), None)
    settings = mixture(tmp_path, bad)
    with pytest.raises(InputError, match="row 5: the processor refuses its pictures of 1000 × 4 pixels"):
        load_mixture(settings, qwen, 200, seed=0)
    rows = stream_mixture(settings, qwen, 200, seed=0).dataset
    assert set(numbers(sampler(rows))) == set(range(9))
    assert rows.dropped["v1"][UNFIT] == 1


@pytest.mark.parametrize("text", ["<pad>", "Is <image> a mark?", "a<|end|>b"])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_row_whose_text_holds_a_special_token_is_dropped_and_counted(
    tmp_path: Path, processor: LlavaProcessor, text: str, role: str
) -> None:
    turns = [message("user", "99?"), ANSWER]
    turns[role == "assistant"] = {"role": role, "content": [{"type": "text", "text": text}]}
    settings = mixture(tmp_path, numbered(99, images=0) | {"messages": turns})
    copied, streamed = (load(settings, processor, 100, seed=0) for load in (load_mixture, stream_mixture))
    assert set(numbers(copied.dataset)) == set(numbers(sampler(streamed.dataset))) == set(range(9))
    assert copied.dropped["v1"][MARKED] == streamed.dropped["v1"][MARKED] == 1


def test_image_in_an_answer_has_no_loss(processor: LlavaProcessor) -> None:
    turns = [message("user", "Draw one."), message("assistant", "Here: <image> a dog.")]
    batch = Collator(processor)([{"images": [Image.new("RGB", (40, 32))], "messages": turns}])
    labels = batch["labels"][0]
    assert (batch["input_ids"][0] == processor.image_token_id).sum() == 4
    assert processor.tokenizer.decode(labels[labels != IGNORED]) == "Here:  a dog.<|end|>"


def test_an_image_is_never_cut(processor: LlavaProcessor) -> None:
    row = {"images": [Image.new("RGB", (40, 32))] * 2, "messages": [message("user", "<image><image>"), ANSWER]}
    with pytest.raises(InputError, match="an image of a batch does not fit into 8 tokens"):
        Collator(processor, max_tokens=8)([row])


@pytest.mark.parametrize("family", ["qwen3_vl", "idefics3"])
def test_end_token_is_the_one_that_the_template_teaches(tmp_path: Path, family: str) -> None:
    of_family = load_processor(TuningModel(model_name_or_path=str(make_tiny_vlm(tmp_path, family))), None)
    assert end_token(of_family) == of_family.tokenizer.eos_token_id
