"""A training does not outlive its launcher."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

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
