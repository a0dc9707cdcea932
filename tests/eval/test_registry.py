"""One record says everything about a set: a set that is registered needs no other edit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.benchmark import PAIRS, Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, find_benchmark
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import BenchmarkSettings, EvaluateSettings
from cadvi_hub.pages.columns import columns
from cadvi_hub.pages.report import report
from cadvi_hub.pages.settings import ReportSettings
from tests.eval.test_evaluate import Scripted, gold

TOY = Benchmark(
    name="toy",
    columns=(ReportColumn(PAIRS, "pairs", 1 / 9, "Which of three?"),),
    options=("x", "y", "z"),
    images=1,
    grouping=PAIRS,
    category=lambda row: str(row["colour"]),
    max_tokens=7,
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    monkeypatch.setitem(BENCHMARKS, "toy", TOY)
    return TOY


def test_a_registered_set_is_built_asked_scored_and_reported(toy: Benchmark, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    line = {"image": ["a.png"], "text": "<image> x, y or z?", "colour": "red"}
    lines = [{**line, "question_id": f"{index // 2}_{index % 2}", "answer": "xyz"[index % 3]} for index in range(6)]
    (tmp_path / "toy.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    build_benchmark(BenchmarkSettings("toy", tmp_path / "toy.jsonl", tmp_path / "data", tmp_path))

    lengths = set()

    def answer(doc: Doc) -> str:
        lengths.add(doc.generation_size)
        return gold(doc) if doc.id != "0" else "?"

    settings = EvaluateSettings("scripted", str(tmp_path / "data"), tmp_path / "out", both_orders=True)
    scores = evaluate(settings, Scripted(answer))
    assert list(scores) == ["toy"]
    assert (scores["toy"]["accuracy"], scores["toy"]["pair_accuracy_red"]) == (5 / 6, 2 / 3)
    assert lengths == {7}
    shown = report(ReportSettings({"scripted": tmp_path / "out"}, out=tmp_path / "report"))
    assert "toy" in shown
    assert "66.7" in shown
    assert "toy by category" in (tmp_path / "report/report.md").read_text("utf-8")


def test_sets_that_compare_images_come_first_in_a_report() -> None:
    compared = [BENCHMARKS[column.task].compares for column in columns()]
    assert compared == sorted(compared, reverse=True)


def test_every_record_is_consistent_and_carries_its_own_name() -> None:
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert benchmark.images in (0, 1, 2)
        assert not (benchmark.swaps and (benchmark.is_open or benchmark.images == 1))
        assert benchmark.question_file or benchmark.upstream or benchmark.summaries or benchmark.own_columns
        if benchmark.options:
            sizes = {joint.metric: joint.size for joint in benchmark.joints}
            for column in benchmark.columns:
                by_chance = (1 / len(benchmark.options)) ** sizes.get(column.metric, 1)
                assert column.chance == (by_chance if sizes.get(column.metric, 1) else None)
        assert benchmark.provenance or benchmark.own_options or benchmark.summaries


def test_an_unknown_set_is_refused_with_the_known_ones(toy: Benchmark) -> None:
    with pytest.raises(InputError, match=r"question 7: unknown task 'tyo'\. Use one of bison, .*, toy"):
        find_benchmark("tyo", "question 7")
    assert replace(toy, judge_prompt="judge_answer").is_open
