"""The script trains LoRA and projector and nothing else, on the answers and nothing else, and can be done again."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from cadvi_hub import compare_images
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.hub.publish import publish_model
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.training import recipe_checks, sft
from cadvi_hub.training.models import TEMPLATES
from cadvi_hub.training.rendering import MARKED
from tests.support.tunings import COLOURS, curve, make_room, row, run


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"))


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
    keys = ["finished", "settings", "rows", "dropped", "cut", "steps", "wall_seconds", "curve", "files"]
    assert list(log) == keys
    assert {"adapter_model.safetensors", "merged/model.safetensors"} <= set(log["files"])
    assert (log["finished"], log["steps"], log["rows"]) == (True, 4, {"v1": 24})
    assert log["dropped"] == {"v1": {"images and question leave no room in 200 tokens": 0, MARKED: 0}}
    assert log["cut"] == {"v1": {"later turns": 0, "end of an answer": 0}}
    assert (log["settings"]["learning_rate"], log["settings"]["lora_r"], log["settings"]["seed"]) == (1e-2, 4, 7)
    assert [entry["step"] for entry in log["curve"]] == [1, 2, 3, 4]
    assert log["curve"][-1]["loss"] < log["curve"][0]["loss"]
    assert log["wall_seconds"] > 0
    assert log["settings"]["data_revisions"]["v1"].startswith("sha256:")
    assert log["settings"]["base_revision"].startswith("sha256:")


def test_log_tells_what_the_steps_cost(trained: Path) -> None:
    log = json.loads((trained / "training.json").read_text())
    state = json.loads((trained / "checkpoint-4" / "trainer_state.json").read_text())
    assert [entry for entry in state["log_history"] if "loss" in entry] == log["curve"]
    assert all(entry["tokens_per_second"] > 0 for entry in log["curve"])
    assert all(0 < entry["padding_share"] < 0.7 for entry in log["curve"])
    assert 0.1 < log["curve"][0]["peak_memory_gib"] <= log["curve"][-1]["peak_memory_gib"] < 100


def test_folder_holds_adapter_processor_and_no_pickle(trained: Path) -> None:
    assert {"adapter_model.safetensors", "adapter_config.json", "processor_config.json"} <= {
        file.name for file in trained.iterdir()
    }
    assert not [file for folder in (trained, trained / "merged") for file in folder.glob("*.bin")]
    assert AutoProcessor.from_pretrained(trained / "merged").chat_template == (TEMPLATES / "cadvi.jinja").read_text()


def test_the_cards_in_the_folder_are_ours_and_their_code_answers_as_cadvi_ask(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("left.jpg", "red"), ("right.jpg", "blue")):
        Image.new("RGB", (40, 32), colour).save(name)
    answer = compare_images("left.jpg", "right.jpg", model=str(trained / "merged"))
    for folder in (trained, trained / "merged"):
        card = (folder / "README.md").read_text("utf-8")
        assert "cadvi ask left.jpg right.jpg" in card
        assert "| v1 |" in card  # the training's data
        capsys.readouterr()
        exec("".join(re.findall(r"^```python\n(.*?)^```", card, re.M | re.S)), {})  # noqa: S102
        assert capsys.readouterr().out.strip() == answer


def test_same_seed_gives_the_same_weights_and_another_seed_others(room: Path, trained: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "again")
    run(room, tmp_path / "other", seed=8)
    first, again, other = (
        load_file(folder / "adapter_model.safetensors") for folder in (trained, tmp_path / "again", tmp_path / "other")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert curve(tmp_path / "again") == curve(trained)


def test_projector_and_lora_follow_their_own_rates(room: Path, tmp_path: Path) -> None:
    before = AutoModelForImageTextToText.from_pretrained(room / "base").state_dict()

    def changed(**rates: Any) -> set[str]:
        merged = run(room, tmp_path / "-".join(rates), max_steps=2, weight_decay=0.1, **rates)
        after = AutoModelForImageTextToText.from_pretrained(merged).state_dict()
        return {name for name in before if not torch.equal(before[name], after[name])}

    assert all("language_model" in name for name in changed(projector_lr=0.0))
    assert all("multi_modal_projector" in name for name in changed(learning_rate=0.0))
    assert not changed(projector_lr=0.0, learning_rate=0.0)


def test_group_by_length_sees_the_lengths(room: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "run", train_sampling_strategy="group_by_length", max_steps=2)
    assert len(curve(tmp_path / "run")) == 2


@pytest.mark.parametrize("strategy", ["random", "group_by_length", "llava"])
def test_rows_of_no_image_up_to_five_train_together(tmp_path: Path, strategy: str) -> None:
    room = make_room(tmp_path / "room", rows=6)
    rows = [row(1) for _ in range(12)]
    for images, many in zip([0, 1, 2, 3, 4, 5] * 2, rows, strict=True):
        many["images"] *= images
        many["messages"][0] = message("user", "<image>" * images + "What is red?")
    Dataset.from_list(rows, features=instruct_features()).to_parquet(str(room / "v1/train-00000-of-00001.parquet"))
    run(room, tmp_path / "out", train_sampling_strategy=strategy)
    log = json.loads((tmp_path / "out/training.json").read_text())
    assert (log["rows"], log["steps"]) == ({"v1": 12}, 4)
    assert not any(log["dropped"]["v1"].values())


def test_chat_template_is_found_by_name_and_one_that_does_not_fit_is_refused(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "base", tmp_path / "base", ignore=shutil.ignore_patterns("chat_template.jinja"))
    settings: dict[str, Any] = {"model": {"model_name_or_path": str(tmp_path / "base")}, "max_steps": 1}
    merged = run(room, tmp_path / "run", chat_template_path="cadvi.jinja", **settings)
    assert AutoProcessor.from_pretrained(merged).chat_template == (TEMPLATES / "cadvi.jinja").read_text()
    with pytest.raises(InputError, match="does not mark the answers"):
        run(room, tmp_path / "none", **settings)
    with pytest.raises(InputError, match="an end token that its tokenizer knows"):
        run(room, tmp_path / "none", chat_template_path="llava.jinja", **settings)
    with pytest.raises(InputError, match=r"cadvi\.jinja, llava\.jinja"):
        run(room, tmp_path / "none", chat_template_path="none.jinja")


def test_lora_on_the_vision_tower_is_refused_and_the_folder_stays_free(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must not"):
        run(room, tmp_path / "out", model={"lora_target_modules": ["q_proj", "v_proj"]})
    run(room, tmp_path / "out", max_steps=1)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["finished"]


def test_output_folder_that_cannot_be_written_is_refused(room: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file: cannot be written \("):
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
    with pytest.raises(InputError, match=r"model '.*none': it is not a folder, and the Hub does not give its commit"):
        run(room, tmp_path / "out", model={"model_name_or_path": str(tmp_path / "none")})


def test_curve_stays_where_the_merged_model_fails_its_proof(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*folders: Path, **options: Any) -> None:
        raise RuntimeError("the saved model differs")

    monkeypatch.setattr(sft, "merge", fail)
    with pytest.raises(RuntimeError, match="differs"):
        run(room, tmp_path / "run", max_steps=1)
    assert len(curve(tmp_path / "run")) == 1
    assert not json.loads((tmp_path / "run" / "training.json").read_text())["finished"]


def test_command_reports_bad_input_without_a_traceback(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: {room / 'base'}\noutput_dir: {tmp_path / 'out'}\nuse_cpu: true\nbf16: false\n"
    )
    with pytest.raises(SystemExit, match="training: mixture: no source is named"):
        sft.main(["--config", str(recipe)])
    monkeypatch.setattr(sys, "argv", ["sft.py", "--config", str(recipe)])
    with pytest.raises(SystemExit, match="training: mixture: no source is named"):
        runpy.run_path(str(Path(__file__).parents[2] / "training" / "sft.py"), run_name="__main__")


def test_adapter_is_pushed_with_card_and_the_commits_of_base_and_data(hub: Any, room: Path, tmp_path: Path) -> None:
    from huggingface_hub import HfApi, ModelCard, hf_hub_download

    base = publish_model(PublishSettings(room / "base", "tester/tiny-base", "model")).commit
    rows = Dataset.from_parquet(str(room / "v1" / "*.parquet"))
    data = rows.push_to_hub("tester/cad", "v1").oid
    run(
        room,
        tmp_path / "run",
        {"model_name_or_path": "tester/tiny-base"},
        {"v1": {"path": "tester/cad", "config": "v1"}},
        push_to_hub=True,
        hub_model_id="tester/cad-tiny",
        max_steps=1,
    )
    files = HfApi().list_repo_files("tester/cad-tiny")
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "processor_config.json"} <= set(files)
    assert not [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
    card = ModelCard.load("tester/cad-tiny")
    assert (card.data.base_model, card.data.datasets) == ("tester/tiny-base", ["tester/cad"])
    assert f"`tester/tiny-base` at revision {base}." in card.text
    assert f"| v1 | tester/cad, v1 | {data} | 24 | nothing |" in card.text
    assert str(tmp_path) not in card.content
    adapter = json.loads(Path(hf_hub_download("tester/cad-tiny", "adapter_config.json")).read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("tester/tiny-base", base)


@pytest.mark.parametrize(
    ("model", "changed", "problem"),
    [
        ({}, {"push_to_hub": True, "hub_model_id": "tester/x"}, "needs its base on the Hub"),
        ({}, {"push_to_hub": True}, "hub_model_id"),
        ({}, {"push_to_hub": True, "hub_model_id": "tester/x", "hub_strategy": "checkpoint"}, "hub_strategy"),
        ({"load_in_4bit": True}, {}, "bitsandbytes, which does the quantization, is not installed"),
        ({}, {"use_cpu": False}, "needs a GPU, and there is none"),
        ({}, {"use_cpu": False, "bf16": True}, "needs a GPU, and there is none"),
    ],
)
def test_setting_that_cannot_work_here_is_refused(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, changed: Any, problem: str
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(recipe_checks, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=problem):
        run(room, tmp_path / "out", model, **changed)
    assert not (tmp_path / "out").exists()
