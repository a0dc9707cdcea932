"""Two processes on gloo train as one does, and a killed training goes on exactly where it stood."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import trl
import yaml
from safetensors.torch import load_file

from cadvi_hub.training.runs import last_checkpoint
from tests.support.tunings import make_room

pytestmark = pytest.mark.slow

SHARDED_ON_CPU = Path(__file__).with_name("sharded_on_cpu.py")
CONFIGURATIONS = Path(trl.__file__).parent / "accelerate_configs"  # those that the recipes name
STEPS, GLOBAL_BATCH = 10, 8
HAS_DEEPSPEED = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason='DeepSpeed is not installed: pip install -e ".[deepspeed]"'
)
ZERO = [pytest.param(name, marks=HAS_DEEPSPEED) for name in ("zero2", "zero3")]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"), rows=48)  # 16 of each kind: an epoch is six whole steps


def launch(room: Path, out: Path, configuration: str | None = None, **changed: Any) -> subprocess.Popen[bytes]:
    """One process, or two by a configuration of accelerate."""
    recipe = {
        "model_name_or_path": str(room / "base"),
        "mixture": {"v1": {"path": str(room), "config": "v1"}},
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "per_device_train_batch_size": GLOBAL_BATCH // (2 if configuration else 1),
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
    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(recipe | changed))
    command = [sys.executable, "-m"]
    if configuration:
        command += ["accelerate.commands.launch", "--config_file", str(CONFIGURATIONS / f"{configuration}.yaml")]
        command += ["--num_processes", "2", "--main_process_port", "0", "--mixed_precision", "no"]
    if configuration in (None, "multi_gpu"):
        command += ["-m"] * bool(configuration) + ["cadvi_hub.training.sft"]
    else:
        command += [str(SHARDED_ON_CPU)]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    surroundings["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # DeepSpeed calls ninja
    with (out.parent / f"{out.name}.log").open("a") as log:
        return subprocess.Popen([*command, "--config", str(file)], env=surroundings, stdout=log, stderr=log)


def finish(started: subprocess.Popen[bytes], out: Path) -> list[dict[str, Any]]:
    """The loss curve of a training that has ended well."""
    assert started.wait(timeout=600) == 0, log_of(out)
    curve: list[dict[str, Any]] = json.loads((out / "training.json").read_text())["curve"]
    return curve


def log_of(out: Path) -> str:
    return (out.parent / f"{out.name}.log").read_text()[-8000:]


def losses(curve: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in curve]


def check_alike(one: Path, other: Path) -> None:
    """Same losses, tokens and adapters."""
    expected, curve = (json.loads((out / "training.json").read_text())["curve"] for out in (one, other))
    assert losses(curve) == pytest.approx(losses(expected), rel=1e-4)
    assert [entry["num_tokens"] for entry in curve] == [entry["num_tokens"] for entry in expected]
    first, second = (load_file(out / "adapter_model.safetensors") for out in (one, other))
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 2e-3


@pytest.fixture(scope="module")
def alone(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    assert len(finish(launch(room, out), out)) == STEPS
    return out


@pytest.mark.parametrize("configuration", ["multi_gpu", "fsdp2"])
def test_two_processes_give_the_loss_curve_and_the_adapter_of_one(
    room: Path, alone: Path, tmp_path: Path, configuration: str
) -> None:
    finish(launch(room, tmp_path / "run", configuration), tmp_path / "run")
    check_alike(alone, tmp_path / "run")


def test_two_processes_stream_as_one_does(room: Path, tmp_path: Path) -> None:
    for name in (None, "multi_gpu", "fsdp2"):
        finish(launch(room, tmp_path / str(name), name, streaming=True), tmp_path / str(name))
    check_alike(tmp_path / "None", tmp_path / "multi_gpu")
    check_alike(tmp_path / "None", tmp_path / "fsdp2")


@HAS_DEEPSPEED
def test_deepspeed_gives_the_loss_curve_and_the_adapter_of_one_process(tmp_path: Path) -> None:
    room = make_room(tmp_path / "room", rows=24, images=(1, 2))  # see the next test
    for name in (None, "zero2", "zero3"):
        finish(launch(room, tmp_path / str(name), name), tmp_path / str(name))
    check_alike(tmp_path / "None", tmp_path / "zero2")
    check_alike(tmp_path / "None", tmp_path / "zero3")


@HAS_DEEPSPEED
def test_steps_without_images_move_the_projector_by_its_momentum_alone_under_deepspeed(
    room: Path, tmp_path: Path
) -> None:
    for name in ("zero2", "zero3"):  # ZeRO-3 would add the former step's gradients, too
        finish(launch(room, tmp_path / name, name), tmp_path / name)
    check_alike(tmp_path / "zero2", tmp_path / "zero3")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("configuration", [None, "multi_gpu", "fsdp2", *ZERO])
def test_killed_training_goes_on_exactly_where_it_stood(
    room: Path, tmp_path: Path, configuration: str | None, streaming: bool
) -> None:
    settings: dict[str, Any] = {"configuration": configuration, "lora_dropout": 0.1, "streaming": streaming}
    undisturbed = finish(launch(room, tmp_path / "whole", **settings), tmp_path / "whole")
    out = tmp_path / "killed"
    started = launch(room, out, **settings)
    while not (out / "checkpoint-8" / "trainer_state.json").exists():  # in the second epoch
        assert started.poll() is None, log_of(out)
        time.sleep(0.01)
    processes = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    started.wait()
    psutil.wait_procs(processes)
    checkpoint = last_checkpoint(out)
    assert checkpoint is not None
    assert not json.loads((out / "training.json").read_text())["finished"]
    resumed = finish(launch(room, out, **settings), out)
    assert losses(resumed) == losses(undisturbed)


def test_sharded_training_refuses_batches_of_which_some_have_no_image(room: Path, tmp_path: Path) -> None:
    started = launch(room, tmp_path / "run", "fsdp2", train_sampling_strategy="random")
    assert started.wait(timeout=300) == 1
    assert "Set train_sampling_strategy: group_by_length or llava" in log_of(tmp_path / "run")


def test_ddp_takes_batches_of_which_some_have_no_image(room: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {"train_sampling_strategy": "random", "per_device_train_batch_size": 1}
    assert len(finish(launch(room, out, "multi_gpu", **settings), out)) == STEPS
