"""The loss on held-out rows is computed during a training, and changes nothing in it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cadvi_hub.core.errors import InputError
from cadvi_hub.training import sft
from cadvi_hub.training.recipe import TuningConfig, TuningModel
from cadvi_hub.training.settings import DataArguments
from tests.support.tunings import make_room, run


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"), rows=12)


@pytest.mark.parametrize("streaming", [True, False])
def test_held_out_rows_are_evaluated_and_the_weights_are_those_without_them(
    room: Path, tmp_path: Path, streaming: bool
) -> None:
    held_out = {"held": {"path": str(room), "config": "v1", "max_rows": 5}}
    evaluation: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 2, "train_sampling_strategy": "llava"}
    run(room, tmp_path / "with", streaming=streaming, eval_mixture=held_out, **evaluation)
    run(room, tmp_path / "without", streaming=streaming, train_sampling_strategy="llava")
    log = json.loads((tmp_path / "with" / "training.json").read_text())
    assert [entry["step"] for entry in log["evaluations"]] == [2, 4]
    assert log["evaluations"][1]["eval_loss"] < log["evaluations"][0]["eval_loss"]
    assert "evaluations" not in json.loads((tmp_path / "without" / "training.json").read_text())
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("with", "without"))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.parametrize(
    ("sources", "strategy", "problem"),
    [(None, "steps", "no rows to evaluate on"), ({"held": {"path": "data"}}, "no", "eval_strategy is unset")],
)
def test_rows_without_an_evaluation_and_an_evaluation_without_rows_are_refused(
    tmp_path: Path, sources: Any, strategy: str, problem: str
) -> None:
    args = TuningConfig(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, eval_strategy=strategy, eval_steps=1
    )
    data = DataArguments({"v1": {"path": "data"}}, sources)
    with pytest.raises(InputError, match=problem):
        sft.train(data, args, TuningModel(model_name_or_path="base"))
