import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features
from PIL import Image

from cadvi_hub.errors import InputError
from cadvi_hub.eval import report_samples
from cadvi_hub.eval.benchmarks import OPTIONS, write_questions
from cadvi_hub.eval.report import ReportSettings, collect, format_table, report, write_page
from cadvi_hub.eval.report_charts import loss_chart
from cadvi_hub.eval.scoring import wilson_interval
from cadvi_hub.images import encode_png
from cadvi_hub.pairing.nouns import load_tagger
from cadvi_hub.schema import message, v1_features, v2_features

HOSTILE = '<script>alert("x")</script>'
TAGGER = cache(load_tagger)
CLOSED = ("bison", "svo_probes", "nlvr2", "eqben", "cola", "single_image")


def picture(colour: str, size: int = 16) -> dict[str, Any]:
    return {"bytes": encode_png(Image.new("RGB", (size, size), colour)), "path": f"{colour}.png"}


def page_of(settings: ReportSettings) -> Path:
    return write_page(settings, collect(settings))


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def question(task: str, index: int) -> dict[str, Any]:
    options = list(OPTIONS[task]) or (["red", "blue"] if task == "single_image" else [])
    pair = task in ("eqben", "cola")
    count = 1 if task == "single_image" else 2
    return {
        "id": f"{index // 2}_{index % 2}" if pair else str(index),
        "images": [picture("red"), picture("blue")][:count],
        "question": "First <image> second <image>: which?" if count == 2 else "<image> Which colour?",
        "options": options,
        "answer": options[index % 2] if options else "one red and one blue square",
        "task": task,
        "category": "verb" if task == "svo_probes" else "",
        "group": str(index // 2) if pair else str(index),
        "source": "test",
    }


def evaluation(folder: Path, right: int, tasks: tuple[str, ...] = CLOSED, wrong: str = "C") -> Path:
    """An evaluation of 10 questions per task, the first `right` of which are right."""
    scores: dict[str, Any] = {}
    for task in tasks:
        rows = [question(task, index) for index in range(10)]
        said = [row["answer"] if index < right else wrong for index, row in enumerate(rows)]
        lines = [
            {
                "index": index,
                "id": row["id"],
                "answer": row["answer"],
                "prediction": text,
                "correct": text == row["answer"],
            }
            for index, (row, text) in enumerate(zip(rows, said, strict=True))
        ]
        write_json(folder / "predictions" / f"{task}.jsonl", {}).write_text(
            "".join(json.dumps(line) + "\n" for line in lines), "utf-8"
        )
        metric = "token_f1" if task == "cad_qa" else "accuracy"
        scores[task] = {metric: right / 10, f"{metric}_interval": list(wilson_interval(right, 10)), "n": 10}
        if task in ("eqben", "cola"):
            pairs = {"pair_accuracy": right // 2 / 5, "pair_accuracy_interval": list(wilson_interval(right // 2, 5))}
            scores[task] |= {**pairs, "pair_accuracy_n": 5}
        if task == "svo_probes":
            scores[task] |= {"accuracy_verb": 0.5, "accuracy_verb_interval": [0.2, 0.8], "accuracy_verb_n": 10}
    write_json(folder / "results.json", scores)
    return folder


def pair_row(index: int, config: str, caption: str, size: int) -> dict[str, Any]:
    request = message("user", "Image 1: <image>\nImage 2: <image>\nCompare the two images.")
    messages = [request, message("assistant", "Commonalities:\n…")]
    own: dict[str, Any] = {"context": f"The dog {index} is gone."}
    if config == "v1":
        messages += [message("user", f'Which image suits "{caption}"?'), message("assistant", "B")]
        own = {"captions": [caption, "Two dogs sleep."]}
    return {
        "id": f"pair-{index}",
        "images": [picture("green", size), picture("yellow", size)],
        "messages": messages,
        "source": "test",
        "commonalities": f"Both images show a dog ({config}).",
        "differences": [{"aspect": "Counts", "text": f"One dog, then two {HOSTILE}."}],
        "shared_nouns": ["dog"] if config == "v1" else [],
        "annotator": "mentions",
        "prompt_hash": "",
        "decoding": "{}",
        **own,
    }


def data_set(folder: Path, config: str, caption: str = "A dog runs.", number: int = 9, size: int = 16) -> None:
    """A finished build in two shards."""
    features: Features = v1_features() if config == "v1" else v2_features()
    rows = [pair_row(index, config, caption, size) for index in range(number)]
    names = [f"train-0000{part}-of-00002.parquet" for part in range(2)]
    facts = {
        "config": config,
        "rows": number,
        "files": names,
        "pair_counts": {"captions": 40} if config == "v1" else {},
        "drops": {"summary too short": {"count": 1234, "first": ["pair-77"]}},
        "statistics": {},
    }
    write_json(folder / config / "build.json", facts)
    for name, part in zip(names, (rows[:4], rows[4:]), strict=True):
        pq.write_table(pa.Table.from_pylist(part, features.arrow_schema), folder / config / name)


@pytest.fixture(autouse=True)
def _one_tagger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real tagger, loaded once for all tests."""
    monkeypatch.setattr(report_samples, "load_tagger", TAGGER)


@pytest.fixture
def settings(tmp_path: Path) -> ReportSettings:
    write_questions((question(task, index) for task in OPTIONS for index in range(10)), tmp_path / "questions")
    data_set(tmp_path / "data", "v1")
    data_set(tmp_path / "data", "v2")
    curve = [{"step": step, "loss": 2 / step} for step in range(1, 31)]
    log = {"finished": True, "rows": {"v1": 90}, "steps": 30, "wall_seconds": 61.0, "curve": curve}
    write_json(tmp_path / "training" / "v2" / "training.json", log)
    (tmp_path / "training" / "v1").mkdir()
    return ReportSettings(
        models={
            "base": evaluation(tmp_path / "evaluation" / "base", 5),
            "v2": evaluation(tmp_path / "evaluation" / "v2", 8, (*CLOSED, "cad_qa")),
        },
        data=tmp_path / "data",
        questions=tmp_path / "questions",
        trainings={name: tmp_path / "training" / name for name in ("v1", "v2")},
        out=tmp_path / "out",
        note="Summaries of V1 were written by `mentions`.",
    )


class Page(HTMLParser):
    """What a page holds: start tags with their attributes, text, and whether all tags are closed in order."""

    VOID = ("meta", "img", "circle", "line", "polyline")

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def test_results_map_model_task_and_metric_to_value_interval_and_n(settings: ReportSettings) -> None:
    results = collect(settings)
    assert list(results) == ["base", "v2"]
    assert results["v2"]["bison"]["accuracy"] == 0.8
    assert results["v2"]["bison"]["accuracy_interval"] == pytest.approx(wilson_interval(8, 10))
    assert results["base"]["cola"]["pair_accuracy_n"] == 5
    assert json.loads((settings.out / "results.json").read_text("utf-8")) == results
    assert [file.name for file in settings.out.iterdir()] == ["results.json"]


def test_the_command_shows_the_table_the_note_and_where_the_page_lies(settings: ReportSettings) -> None:
    shown = report(replace(settings, note="Drawn by code."))
    page = settings.out / "index.html"
    assert shown == f"{format_table(collect(settings))}\n\nDrawn by code.\n\nPage: {page}"
    assert page.is_file()


def test_the_table_shows_percent_interval_n_chance_and_categories(settings: ReportSettings) -> None:
    lines = format_table(collect(settings)).split("\n")
    assert max(map(len, lines)) <= 120
    assert lines[0].split() == [*OPTIONS]
    assert lines[2].split("]")[1].split() == [
        "n",
        "10",
        "n",
        "10",
        "n",
        "10",
        "n",
        "5",
        "n",
        "5",
        "n",
        "10",
        "n",
        "10",
    ]
    assert lines[3].split() == ["chance", "50.0", "50.0", "50.0", "25.0", "25.0", "–", "–"]
    assert lines[5].split("]")[0] == f"{'v2':<17} 80.0 [49–94"
    verb = next(index for index, line in enumerate(lines) if line.split() == ["verb"])
    assert lines[verb + 4].split() == ["base", "50.0", "[20–80]"]


def test_a_task_that_a_model_was_not_asked_is_a_dash(settings: ReportSettings) -> None:
    results = collect(settings)
    assert format_table(results).split("\n")[4].split()[-3] == "–"
    del results["base"]["svo_probes"], results["v2"]["svo_probes"]
    table = format_table(results)
    assert "verb" not in table
    assert table.split("\n")[2].count("n –") == 1


def test_long_and_unprintable_model_names_stay_in_their_column(settings: ReportSettings) -> None:
    results = collect(settings)
    lines = format_table({"a" * 60: results["v2"], "red\x1b[31m": results["base"]}).split("\n")
    assert max(map(len, lines)) <= 120
    assert "\x1b" not in "".join(lines)
    assert lines[4].startswith("a" * 21 + "… 80.0")


def test_different_numbers_of_questions_are_both_told(settings: ReportSettings) -> None:
    results = collect(settings)
    results["base"]["bison"]["n"] = 7
    assert "n 7–10" in format_table(results).split("\n")[2]


def test_the_page_holds_scores_curves_pairs_answers_and_the_note(settings: ReportSettings) -> None:
    page = Page(page_of(settings))
    for text in ("80.0", "49.0–94.3", "loss 2.00 → 0.07", "90 rows", "Both images show a dog (v1).", "1,234"):
        assert text in page.text
    assert page.text.count(settings.note) == 3
    assert "The dog" in page.text
    assert "First [picture 1] second [picture 2]: which?" in page.text
    assert "8 right, 2 wrong" in page.text
    assert "token F1 100 %" in page.text
    assert sum(1 for each in page.attributes("mark")) >= 12  # "dog" and "dogs" in both captions of six pairs
    assert len(list(page.attributes("polyline"))) == 1  # the v1 training has no log


def test_the_page_loads_nothing(settings: ReportSettings) -> None:
    path = page_of(settings)
    page = Page(path)
    assert "http://" not in path.read_text("utf-8")
    assert "https://" not in path.read_text("utf-8")
    images = list(page.attributes("img"))
    assert len(images) == 2 * (6 + 6 + 5 * 4 + 4)  # pairs of V1 and V2, answers to five closed tasks and CaD-QA
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert all(image["alt"] for image in images)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_every_shown_text_is_escaped(settings: ReportSettings, tmp_path: Path) -> None:
    data_set(tmp_path / "data", "v1", caption=f"A dog says {HOSTILE}.")
    settings.models["v2"] = evaluation(tmp_path / "evaluation" / "v2", 8, wrong=HOSTILE)
    settings.models[HOSTILE] = settings.models["base"]
    settings.trainings[HOSTILE] = settings.trainings["v2"]
    settings.note = HOSTILE
    path = page_of(settings)
    assert "<script" not in path.read_text("utf-8")
    page = Page(path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) > 20


def test_equal_input_gives_equal_bytes_and_the_seed_chooses_the_samples(settings: ReportSettings) -> None:
    first = page_of(settings).read_bytes()
    assert page_of(settings).read_bytes() == first
    settings.seed = 1
    assert page_of(settings).read_bytes() != first


def test_photographs_become_thumbnails(settings: ReportSettings, tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (900, 600), random.Random(0).randbytes(900 * 600 * 3))
    row = {**question("bison", 0), "images": [{"bytes": encode_png(noise), "path": "a.png"}] * 2}
    write_questions([{**row, "id": str(index)} for index in range(10)], tmp_path / "questions")
    page = page_of(settings)
    assert page.stat().st_size < 1_000_000
    assert ("224", "149") in {(image["width"], image["height"]) for image in Page(page).attributes("img")}


def test_what_lacks_is_left_out(settings: ReportSettings, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    settings.data = settings.questions = bare
    settings.trainings = {}
    page = Page(page_of(settings))
    assert not list(page.attributes("img"))
    assert {attributes["id"] for attributes in page.attributes("section")} == {"scores"}


def test_half_a_character_in_a_prediction_does_not_stop_the_page(settings: ReportSettings, tmp_path: Path) -> None:
    settings.models["v2"] = evaluation(tmp_path / "evaluation" / "v2", 8, wrong="\ud83d")
    assert "?" in Page(page_of(settings)).text


@pytest.mark.parametrize("field", ["data", "questions", "models", "trainings"])
def test_a_folder_that_does_not_exist_is_named(settings: ReportSettings, tmp_path: Path, field: str) -> None:
    absent = tmp_path / "absent"
    setattr(settings, field, absent if field in ("data", "questions") else {"v1": absent})
    with pytest.raises(InputError, match="absent: no such folder"):
        page_of(settings)


def test_no_models_are_refused(settings: ReportSettings) -> None:
    settings.models = {}
    with pytest.raises(InputError, match="at least one model"):
        collect(settings)


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("evaluation/v2/results.json", "{torn", "cannot be read"),
        ("evaluation/v2/results.json", "[1]", "JSON object"),
        ("evaluation/v2/results.json", '{"bison": 0.5}', "not results"),
        ("evaluation/v2/predictions/bison.jsonl", '{"index": 0}\n', "cannot be read"),
        ("evaluation/v2/predictions/bison.jsonl", "torn", "cannot be read"),
        ("training/v2/training.json", "torn", "cannot be read"),
        ("data/v1/build.json", '{"files": []}', "not a build's report"),
        ("data/v1/train-00000-of-00002.parquet", "torn", "cannot be read"),
    ],
)
def test_a_broken_file_is_named(settings: ReportSettings, tmp_path: Path, file: str, content: str, fault: str) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    with pytest.raises(InputError, match=fault) as raised:
        page_of(settings)
    assert raised.value.place == str(tmp_path / file)


def test_an_evaluation_without_results_is_refused(settings: ReportSettings, tmp_path: Path) -> None:
    (tmp_path / "evaluation/v2/results.json").unlink()
    with pytest.raises(InputError, match="Evaluate the model first"):
        collect(settings)


def test_answers_to_other_questions_are_refused(settings: ReportSettings, tmp_path: Path) -> None:
    other = [{**question("bison", index), "id": f"other-{index}"} for index in range(10)]
    write_questions(other, tmp_path / "questions")
    with pytest.raises(InputError, match="another question"):
        page_of(settings)
    write_questions(other[:1], tmp_path / "questions")
    with pytest.raises(InputError, match="there is no row"):
        page_of(settings)


def test_an_unwritable_output_folder_is_named(settings: ReportSettings, tmp_path: Path) -> None:
    results = collect(settings)
    settings.out = tmp_path / "file" / "out"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        collect(settings)
    with pytest.raises(InputError, match="cannot be written"):
        write_page(settings, results)


def test_long_loss_curves_are_averaged_and_infinite_losses_left_out() -> None:
    curve = [{"step": step, "loss": float("nan") if step == 5 else 1 + step % 2} for step in range(10, 100_010, 10)]
    chart = loss_chart({"v1": {"curve": curve}, "none": {"curve": []}}, {"v1": 3})
    assert chart is not None
    assert [(each.name, each.colour) for each in chart.curves] == [("v1", 3)]
    points = [tuple(map(float, point.split(","))) for point in chart.curves[0].points.split()]
    assert len(points) == 200
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in points)
    assert loss_chart({"v1": {}}, {}) is None
