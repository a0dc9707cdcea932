"""Preference pairs train as the rows of the other methods do; pairs of equal answers are refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.training.preference import PreferenceCollator
from tests.support.tunings import curve, make_pairs, pair, run, tiny_processor

PAIRS: dict[str, Any] = {"method": "dpo", "save_strategy": "steps", "save_steps": 2}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("room"), [pair(index) for index in range(16)])


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(room, out, **PAIRS) == out / "merged"
    return out


def test_a_preference_training_starts_at_log_two_and_learns_to_prefer(trained: Path) -> None:
    log = json.loads((trained / "training.json").read_text())
    assert log["settings"]["method"] == "dpo"
    assert log["rows"] == {"v1": 16}
    assert curve(trained)[0][1] == pytest.approx(math.log(2), abs=1e-3)  # no preference yet
    assert log["curve"][-1]["rewards/margins"] > log["curve"][0]["rewards/margins"]
    assert log["curve"][-1]["loss"] < log["curve"][0]["loss"]
    assert {"tokens_per_second", "padding_share", "peak_memory_gib"} <= set(log["curve"][0])


def test_the_projector_keeps_its_weights_unless_it_gets_a_rate(room: Path, trained: Path, tmp_path: Path) -> None:
    def projector(folder: Path) -> dict[str, torch.Tensor]:
        weights = AutoModelForImageTextToText.from_pretrained(folder).state_dict()
        return {name: weight for name, weight in weights.items() if "multi_modal_projector" in name}

    before = projector(room / "base")
    run(room, tmp_path / "still", method="dpo", max_steps=1, projector_lr=0.0)
    assert all(torch.equal(weight, before[name]) for name, weight in projector(tmp_path / "still/merged").items())
    assert any(not torch.equal(weight, before[name]) for name, weight in projector(trained / "merged").items())


def test_a_stopped_run_ends_with_the_same_weights(room: Path, trained: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "run", **PAIRS, max_steps=2)
    settings = json.loads((tmp_path / "run/training.json").read_text())["settings"]
    (tmp_path / "run/training.json").write_text(
        json.dumps({"finished": False, "settings": settings | {"max_steps": 4}})
    )
    run(room, tmp_path / "run", **PAIRS)
    whole, resumed = (load_file(folder / "adapter_model.safetensors") for folder in (trained, tmp_path / "run"))
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
    assert curve(tmp_path / "run") == curve(trained)


def test_a_pair_of_equal_answers_is_refused_with_its_row(tmp_path: Path) -> None:
    pairs = [pair(index) for index in range(4)]
    pairs[2]["rejected"] = pairs[2]["chosen"]
    room = make_pairs(tmp_path / "room", pairs)
    with pytest.raises(InputError, match="row 2: its chosen and its rejected answer are equal"):
        run(room, tmp_path / "out", method="dpo")


def test_rows_of_another_method_are_refused_by_their_columns(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column messages"):
        run(room, tmp_path / "out")
    with pytest.raises(InputError, match="dpo checks every row"):
        run(room, tmp_path / "out", method="dpo", streaming=True)


def test_a_setting_that_trl_refuses_is_one_line(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="precompute_ref_log_probs"):
        run(room, tmp_path / "out", method="dpo", precompute_ref_log_probs=True)


def test_a_pair_that_is_too_long_is_dropped_and_counted(tmp_path: Path) -> None:
    pairs = [pair(index) for index in range(8)]
    pairs[5]["rejected"] = [message("assistant", "long " * 200)]
    room = make_pairs(tmp_path / "room", pairs)
    run(room, tmp_path / "out", method="dpo", max_steps=1)
    log = json.loads((tmp_path / "out/training.json").read_text())
    assert log["rows"] == {"v1": 7}
    assert log["dropped"]["v1"]["images, question and one of the answers do not fit into 200 tokens"] == 1


def test_a_batch_has_both_answers_of_a_pair_and_marks_them_alone(room: Path, tmp_path: Path) -> None:
    rows = load_dataset("parquet", data_files=str(room / "v1/*.parquet"), split="train").select([0, 1])
    processor = tiny_processor(tmp_path)
    batch = PreferenceCollator(processor)(list(rows))
    texts = [
        processor.tokenizer.decode(ids[mask == 1])
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    assert texts == [
        "Image 1 is red, Image 2 is green.<|end|>",
        "Image 1 is green, Image 2 is blue.<|end|>",
        "Image 1 is green, Image 2 is red.<|end|>",
        "Image 1 is blue, Image 2 is green.<|end|>",
    ]
    assert batch["pixel_values"].shape[0] == 8
    assert "labels" not in batch


def test_an_answer_in_the_prompt_is_not_marked(tmp_path: Path) -> None:
    processor = tiny_processor(tmp_path)
    earlier = [message("user", "<image>Hello?"), message("assistant", "Hello."), message("user", "And?")]
    answers = {"chosen": [message("assistant", "Yes.")], "rejected": [message("assistant", "No.")]}
    batch = PreferenceCollator(processor)([{"images": [Image.new("RGB", (9, 9))], "prompt": earlier, **answers}])
    marked = [
        processor.tokenizer.decode(ids[mask == 1])
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    assert marked == ["Yes.<|end|>", "No.<|end|>"]
