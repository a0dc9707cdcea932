"""A LLaVA from the files of Vicuna, CLIP and LLaVA's projector; and the published LLaVA's layout as a base."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from huggingface_hub import HfApi
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
)

from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.training.llava import assemble
from cadvi_hub.training.models import TEMPLATES, load_base
from cadvi_hub.training.recipe import TuningModel
from tests.support.llava_parts import (
    PATCHES,
    TEXT_SIZE,
    VOCABULARY,
    make_clip,
    make_vicuna,
    projector_weights,
    read_shards,
)
from tests.support.tiny_llava import make_tiny_llava


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    make_vicuna(folder / "vicuna")
    make_clip(folder / "clip")
    torch.save(projector_weights(), folder / "mm_projector.bin")
    return folder


@pytest.fixture(scope="module")
def assembled(parts: Path) -> Path:
    out = parts / "llava"
    assert assemble(str(parts / "vicuna"), str(parts / "clip"), str(parts / "mm_projector.bin"), out) < 1e-2
    return out


def test_parts_keep_their_weights_and_dtype_in_the_published_layout(parts: Path, assembled: Path) -> None:
    stored = load_file(assembled / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert {name.split(".")[0] for name in stored} == {"language_model", "vision_tower", "multi_modal_projector"}
    language, vision = read_shards(parts / "vicuna"), read_shards(parts / "clip")
    blocks = [name for name in language if ".layers." in name and "rotary" not in name]
    assert len(blocks) == 2 * 9
    assert all(torch.equal(stored[f"language_model.{name}"], language[name]) for name in blocks)
    tower = [name for name in vision if name.startswith("vision_model.") and "position_ids" not in name]
    assert all(torch.equal(stored[f"vision_tower.{name}"], vision[name].half()) for name in tower)
    for name, weight in projector_weights().items():
        _, _, place, kind = name.split(".")
        layer = {"0": "linear_1", "2": "linear_2"}[place]
        assert torch.equal(stored[f"multi_modal_projector.{layer}.{kind}"], weight)


def test_picture_features_are_the_second_last_layer_through_the_projector(parts: Path, assembled: Path) -> None:
    model: Any = AutoModelForImageTextToText.from_pretrained(assembled, dtype=torch.float32)
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(4))
    weights = {
        name.removeprefix("model.mm_projector."): weight.float() for name, weight in projector_weights().items()
    }
    tower = CLIPVisionModel.from_pretrained(parts / "clip", dtype=torch.float16).float()
    with torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states[2][:, 1:]  # of 0 (embedding) to 3
        expected = gelu(states @ weights["0.weight"].T + weights["0.bias"]) @ weights["2.weight"].T + weights["2.bias"]
        features = torch.stack(list(model.get_image_features(pixels).pooler_output))
    assert expected.shape == (2, PATCHES, TEXT_SIZE)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-4)


def test_image_and_pad_are_new_tokens_and_rows_fill_up_to_64(parts: Path, assembled: Path) -> None:
    config = AutoModelForImageTextToText.from_pretrained(assembled).config
    processor = AutoProcessor.from_pretrained(assembled)
    assert (config.image_token_index, config.text_config.pad_token_id) == (VOCABULARY, VOCABULARY + 1)
    assert processor.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"]) == [VOCABULARY, VOCABULARY + 1]
    assert (processor.tokenizer.pad_token, config.text_config.vocab_size) == ("<pad>", 320)
    assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-2, "default")
    assert config.image_seq_length == PATCHES
    assert str(parts) not in (assembled / "config.json").read_text()
    stored, language = load_file(assembled / "model.safetensors"), read_shards(parts / "vicuna")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows, old = stored[f"language_model.{name}"], language[name]
        assert torch.equal(rows[:VOCABULARY], old)
        assert torch.equal(rows[VOCABULARY:], old.float().mean(0).half().expand(10, -1))


def test_tokens_are_those_of_sentencepiece_after_saving(parts: Path, assembled: Path) -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(parts / "vicuna" / "tokenizer.model"))
    tokenizer = AutoProcessor.from_pretrained(assembled).tokenizer
    for text in ("Which image suits the caption?", "two  spaces   and four    of them", "Grüße 你好\n\n 3.5"):
        assert tokenizer.encode(text) == [1, *pieces.encode(text)]


def test_processor_pads_to_a_square_with_the_mean_colour_and_writes_our_turns(assembled: Path) -> None:
    processor = AutoProcessor.from_pretrained(assembled)
    assert processor.chat_template == (TEMPLATES / "llava.jinja").read_text()
    wide = processor(images=Image.new("RGB", (28, 14), "white"), text="<s><image>", return_tensors="pt")
    assert wide["pixel_values"].shape == (1, 3, 28, 28)
    assert wide["pixel_values"][0, :, 0].abs().max() < 0.02  # the mean colour, normalised
    assert wide["pixel_values"][0, :, 14].min() > 1.5
    assert (wide["input_ids"] == VOCABULARY).sum() == PATCHES


def test_generation_stops_at_the_end_token_and_keeps_no_sampling_of_vicuna(assembled: Path) -> None:
    settings = json.loads((assembled / "generation_config.json").read_text())
    assert (settings["bos_token_id"], settings["eos_token_id"], settings["pad_token_id"]) == (1, 2, VOCABULARY + 1)
    assert not {"temperature", "top_p", "max_length"} & set(settings)


def test_a_projector_in_safetensors_and_one_in_a_repository_give_the_same_model(
    hub: LoopbackHub, parts: Path, assembled: Path, tmp_path: Path
) -> None:
    save_file(projector_weights(), tmp_path / "mm_projector.safetensors")
    api = HfApi()
    for name in ("vicuna", "clip"):
        api.create_repo(f"tester/{name}")
        api.upload_folder(repo_id=f"tester/{name}", folder_path=parts / name)
    api.create_repo("tester/projector")
    api.upload_file(
        repo_id="tester/projector", path_or_fileobj=parts / "mm_projector.bin", path_in_repo="mm_projector.bin"
    )
    assemble("tester/vicuna", "tester/clip", "tester/projector", tmp_path / "from-hub")
    assemble(str(parts / "vicuna"), str(parts / "clip"), str(tmp_path), tmp_path / "from-safetensors")
    expected = (assembled / "model.safetensors").read_bytes()
    for folder in ("from-hub", "from-safetensors"):
        assert (tmp_path / folder / "model.safetensors").read_bytes() == expected


def test_the_command_assembles_and_a_training_can_start_from_it(parts: Path, tmp_path: Path) -> None:
    places = {"language_model": "vicuna", "vision_tower": "clip", "projector": "mm_projector.bin"}
    options = [word for key, name in places.items() for word in (f"--{key}", str(parts / name))]
    main(["assemble", *options, "--out", str(tmp_path / "llava")])
    assert isinstance(
        load_base(TuningModel(model_name_or_path=str(tmp_path / "llava"))), LlavaForConditionalGeneration
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["llava"]


class Trap:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("trapped"),)  # type: ignore[return-value]


def broken(changes: dict[str, Any]) -> dict[str, Any]:
    weights = {**projector_weights(), **changes}
    return {name: weight for name, weight in weights.items() if weight is not None}


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (broken({"model.mm_projector.2.bias": None}), "instead of model.mm_projector.0.weight"),
        (broken({"model.mm_projector.4.weight": torch.ones(1)}), r"mm_projector\.4\.weight"),
        (broken({"model.embed_tokens.weight": torch.ones(1)}), r"model\.embed_tokens\.weight"),
        (projector_weights(text_size=24), r"linear_1\.weight has shape \(24, 16\), but these parts need \(32, 16\)"),
        (projector_weights(vision_size=8), r"shape \(32, 8\), but these parts need \(32, 16\)"),
        ([torch.ones(1)], "does not map names to tensors"),
        (broken({"model.mm_projector.2.bias": "text"}), "does not map names to tensors"),
    ],
)
def test_projector_of_another_depth_size_or_kind_is_refused(
    parts: Path, tmp_path: Path, stored: Any, problem: str
) -> None:
    torch.save(stored, tmp_path / "projector.bin")
    with pytest.raises(InputError, match=problem):
        assemble(str(parts / "vicuna"), str(parts / "clip"), str(tmp_path / "projector.bin"), tmp_path / "llava")
    assert not (tmp_path / "llava").exists()


def test_a_pickled_object_is_refused_and_not_run(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**projector_weights(), "trap": Trap()}, tmp_path / "projector.bin")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "torn.bin").write_bytes((parts / "mm_projector.bin").read_bytes()[:500])
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    for name in ("projector.bin", "plain.bin", "torn.bin", "torn.safetensors"):
        with pytest.raises(InputError, match=rf"{name}: it is broken, or holds something other than tensors"):
            assemble(str(parts / "vicuna"), str(parts / "clip"), name, tmp_path / "llava")
    assert not (tmp_path / "trapped").exists()


def test_missing_parts_and_parts_in_the_wrong_place_are_refused(parts: Path, tmp_path: Path) -> None:
    vicuna, clip, projector, out = (
        str(parts / "vicuna"),
        str(parts / "clip"),
        str(parts / "mm_projector.bin"),
        tmp_path,
    )
    (tmp_path / "empty").mkdir()
    empty = str(tmp_path / "empty")
    for arguments, problem in {
        (empty, clip, projector): "does not load as LlamaForCausalLM",
        (vicuna, empty, projector): "does not load as CLIPVisionModel",
        (vicuna, clip, empty): "it has no projector",
        (vicuna, clip, str(tmp_path / "gone.bin")): "projector .*gone.bin",
        (clip, clip, projector): "it is of the type clip, not llama",
        (vicuna, vicuna, projector): "it is of the type llama, not clip",
    }.items():
        with pytest.raises(InputError, match=problem):
            assemble(*arguments, out / "llava")
    assert not (out / "llava").exists()


def test_a_language_model_that_lacks_weights_is_refused_not_filled_at_random(parts: Path, tmp_path: Path) -> None:
    vicuna = make_vicuna(tmp_path / "vicuna")
    index = vicuna / "pytorch_model.bin.index.json"
    weights = read_shards(vicuna)
    del weights["model.norm.weight"]
    index.unlink()
    for shard in vicuna.glob("*.bin"):
        shard.unlink()
    torch.save(weights, vicuna / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"1 weights are missing, among them 'model\.norm\.weight'"):
        assemble(str(vicuna), str(parts / "clip"), str(parts / "mm_projector.bin"), tmp_path / "llava")


def test_nothing_that_is_there_is_overwritten(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="it is not empty"):
        assemble(str(parts / "vicuna"), str(parts / "clip"), str(parts / "mm_projector.bin"), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_published_checkpoints_layout_loads_as_a_base(tmp_path: Path) -> None:
    """`llava-hf/llava-1.5-7b-hf` has these names since transformers 4."""
    base = make_tiny_llava(tmp_path / "base")
    expected = AutoModelForImageTextToText.from_pretrained(base).state_dict()
    published = {}
    for name, weight in expected.items():
        name = name.removeprefix("model.").replace("vision_tower.", "vision_tower.vision_model.")
        name = name.replace("language_model.", "language_model.model.").replace("lm_head", "language_model.lm_head")
        published[name] = weight
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in published
    assert "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight" in published
    assert "multi_modal_projector.linear_1.weight" in published
    save_file(published, base / "model.safetensors", metadata={"format": "pt"})
    loaded = load_base(TuningModel(model_name_or_path=str(base), dtype="float32")).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], weight) for name, weight in expected.items())
