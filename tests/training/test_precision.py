"""Numbers that are not finite stop a run; weights in half precision need computations that fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.training import sft
from cadvi_hub.training.adapters import merge
from cadvi_hub.training.models import load_processor
from cadvi_hub.training.recipe import TuningModel
from tests.support.tunings import curve, make_room, run


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"), rows=12)


def in_dtype(room: Path, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The base in another dtype, as settings of a model."""
    AutoModelForImageTextToText.from_pretrained(room / "base", dtype=dtype).save_pretrained(folder)
    AutoProcessor.from_pretrained(room / "base").save_pretrained(folder)
    return {"model_name_or_path": str(folder)}


def test_loss_that_is_no_number_stops_the_run_and_names_the_step(room: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1, "max_steps": 8, "max_grad_norm": 0}
    with pytest.raises(InputError, match=r"step [2-8]: the (loss|norm of its gradient) is (nan|inf)"):
        run(room, tmp_path / "out", learning_rate=1e30, **settings)
    assert not (tmp_path / "out" / "merged").exists()
    state = sorted((tmp_path / "out").glob("checkpoint-*/trainer_state.json"))[-1]
    losses = [entry["loss"] for entry in json.loads(state.read_text())["log_history"] if "loss" in entry]
    assert losses
    assert 0.0 not in losses


@pytest.mark.parametrize(
    ("dtype", "chosen", "computed"),
    [(torch.float16, "auto", {}), (torch.float16, "auto", {"bf16": True}), (torch.float32, "bfloat16", {})],
)
def test_weights_in_half_precision_need_the_same_in_the_computations(
    room: Path, tmp_path: Path, dtype: torch.dtype, chosen: str, computed: dict[str, Any]
) -> None:
    base = in_dtype(room, tmp_path / "base", dtype)
    with pytest.raises(InputError, match=r"weights are in b?float16, and (fp16|bf16) is off"):
        run(room, tmp_path / "out", base | {"dtype": chosen}, **computed)
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_base_in_float16_trains_in_bfloat16(room: Path, tmp_path: Path) -> None:
    base = in_dtype(room, tmp_path / "base", torch.float16) | {"dtype": "bfloat16"}
    run(room, tmp_path / "out", base, bf16=True, max_steps=2)
    assert len(curve(tmp_path / "out")) == 2


def test_adapter_that_overflows_in_its_bases_float16_merges_in_another_dtype(room: Path, tmp_path: Path) -> None:
    base = in_dtype(room, tmp_path / "base", torch.float16) | {"dtype": "float32"}
    run(room, tmp_path / "out", base, max_steps=1)
    file = tmp_path / "out" / "adapter_model.safetensors"
    large = {name: weight * (1e7 if "linear_2" in name else 1) for name, weight in load_file(file).items()}
    save_file(large, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"float16 .*which overflow.*Set dtype: bfloat16 or float32"):
        merge(tmp_path / "out", tmp_path / "merged")
    merge(tmp_path / "out", tmp_path / "merged", dtype="bfloat16")
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").dtype == torch.bfloat16


def test_tokenizer_without_a_token_for_padding_pads_with_its_end(room: Path, tmp_path: Path) -> None:
    base = in_dtype(room, tmp_path / "base", torch.float32)
    processor = AutoProcessor.from_pretrained(tmp_path / "base")
    processor.tokenizer.pad_token = None
    processor.save_pretrained(tmp_path / "base")
    tokenizer = load_processor(TuningModel(**base), None).tokenizer
    assert tokenizer.pad_token == tokenizer.eos_token
    run(room, tmp_path / "out", base, max_steps=1)


def test_merged_model_stops_where_its_template_ends_an_answer(room: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "out", in_dtype(room, tmp_path / "base", torch.float32), max_steps=1)
    (tmp_path / "base" / "generation_config.json").write_text('{"eos_token_id": 1}')
    end = AutoProcessor.from_pretrained(tmp_path / "base").tokenizer.eos_token_id
    for ends, expected in (("1", [1, end]), ("null", [end]), (f"[{end}]", [end])):
        (tmp_path / "base" / "generation_config.json").write_text(f'{{"eos_token_id": {ends}}}')
        merge(tmp_path / "out", tmp_path / "merged")
        assert json.loads((tmp_path / "merged" / "generation_config.json").read_text())["eos_token_id"] == expected


def test_base_that_is_replaced_in_place_is_noticed(room: Path, tmp_path: Path) -> None:
    base = in_dtype(room, tmp_path / "base", torch.float32)
    run(room, tmp_path / "out", base, max_steps=1)
    in_dtype(room, tmp_path / "base", torch.bfloat16)
    with pytest.raises(InputError, match="other weights are there now"):
        merge(tmp_path / "out", tmp_path / "merged")
    with pytest.raises(InputError, match=r"other settings \(base_revision\)"):
        run(room, tmp_path / "out", base, max_steps=1)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(InputError, match="It was a folder: run this where the adapter was trained"):
        merge(tmp_path / "out", tmp_path / "merged")


def test_run_may_save_and_log_at_other_steps_when_it_goes_on(room: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_strategy": "steps", "max_steps": 4}
    run(room, tmp_path / "out", save_steps=2, **settings)
    whole = load_file(tmp_path / "out" / "adapter_model.safetensors")
    log = json.loads((tmp_path / "out" / "training.json").read_text())
    (tmp_path / "out" / "training.json").write_text(json.dumps(log | {"finished": False}))
    shutil.rmtree(tmp_path / "out" / "checkpoint-4")
    run(room, tmp_path / "out", save_steps=3, logging_steps=2, **settings)
    again = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
    assert (tmp_path / "out" / "checkpoint-3" / "manifest.json").is_file()


def test_missing_checkpoint_is_named_before_any_data_is_read(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "load_mixture", None)
    with pytest.raises(InputError, match=r"nowhere: it has no manifest\.json"):
        run(room, tmp_path / "out", resume_from_checkpoint="nowhere")
