"""lighteval's own command over our tasks and model, in a process of its own and without a network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.writing import write_questions
from tests.support.tiny_llava import make_tiny_llava

MODEL = Path(__file__).parents[2] / "eval" / "vision_model.py"
README = MODEL.with_name("README.md")
# Behind a firewall. Addresses of this machine stay open, for the processes of the run.
COMMAND = """
import socket
connect = socket.socket.connect
def refused(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost"):
        raise ConnectionRefusedError(address)
    return connect(self, address)
def unknown(host, *args, **kwargs):
    raise socket.gaierror(f"no name server knows {host}")
socket.socket.connect, socket.getaddrinfo = refused, unknown
from lighteval.__main__ import app
app()
"""


def lighteval_with_the_step(folder: Path) -> dict[str, str]:
    """A copy of lighteval in `folder` on which the step of the README was done, and the environment that has it."""
    import lighteval

    shutil.copytree(Path(lighteval.__file__).parent, folder / "lighteval", ignore=shutil.ignore_patterns("*.pkl"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    found = re.search(r"^(touch .*tinyBenchmarks\.pkl.*)$", README.read_text(), re.M)
    assert found
    path = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    subprocess.run(["bash", "-ec", found[1]], env=environment | path, check=True)
    assert (folder / "lighteval/tasks/tasks/tinyBenchmarks.pkl").read_bytes() == b""
    return environment


@pytest.mark.slow
def test_lightevals_command_runs_our_tasks_with_our_model(tmp_path: Path) -> None:
    picture = {"bytes": encode_png(Image.new("RGB", (32, 32), "red")), "path": "a.png"}
    rows = [
        {
            "id": f"{index // 2}_{index % 2}",
            "images": [picture, picture],
            "source": "test",
            "question": "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption better?",
            "options": ["A", "B"],
            "answer": "AB"[index % 2],
            "task": "cola",
            "category": "",
            "group": str(index // 2),
        }
        for index in range(6)
    ]
    write_questions(rows, tmp_path / "data")
    model = make_tiny_llava(tmp_path / "model")
    data = {"CADVI_EVAL_DATA": str(tmp_path / "data"), "HF_HUB_OFFLINE": "1"}
    arguments = ["custom", str(model), str(MODEL), "cola|0", "--custom-tasks", "cadvi_hub.eval.tasks"]
    subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--output-dir", str(tmp_path / "out"), "--save-details"],
        env=lighteval_with_the_step(tmp_path / "site") | data,
        check=True,
        timeout=300,
    )
    (results,) = (tmp_path / "out").rglob("results_*.json")
    scores = json.loads(results.read_text())["results"]["cola|0"]
    assert {"accuracy", "tolerant_accuracy", "unreadable", "pair_accuracy"} <= set(scores)
    assert list((tmp_path / "out").rglob("details_cola*.parquet"))
