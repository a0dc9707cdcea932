"""LoRA goes on the language model, the projector trains in full, and a merged model answers as its adapter does."""

import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from tiny_llava import make_tiny_llava
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from cadvi_hub.errors import InputError
from cadvi_hub.training import adapters
from cadvi_hub.training.adapters import check_trainable, is_adapter, load_adapted, lora_targets, merge, projector_name


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("base"))


def wrap(base: Path, **changed: object) -> PeftModel:
    model = AutoModelForImageTextToText.from_pretrained(base)
    settings = {"target_modules": lora_targets(model), "modules_to_save": [projector_name(model)], **changed}
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **settings))


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter whose weights all differ from a fresh one."""
    model = wrap(base)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.05)
    folder = tmp_path / "a full model by its name"
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(base).save_pretrained(folder)
    return folder


def test_targets_are_the_linear_layers_of_the_language_model(base: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(base)
    pattern = re.compile(lora_targets(model))
    hit = {name for name, _ in model.named_modules() if pattern.fullmatch(name)}
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert len(hit) == 2 * len(kinds)
    assert all(name.startswith("model.language_model.layers.") and name.endswith(kinds) for name in hit)
    assert projector_name(model) == "multi_modal_projector"


def test_model_without_a_projector_is_refused() -> None:
    config = LlamaConfig(
        vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(InputError, match="needs one projector"):
        projector_name(LlamaForCausalLM(config))


def test_right_adapter_passes_the_check_and_wrong_ones_do_not(base: Path) -> None:
    check_trainable(wrap(base))
    with pytest.raises(InputError, match=r"must not, among them .*vision_tower"):
        check_trainable(wrap(base, target_modules=["q_proj"]))
    with pytest.raises(InputError, match="projector 'multi_modal_projector' would not train"):
        check_trainable(wrap(base, modules_to_save=None))
    with pytest.raises(InputError, match="lm_head"):
        check_trainable(wrap(base, modules_to_save=["multi_modal_projector", "lm_head"]))


def test_adapter_is_known_by_its_files_not_by_its_name(adapter: Path, base: Path) -> None:
    assert is_adapter(adapter)
    assert not is_adapter(base)


def test_merged_model_loads_alone_and_answers_as_the_adapter(adapter: Path, base: Path, tmp_path: Path) -> None:
    difference = merge(adapter, tmp_path / "merged")
    assert 0 <= difference <= adapters.MERGE_TOLERANCE[torch.float32]
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    inputs = processor(text="<s><image>What differs?", images=Image.new("RGB", (40, 32), "red"), return_tensors="pt")
    models = [AutoModelForImageTextToText.from_pretrained(folder).eval() for folder in (tmp_path / "merged", base)]
    with torch.no_grad():
        expected, merged, untouched = (model(**inputs).logits for model in (load_adapted(adapter), *models))
    assert torch.allclose(merged, expected, atol=1e-3)
    assert not torch.allclose(untouched, expected, atol=1e-2)
    files = {file.name for file in (tmp_path / "merged").iterdir()}
    assert "model.safetensors" in files
    assert not any(name.endswith((".bin", ".pt")) for name in files)


def test_merging_again_replaces_the_old_model_and_leaves_nothing_beside_it(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "old.safetensors").write_bytes(b"old")
    merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged" / "old.safetensors").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {adapter.name, "merged"}


def test_merge_that_changes_the_answers_is_not_kept(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(adapters.MERGE_TOLERANCE, torch.float32, -1.0)
    with pytest.raises(RuntimeError, match="differs from its adapter"):
        merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def change_config(adapter: Path, **changed: object) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


@pytest.mark.parametrize("changed", [{"hidden_size": 64}, {"num_hidden_layers": 1}, {"num_hidden_layers": 3}])
def test_adapter_of_another_base_is_refused(
    adapter: Path, base: Path, tmp_path: Path, changed: dict[str, int]
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(base)
    model.config.text_config.update(changed)
    type(model)(model.config).save_pretrained(tmp_path / "other")
    change_config(adapter, base_model_name_or_path=str(tmp_path / "other"))
    with pytest.raises(InputError, match="do not fit the base"):
        merge(adapter, tmp_path / "merged")


def test_missing_base_missing_adapter_and_torn_weights_are_refused(adapter: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter is there"):
        load_adapted(base)
    (adapter / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="broken file"):
        load_adapted(adapter)
    change_config(adapter, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="does not load"):
        load_adapted(adapter)
