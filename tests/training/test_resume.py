"""A training that was stopped goes on as if nothing had happened, whatever stopped it."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.trainer_pt_utils import safe_globals

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.runs import last_checkpoint
from tests.support.tunings import curve, make_room, run

SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "resume_from_checkpoint": "true"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    run(room, out, **SAVING)
    return out


def copy_log(whole: Path, stopped: Path) -> None:
    """The record of a run, as a kill before its end leaves it."""
    settings = json.loads((whole / "training.json").read_text())["settings"]
    (stopped / "training.json").write_text(json.dumps({"finished": False, "settings": settings}))


def test_resumed_run_ends_as_the_uninterrupted_one(room: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    shutil.copytree(trained / "checkpoint-2", out / "checkpoint-2")
    copy_log(trained, out)
    (out / "checkpoint-3").mkdir()  # a checkpoint cut off by a kill has no trainer state yet
    run(room, out, **SAVING, dataloader_num_workers=1, run_name="again")  # how it reads and what it shows may change
    assert curve(out) == curve(trained)
    first, resumed = (load_file(folder / "adapter_model.safetensors") for folder in (trained, out))
    assert all(torch.equal(first[name], resumed[name]) for name in first)


def test_full_disk_at_a_checkpoint_keeps_the_last_good_one(
    room: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = torch.save, []

    def fill_up(state: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        saved.append(file)
        if "checkpoint-4" in str(file):
            Path(file).write_bytes(b"torn")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        save(state, file, *args, **kwargs)

    settings: dict[str, Any] = {**SAVING, "save_total_limit": 1}
    monkeypatch.setattr(torch, "save", fill_up)
    with pytest.raises(OSError, match="No space left"):
        run(room, tmp_path / "run", **settings)
    monkeypatch.undo()
    assert any("checkpoint-4" in str(file) for file in saved)
    assert last_checkpoint(tmp_path / "run") == str(tmp_path / "run" / "checkpoint-2")
    run(room, tmp_path / "run", **settings)
    assert curve(tmp_path / "run") == curve(trained)
    assert [folder.name for folder in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-4"]


def test_every_damaged_checkpoint_is_passed_over_and_named(trained: Path, tmp_path: Path, caplog: Any) -> None:
    run_folder = tmp_path / "run"
    for step in (2, 4):
        shutil.copytree(trained / f"checkpoint-{step}", run_folder / f"checkpoint-{step}")
    (run_folder / "checkpoint-best").mkdir()
    (run_folder / "checkpoint-14").mkdir()
    newest, older = (str(run_folder / f"checkpoint-{step}") for step in (4, 2))
    assert last_checkpoint(run_folder) == newest
    names = [file.name for file in Path(newest).iterdir()]
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "manifest.json"} <= set(names)
    for name in names:
        file = Path(newest, name)
        content = file.read_bytes()
        middle = len(content) // 2
        damages = (None, b"", content[:middle], content[:middle] + b"?" + content[middle + 1 :])
        for damaged in damages:
            file.unlink()
            if damaged is not None:
                file.write_bytes(damaged)
            caplog.clear()
            assert last_checkpoint(run_folder) == older, f"{name}: {damaged and len(damaged)}"
            assert f"{newest} is passed over: " in caplog.text
            assert name in caplog.text
            file.write_bytes(content)
    assert last_checkpoint(run_folder) == newest


def test_a_named_checkpoint_that_is_damaged_is_refused(room: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "checkpoint-2", tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-2/optimizer.pt").unlink()
    with pytest.raises(InputError, match=r"checkpoint-2: optimizer\.pt is missing"):
        run(room, tmp_path / "run", resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_run_at_its_budget_takes_no_step(room: Path, tmp_path: Path, streaming: bool) -> None:
    settings: dict[str, Any] = {
        "save_strategy": "steps",
        "save_steps": 2,
        "streaming": streaming,
    }  # resumes by default
    out = tmp_path / "run"
    run(room, out, **settings)
    weights, before = load_file(out / "adapter_model.safetensors"), curve(out)
    assert [step for step, _ in before] == [1, 2, 3, 4]
    log = json.loads((out / "training.json").read_text())
    # As a kill during the merge leaves it.
    (out / "training.json").write_text(json.dumps({**log, "finished": False, "files": {}}))
    shutil.rmtree(out / "merged")
    run(room, out, **settings)
    assert curve(out) == before
    again = load_file(out / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert (out / "merged/model.safetensors").is_file()
    assert not (out / "checkpoint-5").exists()


def test_a_finished_run_is_left_alone(room: Path, trained: Path, caplog: Any) -> None:
    before = {file: file.stat().st_mtime_ns for file in trained.rglob("*")}
    for resume in ("true", "false", str(trained / "checkpoint-2")):
        assert run(room, trained, **SAVING | {"resume_from_checkpoint": resume}) == trained / "merged"
    assert caplog.text.count("this run is already finished; nothing is changed") == 3
    assert {file: file.stat().st_mtime_ns for file in trained.rglob("*")} == before


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "merged/model.safetensors"])
def test_a_finished_model_that_is_damaged_is_named(room: Path, trained: Path, name: str) -> None:
    content = (trained / name).read_bytes()
    (trained / name).write_bytes(content[:-1])
    try:
        with pytest.raises(InputError, match=rf"the finished model is damaged: {name} has"):
            run(room, trained, **SAVING)
    finally:
        (trained / name).write_bytes(content)


def test_checkpoint_loads_without_running_pickled_code(trained: Path) -> None:
    files = sorted(file for file in (trained / "checkpoint-2").iterdir() if file.suffix in (".pt", ".pth", ".bin"))
    assert [file.name for file in files] == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]
    with safe_globals():
        assert all(torch.load(file, weights_only=True) for file in files)


def test_grouped_run_resumes_in_its_second_epoch_as_if_undisturbed(room: Path, tmp_path: Path) -> None:
    settings = SAVING | {"train_sampling_strategy": "group_by_length", "max_steps": 10, "save_steps": 8}
    run(room, tmp_path / "whole", **settings)  # an epoch has six steps
    shutil.copytree(tmp_path / "whole" / "checkpoint-8", tmp_path / "stopped" / "checkpoint-8")
    copy_log(tmp_path / "whole", tmp_path / "stopped")
    run(room, tmp_path / "stopped", **settings)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


@pytest.mark.parametrize("sampling", ["group_by_length", "random"])
def test_streamed_run_resumes_in_its_second_epoch_as_if_undisturbed(room: Path, tmp_path: Path, sampling: str) -> None:
    settings = SAVING | {"train_sampling_strategy": sampling, "max_steps": 8, "gradient_accumulation_steps": 2}
    run(room, tmp_path / "whole", streaming=True, **settings)  # an epoch has three steps
    shutil.copytree(tmp_path / "whole" / "checkpoint-4", tmp_path / "stopped" / "checkpoint-4")
    copy_log(tmp_path / "whole", tmp_path / "stopped")
    workers: dict[str, Any] = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    run(room, tmp_path / "stopped", streaming=True, **workers, **settings)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")
    with pytest.raises(InputError, match=r"other settings \(streaming\)"):
        run(room, tmp_path / "whole", **settings)


def test_data_that_changed_since_the_checkpoint_are_refused(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "v1", tmp_path / "v1")
    (tmp_path / "base").symlink_to(room / "base")
    settings = SAVING | {"save_steps": 1, "max_steps": 1}
    run(tmp_path, tmp_path / "run", **settings)
    (tmp_path / "v1" / "build.json").write_text("{}")
    with pytest.raises(InputError, match=r"other settings \(data_revisions\)"):
        run(tmp_path, tmp_path / "run", **settings)


def test_resume_without_a_checkpoint_starts_from_the_beginning(room: Path, trained: Path, tmp_path: Path) -> None:
    run(room, tmp_path / "run", resume_from_checkpoint="true")
    assert curve(tmp_path / "run") == curve(trained)


def test_output_folder_of_other_settings_is_refused(room: Path, trained: Path) -> None:
    with pytest.raises(InputError, match=r"other settings \(max_steps, seed\)"):
        run(room, trained, max_steps=3, seed=8)
