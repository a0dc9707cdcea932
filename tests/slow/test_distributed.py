"""Two processes on gloo train as one does, and a killed training goes on exactly where it stood."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file
from tunings import make_room

from cadvi_hub.training.runs import last_checkpoint

pytestmark = pytest.mark.slow

FSDP_ON_CPU = Path(__file__).with_name("fsdp_on_cpu.py")
# As TRL's fsdp2.yaml sets them, through the variables that `accelerate launch` makes of it.
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
}
STEPS, GLOBAL_BATCH = 10, 8


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"), rows=48)  # 16 of each kind: an epoch is six whole steps


def launch(room: Path, out: Path, processes: int, **changed: Any) -> list[subprocess.Popen]:
    recipe = {
        "model_name_or_path": str(room / "base"),
        "mixture": {"v1": {"path": str(room), "config": "v1"}},
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "per_device_train_batch_size": GLOBAL_BATCH // processes,
        "train_sampling_strategy": "group_by_length",
        "max_steps": STEPS,
        "learning_rate": 1e-2,
        "projector_lr": 1e-3,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 4,
        "resume_from_checkpoint": "true",
        "report_to": "none",
        "disable_tqdm": True,
    }
    sharded = changed.pop("sharded", False)
    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(recipe | changed))
    script = [str(FSDP_ON_CPU)] if sharded else ["-m", "cadvi_hub.training.sft"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"} | (FSDP if sharded else {})
    with (out.parent / f"{out.name}.log").open("a") as log:
        started = []
        for rank in range(processes):
            if processes > 1:  # what torchrun sets
                names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
                names |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes}
                surroundings |= {name: str(value) for name, value in names.items()}
            command = [sys.executable, *script, "--config", str(file)]
            started.append(subprocess.Popen(command, env=surroundings, stdout=log, stderr=log))
    return started


def finish(started: list[subprocess.Popen], out: Path) -> list[dict[str, Any]]:
    """The loss curve of a training that has ended well."""
    assert [process.wait(timeout=600) for process in started] == [0] * len(started), log_of(out)
    return json.loads((out / "training.json").read_text())["curve"]


def log_of(out: Path) -> str:
    return (out.parent / f"{out.name}.log").read_text()[-4000:]


def losses(curve: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in curve]


@pytest.fixture(scope="module")
def alone(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    assert len(finish(launch(room, out, 1), out)) == STEPS
    return out


@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp"])
def test_two_processes_give_the_loss_curve_and_the_adapter_of_one(
    room: Path, alone: Path, tmp_path: Path, sharded: bool
) -> None:
    curve = finish(launch(room, tmp_path / "run", 2, sharded=sharded), tmp_path / "run")
    expected = json.loads((alone / "training.json").read_text())["curve"]
    assert losses(curve) == pytest.approx(losses(expected), rel=1e-4)
    assert [entry["num_tokens"] for entry in curve] == [entry["num_tokens"] for entry in expected]
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (alone, tmp_path / "run"))
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 2e-3


@pytest.mark.parametrize(("processes", "sharded"), [(1, False), (2, False), (2, True)], ids=["one", "ddp", "fsdp"])
def test_killed_training_goes_on_exactly_where_it_stood(
    room: Path, tmp_path: Path, processes: int, sharded: bool
) -> None:
    settings = {"sharded": sharded, "lora_dropout": 0.1}
    undisturbed = finish(launch(room, tmp_path / "whole", processes, **settings), tmp_path / "whole")
    out = tmp_path / "killed"
    started = launch(room, out, processes, **settings)
    while not (out / "checkpoint-8" / "trainer_state.json").exists():  # in the second epoch
        assert [process.poll() for process in started] == [None] * processes, log_of(out)
        time.sleep(0.01)
    for process in started:
        process.kill()
        process.wait()
    checkpoint = last_checkpoint(out)
    assert checkpoint is not None
    assert not json.loads((out / "training.json").read_text())["finished"]
    resumed = finish(launch(room, out, processes, **settings), out)
    assert losses(resumed) == losses(undisturbed)


def test_sharded_training_refuses_batches_of_which_some_have_no_image(room: Path, tmp_path: Path) -> None:
    started = launch(room, tmp_path / "run", 2, sharded=True, train_sampling_strategy="random")
    assert [process.wait(timeout=300) for process in started] == [1, 1]
    assert "Set train_sampling_strategy: group_by_length" in log_of(tmp_path / "run")


def test_ddp_takes_batches_of_which_some_have_no_image(room: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {"train_sampling_strategy": "random", "per_device_train_batch_size": 1}
    assert len(finish(launch(room, out, 2, **settings), out)) == STEPS
