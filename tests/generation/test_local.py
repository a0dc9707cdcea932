"""A model in this process: what it answers, what it refuses, and the name that it goes by."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Reply, without_system_role
from cadvi_hub.generation.local import LocalGenerator
from tests.generation.test_server import SHORT, ask, picture, texts
from tests.support.tiny_llava import make_tiny_llava


@pytest.fixture(scope="module")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def local(tiny_llava: Path) -> LocalGenerator:
    return LocalGenerator(str(tiny_llava), batch_size=2)


def two_images(first: str, second: str, text: str = "Same?", **rest: object) -> ChatRequest:
    images = (picture(first), picture(second))
    return ask(f"Image 1: <image>\nImage 2: <image>\n{text}", images=images, decoding=SHORT, **rest)


def test_a_local_model_answers_in_order_whatever_the_batches(local: LocalGenerator) -> None:
    requests = [
        two_images("red", "blue", "Which one is red? " * 3),
        ask("Hello", decoding=SHORT),
        two_images("blue", "red"),
        two_images("red", "blue"),
        ask("Hello, what do you see in a text without pictures?", decoding=SHORT),
    ]
    arrived: dict[int, str] = {}
    together = texts(
        local.generate(requests, lambda replies: arrived.update({number: reply.text for number, reply in replies}))
    )
    alone = [texts(local.generate([request]))[0] for request in requests]
    assert together == alone
    assert [arrived[number] for number in range(len(requests))] == together
    assert together[2] != together[3], "the order of the images must matter"


def test_a_local_model_writes_what_transformers_writes(local: LocalGenerator, tiny_llava: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    request = two_images("red", "blue")
    model: Any = AutoModelForImageTextToText.from_pretrained(tiny_llava)
    processor = AutoProcessor.from_pretrained(tiny_llava)
    prompt = processor.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True)
    images = [Image.open(io.BytesIO(data)) for data in request.images]
    batch = processor(text=prompt, images=images, add_special_tokens=False, return_tensors="pt")
    output = model.generate(**batch, max_new_tokens=SHORT.max_tokens, do_sample=False)
    expected = processor.decode(output[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    (reply,) = local.generate([request])
    assert isinstance(reply, Reply)
    assert reply.text == expected
    assert reply.prompt_tokens == batch["input_ids"].shape[1]
    assert (reply.finish_reason, reply.completion_tokens) == ("length", SHORT.max_tokens)


def test_a_local_model_stops_at_its_end_token_and_at_stop_strings(local: LocalGenerator) -> None:
    (whole,) = local.generate([two_images("red", "blue")])
    assert isinstance(whole, Reply)
    stop = whole.text[4:6]
    request = two_images("red", "blue")
    (cut,) = local.generate([ChatRequest(request.messages, request.images, Decoding(max_tokens=12, stop=(stop,)))])
    assert isinstance(cut, Reply)
    assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")

    model, _, tokenizer = local.load()
    ends = model.generation_config.eos_token_id
    written = tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    reply = local._reply([*written[:3], ends, tokenizer.pad_token_id], prompt_tokens=9, stop=())
    assert (reply.finish_reason, reply.completion_tokens) == ("stop", 4)
    assert reply.text == tokenizer.decode(written[:3])


def test_a_template_that_refuses_the_system_role_gets_its_text_in_the_first_user_turn(tmp_path: Path) -> None:
    local = LocalGenerator(str(make_tiny_llava(tmp_path / "tiny")))
    _, processor, _ = local.load()
    assert "system" not in processor.chat_template or "raise_exception" not in processor.chat_template
    processor.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + processor.chat_template
    )
    chat = [message("system", "Be brief."), message("user", "hi")]
    (reply,) = local.generate([ChatRequest(chat, decoding=SHORT)])
    (merged,) = local.generate([ChatRequest(without_system_role(chat), decoding=SHORT)])
    assert isinstance(reply, Reply)
    assert reply == merged


def test_a_prompt_beyond_the_models_positions_fails_alone(local: LocalGenerator) -> None:
    outcomes = list(local.generate([ask("long " * 2000, decoding=SHORT), ask("short", decoding=SHORT)]))
    assert isinstance(outcomes[0], Failed)
    assert "1024 tokens" in outcomes[0].reason
    assert isinstance(outcomes[1], Reply)


def test_the_name_of_a_local_model_changes_with_its_weights_and_tells_no_machine(tmp_path: Path) -> None:
    name = LocalGenerator(str(make_tiny_llava(tmp_path / "v1" / "merged"))).name
    again = LocalGenerator(str(make_tiny_llava(tmp_path / "elsewhere" / "v1" / "merged"))).name
    other = LocalGenerator(str(make_tiny_llava(tmp_path / "other" / "v1" / "merged", seed=1))).name
    assert name == again != other
    assert re.fullmatch("v1/merged@[0-9a-f]{12}", name)
    assert re.fullmatch("v1/merged@[0-9a-f]{12}", other)


def test_a_local_model_refuses_what_it_cannot_do(local: LocalGenerator, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="JSON schema"):
        list(local.generate([ask("hi", json_schema={"type": "object"})]))
    with pytest.raises(InputError, match="does not decode"):
        list(local.generate([ask("<image>", images=(b"no picture",), decoding=SHORT)]))
    with pytest.raises(InputError, match="max_tokens is 1024"):
        list(local.generate([ask("hi", decoding=Decoding(max_tokens=1024))]))


@pytest.fixture
def text_only(tiny_llava: Path, tmp_path: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    file = str(tiny_llava / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, pad_token="<pad>", eos_token="<|end|>")  # noqa: S106
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path / "text")
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "text")
    return tmp_path / "text"


def test_a_model_without_pictures_answers_text_and_is_named_when_it_is_shown_pictures(text_only: Path) -> None:
    local = LocalGenerator(str(text_only))
    assert isinstance(next(local.generate([ask("Hello", decoding=SHORT)])), Reply)
    with pytest.raises(InputError, match=r"model .*/text@\w+: it reads text only"):
        list(local.generate([two_images("red", "blue")]))


def test_a_model_whose_prompt_has_room_for_one_picture_is_named_when_it_is_shown_two(
    tiny_llava: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llava, tmp_path / "one")
    (folder / "chat_template.jinja").write_text("<s><image>{{ messages[0].content[-1].text }}<|assistant|>")
    local = LocalGenerator(str(folder))
    one = ask("<image>What is it?", images=(picture("red"),), decoding=SHORT)
    assert isinstance(next(local.generate([one])), Reply)
    with pytest.raises(InputError, match=r"its processor refuses 2 pictures in a prompt .*that takes several"):
        list(local.generate([two_images("red", "blue")]))


@pytest.mark.parametrize("missing", ["config.json", "*.safetensors"])
def test_a_folder_that_holds_no_model_is_named(tiny_llava: Path, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(tiny_llava, tmp_path / "model")
    for file in folder.glob(missing):
        file.unlink()
    with pytest.raises(InputError, match=rf"{folder}: the folder holds no model, for it has no {re.escape(missing)}"):
        LocalGenerator(str(folder))


def test_a_model_that_is_not_there_or_does_not_load_is_named(tiny_llava: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model '/no/such/model': it is not there"):
        LocalGenerator("/no/such/model")
    folder = shutil.copytree(tiny_llava, tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "never heard of"}')
    with pytest.raises(InputError, match=r"cannot be loaded.*never heard of"):
        LocalGenerator(str(folder)).load()


def test_a_model_without_a_chat_template_is_named(tiny_llava: Path, tmp_path: Path) -> None:
    without = shutil.ignore_patterns("chat_template.jinja")
    shutil.copytree(tiny_llava, tmp_path / "base", ignore=without)
    with pytest.raises(InputError, match=r"model '.*base': it has no chat template\. Put a chat_template\.jinja"):
        list(LocalGenerator(str(tmp_path / "base")).generate([ask("Hello", decoding=SHORT)]))


def test_weights_are_loaded_in_the_dtype_that_is_asked_for(local: LocalGenerator, tiny_llava: Path) -> None:
    half = LocalGenerator(str(tiny_llava), dtype="bfloat16")
    assert str(half.load()[0].dtype) == "torch.bfloat16"
    assert half.name == f"{local.name} (bfloat16)"  # stored replies of the two are kept apart


@pytest.mark.parametrize("lacking", ["patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"])
def test_what_a_llava_processor_lacks_comes_from_the_models_configuration(
    local: LocalGenerator, tiny_llava: Path, tmp_path: Path, lacking: str
) -> None:
    shutil.copytree(tiny_llava, tmp_path / "base")
    file = tmp_path / "base" / "processor_config.json"
    settings = json.loads(file.read_text())
    assert settings.pop(lacking) is not None
    file.write_text(json.dumps(settings))
    request = two_images("red", "blue")
    (reply,), (expected,) = (list(model.generate([request])) for model in (LocalGenerator(str(file.parent)), local))
    assert isinstance(reply, Reply)
    assert reply == expected
