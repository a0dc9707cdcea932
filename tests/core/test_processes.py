"""Workers share the cores, and a training does not outlive its launcher."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cadvi_hub.core import processes

LAUNCHER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
TRAINING = """
import os, time
from cadvi_hub.core.processes import die_with_launcher
die_with_launcher()
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
@pytest.mark.parametrize(("name", "dies"), [("torchrun", True), ("accelerate", True), ("run.sh", False)])
def test_a_training_dies_with_its_launcher_and_not_with_its_shell(tmp_path: Path, name: str, dies: bool) -> None:
    (tmp_path / name).write_text(LAUNCHER)
    command = [sys.executable, str(tmp_path / name), TRAINING]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        training = psutil.Process(int(launcher.stdout.readline()))
        launcher.kill()
        launcher.wait()
        if dies:
            training.wait(60)
        else:
            time.sleep(0.5)
            assert training.is_running()
            training.kill()


def _nothing() -> None:
    """What the workers of these tests start with."""


@pytest.mark.parametrize(
    ("cores", "workers", "chosen", "threads"), [(8, 2, "", "4"), (2, 3, "", "1"), (8, 2, "6", "6"), (8, 1, "", None)]
)
def test_several_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, chosen: str, threads: str | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr(processes, "usable_cores", lambda: cores)
    with processes.worker_pool(workers, _nothing) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == threads
