"""Ctrl-C ends a training as it ends every other command: with one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.record import Faults
from tests.support.tunings import make_room

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "training" / "sft.py"
SECONDS = 600


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
    log = tmp_path / "log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, SCRIPT, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
        )
        count.add("tried")
        end = time.monotonic() + SECONDS
        while b"'loss'" not in log.read_bytes():
            assert started.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, "no step was made"
            time.sleep(0.2)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
        try:
            assert started.wait(timeout=SECONDS) == 1
        except subprocess.TimeoutExpired:
            started.kill()
            count.add("hangs", seen=log.read_text()[-2000:])
    said = log.read_text()
    if "Traceback" in said:
        count.add("tracebacks", seen=said[-3000:])
    assert said.strip().splitlines()[-1] == "training: stopped. Run the same command again to continue"
    count.add("refused")
