"""An LLM as the last reader: asked about unread answers alone, counted apart, never guessed from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import EvaluateSettings, ReaderSettings
from tests.eval.test_evaluate import Scripted, row
from tests.support.openai_server import Answer, openai_server, said

ANSWERS = ["A", "Surely the one with the dog.", "I cannot tell.", "(a)", "", "Mmm."]


@pytest.fixture
def settings(tmp_path: Path) -> EvaluateSettings:
    rows = [
        row("svo_probes", number, question=f"<image><image> Number {number}?\nA. Image 1\nB. Image 2")
        for number in range(6)
    ]
    write_questions([*rows, row("cad_qa", 0)], tmp_path / "data")
    return EvaluateSettings("scripted", str(tmp_path / "data"), tmp_path / "out", both_orders=False)


def reader(request: dict[str, Any], number: int) -> Answer:
    """Reads question 1 as B, 2 as none, and talks about 5."""
    text = said(request)
    return Answer("B" if "Number 1?" in text else "NONE" if "Number 2?" in text else "It may be A or B.")


def test_only_unread_answers_are_asked_and_counted_apart(settings: EvaluateSettings) -> None:
    model = Scripted(lambda doc: ANSWERS[int(doc.id)] if "Number" in doc.query else "a red dog")
    without = evaluate(settings, model)
    with openai_server(reader) as server:
        asked = replace(settings, reader=ReaderSettings(server.base_url, model="reader"))
        found = evaluate(asked, model)
        assert evaluate(asked, model) == found
        assert len(server.requests) == 3  # once each; of the empty answer nobody is asked
    own = found["svo_probes"]
    for metric, value in without["svo_probes"].items():
        assert own[metric] == value
    assert not [metric for metric in without["svo_probes"] if metric.startswith("reader")]
    assert found["cad_qa"] == without["cad_qa"]
    lines = (settings.out / "predictions/svo_probes.jsonl").read_text().splitlines()
    read = {line["index"]: line["reader"] for line in map(json.loads, lines) if "reader" in line}
    assert read == {1: "B", 2: None, 5: None}
    assert own["reader_read"] == sum(option is not None for option in read.values()) / 6
    assert own["reader_unreadable"] == sum(option is None for option in read.values()) / 6
    right = [line.get("reader", line["tolerant"]) == line["answer"] for line in map(json.loads, lines)]
    assert own["reader_accuracy"] == sum(right) / 6
