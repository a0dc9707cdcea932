"""lighteval's own command over our tasks and model, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.writing import write_questions
from tests.support.tiny_llava import make_tiny_llava

MODEL = Path(__file__).parents[2] / "eval" / "vision_model.py"
# lighteval's tiny_benchmarks downloads a file when it is imported: here the answer is "not found".
COMMAND = """
import requests
from types import SimpleNamespace
requests.get = lambda *args, **kwargs: SimpleNamespace(status_code=404)
from lighteval.__main__ import app
app()
"""


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
    arguments = ["custom", str(model), str(MODEL), "cola|0", "--custom-tasks", "cadvi_hub.eval.tasks"]
    subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--output-dir", str(tmp_path / "out"), "--save-details"],
        env={**os.environ, "CADVI_EVAL_DATA": str(tmp_path / "data"), "HF_HUB_OFFLINE": "1"},
        check=True,
        timeout=300,
    )
    (results,) = (tmp_path / "out").rglob("results_*.json")
    scores = json.loads(results.read_text())["results"]["cola|0"]
    assert {"accuracy", "tolerant_accuracy", "unreadable", "pair_accuracy"} <= set(scores)
    assert list((tmp_path / "out").rglob("details_cola*.parquet"))
