"""Each part of the model is frozen, gets LoRA, or trains in full, at its own rate."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.recipe import TuningConfig, TuningModel
from cadvi_hub.training.recipe_checks import check_settings
from cadvi_hub.training.runs import CHECKPOINT_MANIFEST
from tests.support.tiny_vlms import make_tiny_vlm
from tests.support.tunings import curve, make_pairs, make_room, pair, run

ALL_FULL = {"tune_language_model": "full", "tune_vision_tower": "full"}
# CLIP's last layer, whose output LLaVA does not use
UNUSED = ("vision_tower.encoder.layers.1.", "vision_tower.post_layernorm")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"), rows=12)


def weights_of(model: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = AutoModelForImageTextToText.from_pretrained(model).state_dict()
    return weights


def moved(room: Path, merged: Path) -> set[str]:
    """Names of the weights that a training changed."""
    before, after = weights_of(room / "base"), weights_of(merged)
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def of_part(room: Path, part: str, *, linear: bool = False) -> set[str]:
    """Names of the weights of a part that the loss depends on; of its linear layers alone where it gets LoRA."""
    parts = {
        "language_model": ("model.language_model.", "lm_head."),
        "projector": ("model.multi_modal_projector.",),
        "vision_tower": ("model.vision_tower.",),
    }
    kinds = ("_proj.weight", "fc1.weight", "fc2.weight")
    names = {name for name in weights_of(room / "base") if name.startswith(parts[part])}
    used = {name for name in names if not any(unused in name for unused in UNUSED)}
    return {name for name in used if name.endswith(kinds)} if linear else used


@pytest.mark.parametrize(
    ("language_model", "projector", "vision_tower"),
    [
        ("full", "full", "full"),
        ("full", "full", "frozen"),
        ("frozen", "full", "frozen"),
        ("lora", "frozen", "frozen"),
        ("lora", "full", "lora"),
        ("frozen", "frozen", "full"),
    ],
)
def test_each_part_trains_as_it_is_told_and_the_merged_model_has_it(
    room: Path, tmp_path: Path, language_model: str, projector: str, vision_tower: str
) -> None:
    told = {"language_model": language_model, "projector": projector, "vision_tower": vision_tower}
    merged = run(room, tmp_path, {f"tune_{part}": kind for part, kind in told.items()}, vision_tower_lr=1e-3)
    expected = {part: of_part(room, part, linear=kind == "lora") for part, kind in told.items() if kind != "frozen"}
    assert moved(room, merged) == set().union(*expected.values())


def test_each_part_has_its_own_rate(room: Path, tmp_path: Path) -> None:
    parts = {"learning_rate": "language_model", "projector_lr": "projector", "vision_tower_lr": "vision_tower"}
    for rate, part in parts.items():
        rates: dict[str, Any] = dict.fromkeys(parts, 0.0) | {rate: 1e-3}
        merged = run(room, tmp_path / part, ALL_FULL, max_steps=2, **rates)
        assert moved(room, merged) == of_part(room, part)


def test_embeddings_that_are_the_output_layer_stay_and_the_rest_trains(tmp_path: Path) -> None:
    room = make_room(tmp_path / "room", rows=6)
    base: Any = AutoModelForImageTextToText.from_pretrained(room / "base")
    base.config.tie_word_embeddings = base.config.text_config.tie_word_embeddings = True
    base.tie_weights()
    base.save_pretrained(room / "base")
    changed = moved(room, run(room, tmp_path / "out", {"tune_language_model": "full"}, max_steps=2))
    still = of_part(room, "language_model") - changed
    assert still == {"lm_head.weight", "model.language_model.embed_tokens.weight"}


def test_the_patch_mergers_in_a_tower_keep_the_projectors_rate(tmp_path: Path) -> None:
    room = make_room(tmp_path / "room", rows=8, images=(1, 2))
    make_tiny_vlm(room / "base", "qwen3_vl")
    for kind in ("full", "lora"):
        merged = run(room, tmp_path / kind, {"tune_vision_tower": kind}, max_steps=2, vision_tower_lr=0.0)
        in_tower = {name for name in moved(room, merged) if ".visual." in name}
        assert in_tower
        assert all("merger" in name for name in in_tower)
        trained = run(room, tmp_path / f"{kind}-2", {"tune_vision_tower": kind}, max_steps=2, vision_tower_lr=1e-3)
        assert any(".visual.blocks." in name for name in moved(room, trained))


def test_activation_checkpointing_changes_nothing(room: Path, tmp_path: Path) -> None:
    for name, tower in (("full", "full"), ("lora", "lora")):
        for checkpointing in (True, False):
            keys: dict[str, Any] = {"activation_checkpointing": checkpointing, "max_steps": 2, "vision_tower_lr": 1e-3}
            run(room, tmp_path / f"{name}-{checkpointing}", ALL_FULL | {"tune_vision_tower": tower}, **keys)
        assert curve(tmp_path / f"{name}-True") == curve(tmp_path / f"{name}-False")


def test_a_stopped_run_goes_on_to_the_same_weights(room: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "vision_tower_lr": 1e-3}
    run(room, tmp_path / "whole", ALL_FULL, **keys)
    run(room, tmp_path / "run", ALL_FULL, **keys)
    log = tmp_path / "run/training.json"
    log.write_text(log.read_text().replace('"finished": true', '"finished": false'))
    (tmp_path / "run/checkpoint-4" / CHECKPOINT_MANIFEST).unlink()
    run(room, tmp_path / "run", ALL_FULL, **keys)
    whole, again = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "run"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
    with pytest.raises(InputError, match="tune_language_model"):
        run(room, tmp_path / "run", {"tune_vision_tower": "full"}, **keys)


def test_the_reference_of_preferences_is_the_start_also_in_full(tmp_path: Path) -> None:
    room = make_pairs(tmp_path / "room", [pair(index) for index in range(8)])
    run(room, tmp_path / "out", ALL_FULL, method="dpo", learning_rate=1e-3)
    losses = [loss for _, loss in curve(tmp_path / "out")]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses[-1] < 0.6


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            {"tune_language_model": "frozen", "tune_projector": "frozen"},
            "every part is frozen, so nothing would train",
        ),
        ({"tune_language_model": "full", "load_in_4bit": True}, "weights of 4 or 8 bits cannot train"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_is_read(
    tmp_path: Path, model: dict[str, Any], problem: str
) -> None:
    args = TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    with pytest.raises(InputError, match=problem):
        check_settings(args, TuningModel(model_name_or_path="base", **model))
