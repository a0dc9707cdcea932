"""LoRA goes on the language model, the projector trains in full, and a merged model answers as its adapter does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.training.adapters import is_adapter, load_adapted, merge
from cadvi_hub.training.checkpoints import TOLERANCE
from cadvi_hub.training.structure import check_trainable, lora_targets, projector_names
from tests.support.tiny_llava import make_tiny_llava


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("base"))


def wrap(base: Path, **changed: Any) -> PeftModel:
    model: Any = AutoModelForImageTextToText.from_pretrained(base)
    settings: dict[str, Any] = {"target_modules": lora_targets(model), "modules_to_save": projector_names(model)}
    settings |= changed
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **settings))


def save_adapter(base: Path, folder: Path) -> Path:
    """An adapter on `base` whose weights all differ from a fresh one, with its processor."""
    torch.manual_seed(0)
    model = wrap(base)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.05)
    model.save_pretrained(str(folder))
    AutoProcessor.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return save_adapter(base, tmp_path / "a full model by its name")


def test_targets_are_the_linear_layers_of_the_language_model(base: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(base)
    pattern = re.compile(lora_targets(model))
    hit = {name for name, _ in model.named_modules() if pattern.fullmatch(name)}
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert len(hit) == 2 * len(kinds)
    assert all(name.startswith("model.language_model.layers.") and name.endswith(kinds) for name in hit)
    assert projector_names(model) == ["model.multi_modal_projector"]


def test_model_without_a_projector_is_refused() -> None:
    config = LlamaConfig(
        vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(InputError, match="needs one projector"):
        projector_names(LlamaForCausalLM(config))


def test_right_adapter_passes_the_check_and_wrong_ones_do_not(base: Path) -> None:
    check_trainable(wrap(base))
    with pytest.raises(InputError, match=r"must not, among them .*vision_tower"):
        check_trainable(wrap(base, target_modules=["q_proj"]))
    with pytest.raises(InputError, match=r"projector 'model\.multi_modal_projector' would not train"):
        check_trainable(wrap(base, modules_to_save=None))
    with pytest.raises(InputError, match="lm_head"):
        check_trainable(wrap(base, modules_to_save=["multi_modal_projector", "lm_head"]))


def test_adapter_is_known_by_its_files_not_by_its_name(adapter: Path, base: Path) -> None:
    assert is_adapter(adapter)
    assert not is_adapter(base)


def test_merged_model_loads_alone_and_answers_as_the_adapter(adapter: Path, base: Path, tmp_path: Path) -> None:
    difference = merge(adapter, tmp_path / "merged")
    assert 0 <= difference <= TOLERANCE[torch.float32]
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


def names_in(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return set(weights.keys())


def test_merged_model_has_the_published_layout_which_vllm_loads(adapter: Path, tmp_path: Path) -> None:
    merge(adapter, tmp_path / "merged")
    names = names_in(tmp_path / "merged")
    assert {name.split(".")[0] for name in names} == {"language_model", "vision_tower", "multi_modal_projector"}
    assert {
        "language_model.lm_head.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.1.self_attn.q_proj.weight",
        "vision_tower.vision_model.encoder.layers.1.self_attn.q_proj.weight",
        "multi_modal_projector.linear_2.bias",
    } <= names


def test_merge_keeps_tied_embeddings_tied(tmp_path: Path) -> None:
    base = make_tiny_llava(tmp_path / "base")
    model = AutoModelForImageTextToText.from_pretrained(base)
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    type(model)(model.config).save_pretrained(base)
    save_adapter(base, tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "merged")
    assert "language_model.lm_head.weight" not in names_in(tmp_path / "merged")


def test_merged_model_is_a_base_for_the_next_adapter_in_bfloat16(adapter: Path, tmp_path: Path) -> None:
    merge(adapter, tmp_path / "merged")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    AutoProcessor.from_pretrained(tmp_path / "merged").save_pretrained(tmp_path / "half")
    save_adapter(tmp_path / "half", tmp_path / "next")
    assert merge(tmp_path / "next", tmp_path / "twice") <= TOLERANCE[torch.bfloat16]
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "twice").dtype == torch.bfloat16
    assert names_in(tmp_path / "twice") == names_in(tmp_path / "merged")


def test_the_command_merges_an_adapter_of_the_hub_onto_its_base_there(
    hub: LoopbackHub, adapter: Path, base: Path, tmp_path: Path
) -> None:
    publish(PublishSettings(base, "tester/base", "model"))
    publish(PublishSettings(adapter, "tester/adapter", "model", base_model="tester/base"))
    main(["merge", "--adapter", "tester/adapter", "--out", str(tmp_path / "merged")])
    from_folder = AutoModelForImageTextToText.from_pretrained(adapter)  # the base comes by the adapter's configuration
    from_hub = AutoModelForImageTextToText.from_pretrained("tester/adapter")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    processor = AutoProcessor.from_pretrained("tester/adapter")
    assert processor.chat_template == AutoProcessor.from_pretrained(base).chat_template
    inputs = processor(text="<s><image>What differs?", images=Image.new("RGB", (40, 32), "red"), return_tensors="pt")
    with torch.no_grad():
        expected, there, after = (model.eval()(**inputs).logits for model in (from_folder, from_hub, merged))
    assert torch.equal(there, expected)
    assert torch.allclose(after, expected, atol=1e-3)


def test_merged_model_keeps_the_record_of_its_training(adapter: Path, tmp_path: Path) -> None:
    (adapter / "training.json").write_text('{"steps": 3}')
    main(["merge", "--adapter", str(adapter), "--out", str(tmp_path / "merged")])
    assert (tmp_path / "merged/training.json").read_text() == '{"steps": 3}'


def test_merging_again_replaces_the_old_model_and_leaves_nothing_beside_it(adapter: Path, tmp_path: Path) -> None:
    (log := tmp_path / "training.json").write_text("{}")
    merge(adapter, tmp_path / "merged", [log])
    log.unlink()
    merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged" / "training.json").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {adapter.name, "merged"}


def test_merge_that_changes_the_answers_is_not_kept(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCE, torch.float32, -1.0)
    with pytest.raises(RuntimeError, match="differs from its parts"):
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
    with pytest.raises(InputError, match="it holds no adapter"):
        load_adapted(base)
    (adapter / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="broken file"):
        load_adapted(adapter)
    change_config(adapter, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"its base .* does not load"):
        load_adapted(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(InputError, match=r"adapter_config\.json: it is not the configuration of an adapter"):
        load_adapted(adapter)


def test_base_without_a_projector_ends_the_command_with_one_line(adapter: Path, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    change_config(adapter, base_model_name_or_path=str(tmp_path / "llama"))
    with pytest.raises(
        SystemExit, match=r"cadvi merge: .*its base .*llama' does not load: it does not load as AutoModelFor"
    ):
        main(["merge", "--adapter", str(adapter), "--out", str(tmp_path / "merged")])
    with pytest.raises(SystemExit, match="no such folder, and no repository"):
        main(["merge", "--adapter", str(tmp_path / "gone"), "--out", str(tmp_path / "merged")])


def test_base_that_lacks_weights_is_refused_not_filled_at_random(adapter: Path, base: Path, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(base)
    weights = {name: weight for name, weight in model.state_dict().items() if "vision_tower.post" not in name}
    model.save_pretrained(tmp_path / "torn", state_dict=weights)
    change_config(adapter, base_model_name_or_path=str(tmp_path / "torn"))
    with pytest.raises(InputError, match=r"2 weights are missing, among them 'model\.vision_tower\.post_layernorm"):
        merge(adapter, tmp_path / "merged")


def test_adapter_needs_its_processor_and_stays_where_it_is(adapter: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the merged model would replace"):
        merge(adapter, adapter)
    with pytest.raises(InputError, match="the merged model would replace"):
        merge(adapter, tmp_path)
    (adapter / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="its processor has no chat template"):
        merge(adapter, tmp_path / "merged")
    (adapter / "processor_config.json").unlink()
    with pytest.raises(InputError, match="its processor does not load"):
        merge(adapter, tmp_path / "merged")
