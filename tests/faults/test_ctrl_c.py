"""Ctrl-C ends a training as it ends every other command: with one line, whatever it does at that moment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.record import Count, Faults
from tests.support.tunings import make_room

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "training" / "sft.py"
SECONDS = 600
LINE = "training: stopped. Run the same command again to continue"


def test_ctrl_c_during_a_training_prints_one_line_and_no_traceback(faults: Faults, tmp_path: Path) -> None:
    count = faults("Ctrl-C")
    room = make_room(tmp_path / "room")
    keys = {
        "model_name_or_path": room / "base",
        "mixture": json.dumps({"v1": {"path": str(room), "config": "v1"}}),
        "output_dir": tmp_path / "out",
        "use_cpu": "true",
        "bf16": "false",
        "max_steps": 100_000,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "max_tokens": 200,
        "dataloader_num_workers": 2,
    }
    options = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    said = stopped(count, [SCRIPT, *options], tmp_path / "log", lambda _, log: b"'loss'" in log)
    assert said[-1] == LINE


@pytest.mark.parametrize("command", [[SCRIPT], ["-m", "cadvi_hub.training.sft"]], ids=["script", "module"])
@pytest.mark.parametrize("library", ["libtorch_cpu", "tokenizers"])
def test_ctrl_c_during_the_imports_of_a_training_prints_one_line(
    faults: Faults, tmp_path: Path, command: list[str | Path], library: str
) -> None:
    def has_begun(process: int, _: bytes) -> bool:
        return library in Path(f"/proc/{process}/maps").read_text()

    said = stopped(faults("Ctrl-C"), [*command, "--output_dir", tmp_path], tmp_path / "log", has_begun)
    assert said == [LINE]


def stopped(count: Count, command: list[str | Path], log: Path, has_begun: Callable[[int, bytes], bool]) -> list[str]:
    """Start Python with `command`, press Ctrl-C once `has_begun(process, log)`, and return the lines of its log."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
        )
        count.add("tried")
        end = time.monotonic() + SECONDS
        while not has_begun(started.pid, log.read_bytes()):
            assert started.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, "it did not begin"
            time.sleep(0.05)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
        try:
            assert started.wait(timeout=SECONDS) in (1, -signal.SIGINT)
            count.add("refused")
        except subprocess.TimeoutExpired:
            started.kill()
            count.add("hangs", seen=log.read_text()[-2000:])
    said = log.read_text()
    if "Traceback" in said:
        count.add("tracebacks", seen=said[-3000:])
    return said.strip().splitlines()
