"""The vision tower, which is frozen, runs without gradient, and what trains in it or after it still trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from cadvi_hub.training import trainer
from cadvi_hub.training.structure import run_frozen_tower_without_gradient
from tests.support.tiny_vlms import make_tiny_vlm
from tests.support.tunings import curve, make_room, run

FAMILIES = {"llava": ("layers", None), "qwen3_vl": ("blocks", "merger")}  # what is frozen, what trains in the tower


@pytest.fixture(scope="module", params=FAMILIES)
def room(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("room") / request.param
    folder.mkdir()
    make_room(folder, rows=8, images=(1, 2))
    if request.param != "llava":
        make_tiny_vlm(folder / "base", request.param)
    return folder


@pytest.mark.parametrize("checkpointing", [True, False])
def test_frozen_tower_runs_without_gradient_and_learns_the_same(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    frozen, trained = FAMILIES[room.name]
    graded: dict[str, set[bool]] = {"frozen": set(), "trained": set()}

    def watch(model: PeftModel) -> None:
        run_frozen_tower_without_gradient(model)
        tower: torch.nn.Module = model.get_base_model().get_encoder("image")  # type: ignore[operator]
        for name, module in tower.named_modules():
            kind = "trained" if trained and f".{trained}" in f".{name}" else "frozen" if frozen in name else ""
            if kind and name.endswith(("mlp", "linear_fc1", "act_fn")):
                module.register_forward_hook(lambda *_, kind=kind: graded[kind].add(torch.is_grad_enabled()))

    settings: dict[str, Any] = {"activation_checkpointing": checkpointing, "max_steps": 2}
    with monkeypatch.context() as changed:
        changed.setattr(trainer, "run_frozen_tower_without_gradient", watch)
        run(room, tmp_path / "new", **settings)
    assert graded == {"frozen": {False}, "trained": {True} if trained else set()}
    with monkeypatch.context() as changed:
        changed.setattr(trainer, "run_frozen_tower_without_gradient", lambda model: None)
        run(room, tmp_path / "old", **settings)
    assert curve(tmp_path / "new") == curve(tmp_path / "old")
    new, old = (AutoModelForImageTextToText.from_pretrained(tmp_path / name / "merged") for name in ("new", "old"))
    after = new.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in old.state_dict().items())
