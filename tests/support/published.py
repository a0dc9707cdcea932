"""Data sets of exactly a published form: pictures that can be told apart, files, and the way from there to a score."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import BenchmarkSettings, EvaluateSettings
from tests.eval.test_evaluate import Scripted

Rows = list[dict[str, Any]]


def picture(number: int) -> dict[str, Any]:
    """The picture `number` (0 to 65,535) as a data set embeds it."""
    return {"bytes": encode_png(Image.new("RGB", (4, 4), (number % 256, number // 256, 7))), "path": None}


def numbers(doc: Doc) -> list[int]:
    """Which pictures a question shows, in its order."""
    pixels = [image.convert("RGB").tobytes() for image in doc.images or []]
    return [pixel[0] + 256 * pixel[1] for pixel in pixels]


def letter_of(doc: Doc, option: str) -> str:
    """The letter under which the question lists an option."""
    (letter,) = re.findall(rf"^\(?([A-Z])[.)] {re.escape(option)}$", doc.query, re.M)
    return str(letter)


def parquet(file: Path, rows: Rows) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def lines(file: Path, rows: Rows) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def build(task: str, place: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Make the set `task` of `place`; returns its build.json."""
    build_benchmark(BenchmarkSettings(task, place, out / "data", **settings))
    report: dict[str, Any] = json.loads((out / f"data/{task}/build.json").read_text())
    return report


def scores(task: str, place: Path, out: Path, answer: Callable[[Doc], str], **settings: Any) -> dict[str, Any]:
    """Make the set, ask a model that answers as `answer`, and return its scores."""
    build(task, place, out)
    asked = EvaluateSettings("scripted", str(out / "data"), out / "scores", tasks=[task], **settings)
    return evaluate(asked, Scripted(answer))
