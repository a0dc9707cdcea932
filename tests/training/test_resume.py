"""A training that was stopped goes on as if nothing had happened, whatever stopped it."""

import errno
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


def test_resumed_run_ends_as_the_uninterrupted_one(room: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    shutil.copytree(trained / "checkpoint-2", out / "checkpoint-2")
    shutil.copy(trained / "training.json", out)
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


def test_checkpoint_whose_state_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, "{}"), (4, '{"global_step": 4}'), (10, '{"global_'), (12, "")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-14").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")


def test_checkpoint_loads_without_running_pickled_code(trained: Path) -> None:
    files = sorted(file for file in (trained / "checkpoint-2").iterdir() if file.suffix in (".pt", ".pth", ".bin"))
    assert [file.name for file in files] == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]
    with safe_globals():
        assert all(torch.load(file, weights_only=True) for file in files)


def test_grouped_run_resumes_in_its_second_epoch_as_if_undisturbed(room: Path, tmp_path: Path) -> None:
    settings = SAVING | {"train_sampling_strategy": "group_by_length", "max_steps": 10, "save_steps": 8}
    run(room, tmp_path / "whole", **settings)  # an epoch has six steps
    shutil.copytree(tmp_path / "whole" / "checkpoint-8", tmp_path / "stopped" / "checkpoint-8")
    run(room, tmp_path / "stopped", **settings)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


@pytest.mark.parametrize("sampling", ["group_by_length", "random"])
def test_streamed_run_resumes_in_its_second_epoch_as_if_undisturbed(room: Path, tmp_path: Path, sampling: str) -> None:
    settings = SAVING | {"train_sampling_strategy": sampling, "max_steps": 8, "gradient_accumulation_steps": 2}
    run(room, tmp_path / "whole", streaming=True, **settings)  # an epoch has three steps
    shutil.copytree(tmp_path / "whole" / "checkpoint-4", tmp_path / "stopped" / "checkpoint-4")
    shutil.copy(tmp_path / "whole" / "training.json", tmp_path / "stopped")
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
    with pytest.raises(InputError, match=r"other settings \(max_steps, save_steps, save_strategy, seed\)"):
        run(room, trained, max_steps=3, seed=8)
