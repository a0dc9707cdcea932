"""Models of other families are tuned as LLaVA is: parts found in the model, the family's own turns, all pictures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors import safe_open
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.generation.chat import ChatRequest, Decoding, Reply
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.lengths import fit_rows
from cadvi_hub.training.models import load_base, load_processor, template_file
from cadvi_hub.training.recipe import TuningModel
from cadvi_hub.training.structure import check_trainable, lora_targets, outside_decoder, projector_names
from tests.support.tiny_vlms import TEMPLATES, make_tiny_vlm, original_template
from tests.support.tunings import curve, row, run

PROJECTORS = {
    "llava": ["model.multi_modal_projector"],
    "llava_onevision": ["model.multi_modal_projector"],
    "idefics3": ["model.connector"],
    "smolvlm": ["model.connector"],
    "qwen2_vl": ["model.visual.merger"],
    "qwen2_5_vl": ["model.visual.merger"],
    "qwen3_vl": ["model.visual.merger", *(f"model.visual.deepstack_merger_list.{i}" for i in range(3))],
}
DRAWN = [
    [message("user", "<image>What is red?"), message("assistant", "The kite.")],
    [message("user", "Why?"), message("assistant", " Because <b>it</b> & \n\n“so”. ")],
    [
        message("user", "Is <image> like <image>?\n"),
        message("assistant", "No."),
        message("user", "Which <image>"),
        message("assistant", ""),
    ],
    [message("system", "Be brief."), message("user", "Ünïcödé 象"), message("assistant", "{{ 1 }}")],
]


def outline(family: str) -> PreTrainedModel:
    """A family's model in its own size but for two layers, without weights."""
    config = CONFIG_MAPPING[family]()
    config.get_text_config().num_hidden_layers = 2
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
    return model


def wrap(model: PreTrainedModel, **changed: Any) -> PeftModel:
    settings = {"target_modules": lora_targets(model), "modules_to_save": projector_names(model)} | changed
    return get_peft_model(model, LoraConfig(r=4, **settings))


@pytest.mark.parametrize("family", PROJECTORS)
def test_lora_goes_on_the_language_model_and_every_projector_trains(family: str) -> None:
    model = outline(family)
    projectors = projector_names(model)
    assert projectors == PROJECTORS[family]
    tower, output, *rest = outside_decoder(model)
    assert (output, rest) == ("lm_head", projectors)
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    tuned = wrap(model)
    hit = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    assert hit == {name for name in linear if not name.startswith((tower, output, *rest))}
    check_trainable(tuned)
    for left_out in projectors:
        others = [name for name in projectors if name != left_out]
        with pytest.raises(InputError, match=f"projector '{left_out}' would not train"):
            check_trainable(wrap(outline(family), modules_to_save=others or None))
    with pytest.raises(InputError, match=f"must not, among them '{tower}"):
        check_trainable(wrap(outline(family), target_modules="all-linear"))


@pytest.fixture(scope="module", params=TEMPLATES)
def room(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named after the family, with a base and rows of two, one and no images; one answer is empty."""
    folder: Path = tmp_path_factory.mktemp("room") / request.param
    make_tiny_vlm(folder / "base", request.param)
    (folder / "v1").mkdir()
    rows = [row(index) for index in range(12)]
    rows[-1]["messages"][-1] = message("assistant", "")
    data = Dataset.from_list(rows, features=instruct_features())
    data.to_parquet(str(folder / "v1" / "train-00000-of-00001.parquet"))
    return folder


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "trained"
    run(room, out)
    return out


def processor_of(room: Path) -> Any:
    return load_processor(TuningModel(model_name_or_path=str(room / "base")), None)


def test_marked_template_writes_what_the_familys_own_does(room: Path) -> None:
    processor, own = processor_of(room), original_template(room.name)
    assert processor.chat_template != own
    for conversation in DRAWN:
        for prompt in (False, True):
            texts = [
                processor.apply_chat_template(conversation, chat_template=template, add_generation_prompt=prompt)
                for template in (own, None)
            ]
            assert texts[0] == texts[1]


def test_labels_are_the_answers_with_their_ends_and_lengths_are_what_the_model_reads(room: Path) -> None:
    processor = processor_of(room)
    sizes = [(40, 32), (30, 200), (100, 90), (8, 8)]
    pictures = [Image.new("RGB", size, "red") for size in sizes]
    rows: list[dict[str, Any]] = [
        {"images": pictures[:count], "messages": conversation}
        for count, conversation in zip((1, 0, 3, 0), DRAWN, strict=True)
    ]
    stored = [
        {
            "id": "0",
            "images": [{"bytes": encode_png(picture), "path": None} for picture in of["images"]],
            "messages": of["messages"],
            "source": "drawn",
        }
        for of in rows
    ]
    dataset = Dataset.from_list(stored, features=instruct_features())
    batch = Collator(processor)(rows)
    lengths = fit_rows(dataset, "drawn", processor, 10_000).dataset["length"][:]
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    end = f"{processor.tokenizer.eos_token}\n"
    space = "" if room.name.startswith("qwen") else " "  # its turns have a space behind the colon
    for labels, conversation in zip(batch["labels"], DRAWN, strict=True):
        answers = [turn["content"] for turn in conversation if turn["role"] == "assistant"]
        expected = "".join(f"{space}{''.join(part['text'] for part in content)}{end}" for content in answers)
        assert processor.tokenizer.decode(labels[labels != IGNORED]) == expected


def test_tuned_model_merges_and_answers_about_two_one_and_no_images(room: Path, trained: Path) -> None:
    losses = [loss for _, loss in curve(trained)]
    assert losses[-1] < losses[0]
    assert json.loads((trained / "training.json").read_text())["rows"] == {"v1": 12}
    picture = encode_png(Image.new("RGB", (40, 32), "red"))
    requests = [
        ChatRequest([message("user", "<image>" * count + "What is red?")], (picture,) * count, Decoding(max_tokens=2))
        for count in (2, 1, 0)
    ]
    replies = list(LocalGenerator(str(trained / "merged")).generate(requests))
    answered = [reply for reply in replies if isinstance(reply, Reply) and reply.completion_tokens]
    two, one, none = (reply.prompt_tokens for reply in answered)
    assert two > one > none
    template = AutoProcessor.from_pretrained(trained / "merged").chat_template
    assert template == AutoProcessor.from_pretrained(trained).chat_template == processor_of(room).chat_template


def test_adapter_holds_lora_and_projector_which_have_moved_and_loads_by_itself(room: Path, trained: Path) -> None:
    base = AutoModelForImageTextToText.from_pretrained(room / "base")
    with safe_open(trained / "adapter_model.safetensors", "pt") as weights:
        saved = {name.removeprefix("base_model.model."): weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    projector = {name: weight for name, weight in saved.items() if ".lora_" not in name}
    before = base.state_dict()
    assert {name.rpartition(".")[0] for name in projector} >= {
        name.rpartition(".")[0] for name in before if name.startswith(tuple(projector_names(base)))
    }
    assert any(not torch.equal(weight, before[name]) for name, weight in projector.items())
    assert all(weight.any() for name, weight in saved.items() if "lora_B" in name)
    alone, merged = (
        AutoModelForImageTextToText.from_pretrained(folder).eval() for folder in (trained, trained / "merged")
    )
    processor = processor_of(room)
    text = processor.apply_chat_template([message("user", "<image><image>What differs?")], add_generation_prompt=True)
    inputs = processor(text=text, images=[Image.new("RGB", (40, 32), "red")] * 2, return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(alone(**inputs).logits, merged(**inputs).logits, atol=1e-4)


def test_template_of_another_family_and_one_without_marks_are_refused(room: Path, tmp_path: Path) -> None:
    model = TuningModel(model_name_or_path=str(room / "base"))
    with pytest.raises(InputError, match="end token that its tokenizer knows"):
        load_processor(model, template_file("llava.jinja"))
    unmarked = tmp_path / "own.jinja"
    unmarked.write_text("{% for turn in messages %}{{ turn.role }}: {{ turn.content[0].text }}\n{% endfor %}")
    with pytest.raises(InputError, match="does not mark the answers, and TRL has no other"):
        load_processor(model, unmarked)


def test_processor_of_texts_alone_and_missing_one_are_refused(tmp_path: Path) -> None:
    base = make_tiny_vlm(tmp_path / "base", "idefics3")
    AutoProcessor.from_pretrained(base).tokenizer.save_pretrained(tmp_path / "text")
    (base / "processor_config.json").unlink()
    for folder in (base, tmp_path / "text"):
        with pytest.raises(InputError, match=r"its processor does not load|no processor of images and texts"):
            load_processor(TuningModel(model_name_or_path=str(folder)), None)


def test_base_that_lacks_weights_is_refused(room: Path, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(room / "base")
    weights = {name: weight for name, weight in model.state_dict().items() if "embed_tokens" not in name}
    model.save_pretrained(tmp_path / "torn", state_dict=weights)
    with pytest.raises(InputError, match="1 weights are missing"):
        load_base(TuningModel(model_name_or_path=str(tmp_path / "torn")))


def test_only_the_language_models_layers_are_in_four_bits_and_what_was_tuned_on_them_merges(
    room: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"load_in_4bit": True, "dtype": "bfloat16"}
    model = load_base(TuningModel(model_name_or_path=str(room / "base"), **settings))
    quantized = {name for name, weight in model.named_parameters() if type(weight).__name__ == "Params4bit"}
    targets = lora_targets(model)
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert quantized == {f"{name}.weight" for name in linear if re.fullmatch(targets, name)}
    run(room, tmp_path / "out", model=settings, bf16=True, max_steps=2)
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "out" / "merged")
    assert not getattr(merged, "is_loaded_in_4bit", False)
