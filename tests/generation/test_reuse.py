"""Requests about the same pictures: what is computed once, and that answers stay those of whole prompts."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cadvi_hub.generation.chat import ChatRequest, Reply
from cadvi_hub.generation.local import LocalGenerator
from tests.generation.test_server import SHORT, ask, picture, texts
from tests.support.tiny_llava import make_tiny_llava

COLOURS = ("red", "blue", "green", "black", "orange")
TEXT = "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption {} better?"


def about(caption: str, *colours: str, text: str = TEXT) -> ChatRequest:
    return ask(text.format(caption), images=tuple(map(picture, colours)), decoding=SHORT)


PAIR = [about("a dog on the left", "red", "blue"), about("two cats and a dog on a very long sofa", "red", "blue")]
SWAPPED = [about("a dog on the left", "blue", "red"), about("two cats and a dog on a very long sofa", "blue", "red")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def local(folder: Path) -> LocalGenerator:
    return LocalGenerator(str(folder), batch_size=8)


class Work:
    """How many pictures the vision tower saw, and how many tokens the language model read."""

    def __init__(self, local: LocalGenerator):
        body = local.load()[0].model
        self.pictures = self.tokens = 0
        body.vision_tower.register_forward_hook(self._saw, with_kwargs=True)
        body.language_model.register_forward_hook(self._read, with_kwargs=True)

    def _saw(self, _: Any, args: tuple[torch.Tensor, ...], kwargs: dict[str, Any], __: Any) -> None:
        self.pictures += len(args[0] if args else kwargs["pixel_values"])

    def _read(self, _: Any, __: Any, kwargs: dict[str, Any], ___: Any) -> None:
        rows, length = kwargs["inputs_embeds"].shape[:2]
        self.tokens += rows * length if length > 1 else 0  # what is written comes one by one


def plainly(folder: Path, requests: list[ChatRequest]) -> list[str]:
    """What transformers writes, one whole prompt at a time."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    answers = []
    for request in requests:
        prompt = processor.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True)
        images = [Image.open(io.BytesIO(data)) for data in request.images]
        batch = processor(text=prompt, images=images, add_special_tokens=False, return_tensors="pt")
        output = model.generate(**batch, max_new_tokens=SHORT.max_tokens, do_sample=False)
        answers.append(processor.decode(output[0, batch["input_ids"].shape[1] :], skip_special_tokens=True))
    return answers


@pytest.mark.parametrize(
    "requests",
    [
        PAIR,
        [*PAIR, *SWAPPED],
        [PAIR[0], SWAPPED[0], PAIR[1], about("a kite", "green", "black"), SWAPPED[1]],
        [*PAIR, about("x", "red", "red"), about("y", "red", "red")],
        [*PAIR, *(about(one, "red", "blue", text="{} Here <image>, there <image>?") for one in ("Cats?", "A dog?"))],
        [about("a", "red", text="<image> {}"), about("b", "red", text="<image> {}"), *PAIR],
        [about(caption, *COLOURS[:3], text="<image><image><image> {}?") for caption in ("what differs", "same")],
    ],
    ids=["pair", "both orders", "mixed with others", "one picture twice", "other starts", "one picture", "three"],
)
def test_answers_are_those_of_whole_prompts(local: LocalGenerator, folder: Path, requests: list[ChatRequest]) -> None:
    answers = texts(local.generate(requests))
    assert answers == plainly(folder, requests)
    assert len(set(answers)) > 1


def test_a_picture_is_encoded_once_in_whatever_order_and_batch_it_comes(folder: Path) -> None:
    local = LocalGenerator(str(folder), batch_size=2)
    work = Work(local)
    list(local.generate([PAIR[0], SWAPPED[0], PAIR[1], SWAPPED[1]]))
    assert work.pictures == 2
    list(local.generate([about("a kite", "blue", "green")]))
    assert work.pictures == 3


def test_a_picture_is_resized_once_for_all_requests_of_a_batch(
    local: LocalGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_processor = local.load()[1].image_processor
    resize, resized = image_processor.resize, 0

    def counted(*args: Any, **keys: Any) -> Any:
        nonlocal resized
        resized += 1
        return resize(*args, **keys)

    monkeypatch.setattr(image_processor, "resize", counted)
    pixels = local.encode([*PAIR, *SWAPPED])["pixel_values"]
    assert resized == 2
    one_by_one = [local.encode([request])["pixel_values"] for request in (*PAIR, *SWAPPED)]
    assert torch.equal(pixels, torch.cat(one_by_one))


def test_what_prompts_share_up_to_the_last_picture_is_read_once(local: LocalGenerator) -> None:
    work = Work(local)
    (reply,) = local.generate(PAIR[:1])
    assert isinstance(reply, Reply)
    tokens = reply.prompt_tokens
    assert work.tokens == tokens
    work.tokens = 0
    list(local.generate([PAIR[0], PAIR[0]]))
    ends = local.encode(PAIR[:1])["input_ids"][0].tolist()[::-1].index(local.load()[0].config.image_token_id)
    assert work.tokens == tokens + ends  # the second prompt costs what follows its last picture


def test_few_pictures_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.generation.reuse.KEPT_PICTURES", 3)
    local = LocalGenerator(str(folder), batch_size=1)
    work = Work(local)
    list(local.generate([about("a", first, second) for first, second in itertools.pairwise(COLOURS)]))
    assert local._reuse is not None
    assert len(local._reuse._features) == 3
    seen = work.pictures
    list(local.generate([about("b", COLOURS[0], COLOURS[1])]))
    assert work.pictures > seen


@pytest.fixture
def forgetful(folder: Path, tmp_path: Path) -> Path:
    """The same weights as Mistral's, whose cache keeps the last eight positions."""
    copy = shutil.copytree(folder, tmp_path / "forgetful")
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 8}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_a_model_whose_cache_forgets_reads_its_prompts_whole(forgetful: Path, folder: Path) -> None:
    local = LocalGenerator(str(forgetful), batch_size=1)
    alone = texts(local.generate(PAIR))
    together = LocalGenerator(str(forgetful), batch_size=2)
    assert texts(together.generate(PAIR)) == alone == plainly(forgetful, PAIR)
    assert together._reuse is not None
    assert not together._reuse._continues
    assert alone != plainly(folder, PAIR), "the window must matter"


def test_inputs_of_a_model_that_reads_more_than_text_and_pixels_stay_as_they_are(local: LocalGenerator) -> None:
    inputs = {**local.encode(PAIR), "image_sizes": torch.tensor([[32, 32]] * 4)}
    assert local.reuse_pictures(inputs, PAIR) is inputs


def test_pictures_in_tiles_stay_as_they_are(local: LocalGenerator) -> None:
    inputs = local.encode(PAIR)
    inputs["pixel_values"] = inputs["pixel_values"].repeat_interleave(2, dim=0)
    assert local.reuse_pictures(inputs, PAIR) is inputs
