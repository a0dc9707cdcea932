"""The script trains LoRA and projector and nothing else, on the answers and nothing else, and can be done again."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file
from tiny_llava import make_tiny_llava
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from cadvi_hub.errors import InputError
from cadvi_hub.images import encode_png
from cadvi_hub.schema import instruct_features, message
from cadvi_hub.training import sft
from cadvi_hub.training.models import TEMPLATES
from cadvi_hub.training.settings import DataArguments, TuningConfig, TuningModel

COLOURS = ("red", "green", "blue", "white")


def row(index: int) -> dict[str, Any]:
    """Text only, one image or two images, by `index`; rows with two have two turns."""
    images, colour = index % 3, COLOURS[index % 4]
    turns = [
        message("user", "<image>" * images + f"What is {colour}?"),
        message("assistant", f"Differences: {colour}."),
    ]
    if images == 2:
        turns += [message("user", "Which image suits the caption better?"), message("assistant", "Image 1")]
    picture = {"bytes": encode_png(Image.new("RGB", (40, 32), colour)), "path": None}
    return {"id": str(index), "images": [picture] * images, "messages": turns, "source": "drawn"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model and a data set of one configuration."""
    folder = tmp_path_factory.mktemp("room")
    base = make_tiny_llava(folder / "base")
    processor = AutoProcessor.from_pretrained(base)
    processor.chat_template = (TEMPLATES / "cadvi.jinja").read_text()
    processor.save_pretrained(base)
    (folder / "v1").mkdir()
    rows = Dataset.from_list([row(index) for index in range(24)], features=instruct_features())
    rows.to_parquet(str(folder / "v1" / "train-00000-of-00001.parquet"))
    return folder


def run(room: Path, out: Path, model: Mapping[str, Any] | None = None, **changed: Any) -> Path:
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "projector_lr": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 7,
    } | changed
    model_args = {"model_name_or_path": str(room / "base"), "lora_r": 4, "lora_alpha": 8, **(model or {})}
    data = DataArguments({"v1": {"path": str(room), "config": "v1"}}, max_tokens=200)
    return sft.train(data, TuningConfig(**settings), TuningModel(**model_args))


def curve(out: Path) -> list[tuple[int, float]]:
    log = json.loads((out / "training.json").read_text())
    return [(entry["step"], entry["loss"]) for entry in log["curve"]]


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    assert run(room, out, save_strategy="steps", save_steps=2) == out / "merged"
    return out


def test_only_language_model_and_projector_change(room: Path, trained: Path) -> None:
    before = AutoModelForImageTextToText.from_pretrained(room / "base").state_dict()
    after = AutoModelForImageTextToText.from_pretrained(trained / "merged").state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any("vision_tower" in name for name in changed)
    assert {name for name in before if "multi_modal_projector" in name} <= changed
    others = {name for name in changed if "multi_modal_projector" not in name}
    linear = {name for name in before if "language_model.layers" in name and name.endswith("_proj.weight")}
    assert others == linear


def test_labels_are_the_answers_of_both_turns_with_their_end_tokens(room: Path) -> None:
    processor = AutoProcessor.from_pretrained(room / "base")
    pictures = [Image.new("RGB", (40, 32), colour) for colour in COLOURS[:2]]
    rows = [{**row(index), "images": pictures[: index % 3]} for index in (2, 0, 1)]
    batch = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)(rows)
    learned = [processor.tokenizer.decode(labels[labels != -100]) for labels in batch["labels"]]
    assert learned == [
        "Differences: blue.<|end|>Image 1<|end|>",
        "Differences: red.<|end|>",
        "Differences: green.<|end|>",
    ]
    assert batch["pixel_values"].shape[0] == 3


def test_log_has_settings_rows_and_the_loss_curve(trained: Path) -> None:
    log = json.loads((trained / "training.json").read_text())
    assert list(log) == ["finished", "settings", "rows", "dropped", "steps", "wall_seconds", "curve"]
    assert (log["finished"], log["steps"], log["rows"]) == (True, 4, {"v1": 24})
    assert log["dropped"] == {"v1": {"longer than 200 tokens": 0}}
    assert (log["settings"]["learning_rate"], log["settings"]["lora_r"], log["settings"]["seed"]) == (1e-2, 4, 7)
    assert [entry["step"] for entry in log["curve"]] == [1, 2, 3, 4]
    assert log["curve"][-1]["loss"] < log["curve"][0]["loss"]
    assert log["wall_seconds"] > 0


def test_folder_holds_adapter_processor_and_no_pickle(trained: Path) -> None:
    assert {"adapter_model.safetensors", "adapter_config.json", "processor_config.json"} <= {
        file.name for file in trained.iterdir()
    }
    assert not [file for folder in (trained, trained / "merged") for file in folder.glob("*.bin")]
    assert AutoProcessor.from_pretrained(trained / "merged").chat_template == (TEMPLATES / "cadvi.jinja").read_text()


def test_same_seed_gives_the_same_weights_and_another_seed_others(room: Path, trained: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "again")
    run(room, tmp_path / "other", seed=8)
    first, again, other = (
        load_file(folder / "adapter_model.safetensors") for folder in (trained, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert curve(tmp_path / "again") == curve(trained)


def test_resumed_run_ends_as_the_uninterrupted_one(room: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    shutil.copytree(trained / "checkpoint-2", out / "checkpoint-2")
    (out / "checkpoint-3").mkdir()  # a checkpoint cut off by a kill has no trainer state yet
    run(room, out, save_strategy="steps", save_steps=2, resume_from_checkpoint="true")
    assert curve(out) == curve(trained)
    first, resumed = (load_file(folder / "adapter_model.safetensors") for folder in (trained, out))
    assert all(torch.equal(first[name], resumed[name]) for name in first)


def test_resume_without_a_checkpoint_starts_from_the_beginning(room: Path, trained: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "run", resume_from_checkpoint="true")
    assert curve(tmp_path / "run") == curve(trained)


def test_projector_and_lora_follow_their_own_rates(room: Path, tmp_path: Path) -> None:
    before = AutoModelForImageTextToText.from_pretrained(room / "base").state_dict()

    def changed(**rates: float) -> set[str]:
        merged = run(room, tmp_path / "-".join(rates), max_steps=2, weight_decay=0.1, **rates)
        after = AutoModelForImageTextToText.from_pretrained(merged).state_dict()
        return {name for name in before if not torch.equal(before[name], after[name])}

    assert all("language_model" in name for name in changed(projector_lr=0.0))
    assert all("multi_modal_projector" in name for name in changed(learning_rate=0.0))
    assert not changed(projector_lr=0.0, learning_rate=0.0)


def test_group_by_length_sees_the_lengths(room: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "run", train_sampling_strategy="group_by_length", max_steps=2)
    assert len(curve(tmp_path / "run")) == 2


def test_chat_template_is_found_by_name_and_one_that_does_not_fit_is_refused(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "base", tmp_path / "base", ignore=shutil.ignore_patterns("chat_template.jinja"))
    settings = {"model": {"model_name_or_path": str(tmp_path / "base")}, "max_steps": 1}
    merged = run(room, tmp_path / "run", chat_template_path="cadvi.jinja", **settings)
    assert AutoProcessor.from_pretrained(merged).chat_template == (TEMPLATES / "cadvi.jinja").read_text()
    with pytest.raises(InputError, match="does not mark the answers"):
        run(room, tmp_path / "none", **settings)
    with pytest.raises(InputError, match="an end token that its tokenizer knows"):
        run(room, tmp_path / "none", chat_template_path="llava.jinja", **settings)
    with pytest.raises(InputError, match=r"cadvi\.jinja, llava\.jinja"):
        run(room, tmp_path / "none", chat_template_path="none.jinja")


def test_output_folder_of_other_settings_is_refused(room: Path, trained: Path) -> None:
    with pytest.raises(InputError, match=r"other settings \(max_steps, save_steps, save_strategy, seed\)"):
        run(room, trained, max_steps=3, seed=8)


def test_lora_on_the_vision_tower_is_refused_and_the_folder_stays_free(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must not"):
        run(room, tmp_path / "out", model={"lora_target_modules": ["q_proj", "v_proj"]})
    run(room, tmp_path / "out", max_steps=1)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["finished"]


def test_output_folder_that_cannot_be_written_is_refused(room: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be used"):
        run(room, tmp_path / "file")


def test_adapter_as_base_and_base_without_projector_are_refused(room: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is an adapter"):
        run(room, tmp_path / "out", model={"model_name_or_path": str(trained)})
    text_only = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(text_only).save_pretrained(tmp_path / "llama")
    with pytest.raises(InputError, match="does not load as a vision-language model"):
        run(room, tmp_path / "out", model={"model_name_or_path": str(tmp_path / "llama")})
    with pytest.raises(InputError, match="does not load"):
        run(room, tmp_path / "out", model={"model_name_or_path": str(tmp_path / "none")})


def test_command_reports_bad_input_without_a_traceback(room: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: {room / 'base'}\noutput_dir: {tmp_path / 'out'}\nuse_cpu: true\nbf16: false\n"
    )
    with pytest.raises(SystemExit, match="error: mixture: no source is named"):
        sft.main(["--config", str(recipe)])


def test_adapter_is_pushed_to_the_hub_without_pickle(hub: Any, room: Path, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    run(room, tmp_path / "run", push_to_hub=True, hub_model_id="tester/cad-tiny", max_steps=1)
    files = HfApi().list_repo_files("tester/cad-tiny")
    assert {"adapter_config.json", "adapter_model.safetensors", "processor_config.json"} <= set(files)
    assert not [file for file in files if file.endswith(".bin")]
