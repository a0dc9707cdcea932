"""Question sets with reference answers, answers to them, and judges at a chat endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.scoring import prediction
from cadvi_hub.eval.text_scores import token_f1
from tests.support.openai_server import Answer, said

PICTURE = {"bytes": encode_png(Image.new("RGB", (4, 4), "red")), "path": "a.png"}
THINGS = ("dog", "cat", "boat", "tree", "house", "horse", "car", "bird", "lamp", "chair", "table", "kite")


def reference(index: int) -> str:
    """Twelve words of which those of another index share few."""
    return " ".join(f"{thing}{index}" for thing in THINGS)


def write_set(folder: Path, number: int, task: str = "cad_qa", **changes: Any) -> list[dict[str, Any]]:
    """A set of `number` open questions, written to `folder`; returns its rows."""
    rows = [
        {
            "id": f"q{index}",
            "images": [PICTURE] * 2,
            "question": f"<image><image> What is there, no. {index}?",
            "options": [],
            "answer": reference(index),
            "task": task,
            "category": "",
            "group": str(index),
            "source": "test",
            **changes,
        }
        for index in range(number)
    ]
    write_questions(rows, folder)
    return rows


def write_predictions(results: Path, rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> None:
    """What `evaluate` leaves of a model that gave `answers`."""
    file = results / "predictions" / f"{rows[0]['task']}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = (
        {"index": index, **prediction(row["task"], row, row["answer"], answer)}
        for index, (row, answer) in enumerate(zip(rows, answers, strict=True))
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in found))


def part(request: dict[str, Any], name: str) -> str:
    """The text between the tags `name` of a judge's prompt."""
    found = re.search(rf"<{name}>\n(.*)\n</{name}>", said(request), re.DOTALL)
    assert found
    return found[1]


def fair(request: dict[str, Any], number: int) -> Answer:
    """Rates by the words that answer and reference share."""
    rating = round(5 * token_f1(part(request, "answer"), part(request, "reference")))
    return Answer(json.dumps({"reason": f"{rating} of 5 agree.", "rating": rating}))
