"""The report's page: what it shows, that it loads and runs nothing of others, and that it stays small."""

import base64
import hashlib
import random
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.pages.samples import MAX_QUESTIONS, PAIRS, PER_FILTER, choose
from cadvi_hub.pages.settings import ReportSettings
from tests.support.report_parts import (
    CLOSED,
    HOSTILE,
    N,
    Page,
    data_set,
    evaluation,
    judged,
    page_of,
    question,
    reported,
)


@pytest.fixture
def settings(tmp_path: Path) -> ReportSettings:
    return reported(tmp_path)


def test_the_page_holds_scores_curves_pairs_answers_and_the_note(settings: ReportSettings) -> None:
    page = Page(page_of(settings))
    for text in ("80.0", "49.0–94.3", "loss 2.00 → 0.07", "90 rows", "Both images show a dog (v1).", "1,234"):
        assert text in page.text
    assert page.text.count(settings.note) == 3
    assert "The dog" in page.text
    assert "First [picture 1] second [picture 2]: which?" in page.text
    assert "token F1 100 %" in page.text
    assert "Compared with base" in page.text
    assert sum(1 for each in page.attributes("mark")) >= 12  # "dog" and "dogs" in both captions of six pairs


def test_the_page_loads_nothing_and_runs_its_own_script_alone(settings: ReportSettings) -> None:
    path = page_of(settings)
    page = Page(path)
    assert not re.search(r"https?://", path.read_text("utf-8"))
    images = page.pictures()
    assert len(images) > 24
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert len(list(page.attributes("img"))) == len(images) + len(page.charts())
    assert all(image["alt"] for image in page.attributes("img"))
    assert not {"link", "iframe", "base"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (script,) = page.attributes("script")
    assert not script
    (policy,) = [each["content"] or "" for each in page.attributes("meta") if "http-equiv" in each]
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    allowed = f"img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert policy == f"default-src 'none'; {allowed}; form-action 'none'; base-uri 'none'"


def test_every_shown_text_is_escaped(settings: ReportSettings, tmp_path: Path) -> None:
    data_set(tmp_path / "data", "v1", caption=f"A dog says {HOSTILE}.")
    tasks = (*CLOSED, "cad_qa")
    settings.models["v2"] = evaluation(tmp_path / "evaluation" / "v2", 8, tasks, HOSTILE, both_orders=True)
    judged(tmp_path / "evaluation" / "v2", HOSTILE.replace("/", "-"), [5] * N)
    settings.models[HOSTILE] = settings.models["base"]
    settings.trainings[HOSTILE] = settings.trainings["v2"]
    settings.note = HOSTILE
    path = page_of(settings)
    assert path.read_text("utf-8").count("<script") == 1
    page = Page(path)
    assert page.text.count(HOSTILE) > 20
    assert HOSTILE in {each["data-model"] for each in page.attributes("div") if "data-model" in each}


def test_the_filters_know_set_model_and_kind_of_each_answer(settings: ReportSettings, tmp_path: Path) -> None:
    assert "swapped" not in Page(page_of(settings)).text  # no question was asked with the images swapped
    settings.models["v1"] = evaluation(tmp_path / "v1", 0, ("bison",), wrong="A", both_orders=True)
    page = Page(page_of(settings))
    assert "changes when the pictures are swapped" in page.text
    assert [each.get("name") for each in page.attributes("select")] == ["set", "model", "answer"]
    sets = {each["data-task"] for each in page.attributes("article") if "data-task" in each}
    assert sets == {*CLOSED, "cad_qa"}
    kinds = {(each["data-model"], each["data-kinds"]) for each in page.attributes("div") if "data-model" in each}
    assert kinds == {
        ("base", "right"),
        ("base", "unreadable"),
        ("v2", "right"),
        ("v2", "unreadable"),
        ("v2", "open"),
        ("v1", "right order-inconsistent"),
        ("v1", "wrong order-inconsistent"),
    }
    assert "swapped:" in page.text


def test_an_answer_shows_its_rating_with_reason_and_judge(settings: ReportSettings) -> None:
    folder = Path(settings.models["v2"])
    judged(folder, "org/judge", [4] * N)
    judged(folder, "org/other", [None] * N)
    text = Page(page_of(settings)).text
    assert re.search(r"rating 4 of 5 \[1\]: Reason \d\.", text)
    assert "unreadable rating [2]" in text


def test_a_strictly_unreadable_answer_says_what_a_person_reads(settings: ReportSettings, tmp_path: Path) -> None:
    settings.models["v1"] = evaluation(tmp_path / "v1", 0, ("bison",), wrong="The first image.")
    text = Page(page_of(settings)).text
    assert "unreadable; tolerant: A, right" in text
    assert "unreadable; tolerant: A, wrong" in text


def test_every_filter_gets_its_questions_and_the_page_stays_bounded() -> None:
    rng = random.Random(1)
    kinds: dict[str, dict[int, tuple[str, ...]]] = {
        model: {index: (rng.choice(("right", "wrong")),) for index in range(5000)} for model in ("a", "b", "c")
    }
    kinds["b"][4321] = ("unreadable", "order-inconsistent")
    chosen = choose(kinds, "0")
    assert 4321 in chosen
    assert len(chosen) <= MAX_QUESTIONS
    for model in kinds:
        for kind in ("right", "wrong"):
            assert sum(kind in kinds[model][index] for index in chosen) >= PER_FILTER
    assert choose(kinds, "0") == chosen != choose(kinds, "1")
    many = {f"model {number}": {number: ("wrong",)} for number in range(100)}
    assert len(choose(many, "0")) == MAX_QUESTIONS


def test_equal_input_gives_equal_bytes_and_the_seed_chooses_the_samples(settings: ReportSettings) -> None:
    first = page_of(settings).read_bytes()
    assert page_of(settings).read_bytes() == first
    settings.seed = 1
    assert page_of(settings).read_bytes() != first


def test_photographs_become_thumbnails(settings: ReportSettings, tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (900, 600), random.Random(0).randbytes(900 * 600 * 3))
    row = {**question("bison", 0), "images": [{"bytes": encode_png(noise), "path": "a.png"}] * 2}
    write_questions([{**row, "id": str(index)} for index in range(N)], tmp_path / "questions")
    page = page_of(settings)
    assert page.stat().st_size < 1_000_000
    assert ("224", "149") in {(image["width"], image["height"]) for image in Page(page).attributes("img")}


def test_questions_in_several_files_are_found(settings: ReportSettings, tmp_path: Path) -> None:
    whole = page_of(settings).read_bytes()
    folder = tmp_path / "questions" / "bison"
    rows = pq.read_table(folder / "test.parquet")
    for part, start in enumerate((0, 4)):
        pq.write_table(rows.slice(start, 4 + 2 * part), folder / f"test-0000{part}-of-00002.parquet")
    (folder / "test.parquet").unlink()
    assert page_of(settings).read_bytes() == whole


def test_without_questions_answers_are_shown_without_pictures(settings: ReportSettings) -> None:
    page = Page(page_of(replace(settings, questions=None, data=None)))
    assert not page.pictures()
    assert {each["data-task"] for each in page.attributes("article")} == {*CLOSED, "cad_qa"}


def test_what_lacks_is_left_out(settings: ReportSettings, tmp_path: Path) -> None:
    bare = evaluation(tmp_path / "bare" / "v1", 5)
    for file in (bare / "predictions").iterdir():
        file.unlink()
    path = page_of(ReportSettings({"v1": bare}, tmp_path / "bare", tmp_path / "bare", settings.out))
    page = Page(path)
    assert {attributes["id"] for attributes in page.attributes("section")} == {"scores"}
    assert not list(page.attributes("script"))


def test_half_a_character_in_a_prediction_does_not_stop_the_page(settings: ReportSettings, tmp_path: Path) -> None:
    settings.models["v2"] = evaluation(tmp_path / "evaluation" / "v2", 8, wrong="\ud83d")
    assert "?" in Page(page_of(settings)).text


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("build.json", '{"files": []}', "not a build's report"),
        ("train-00000-of-00002.parquet", "torn", "cannot be read"),
    ],
)
def test_a_broken_file_of_a_data_set_is_named(
    settings: ReportSettings, tmp_path: Path, file: str, content: str, problem: str
) -> None:
    (tmp_path / "data/v1" / file).write_text(content, "utf-8")
    with pytest.raises(InputError, match=problem) as raised:
        page_of(settings)
    assert raised.value.where == str(tmp_path / "data/v1" / file)


def test_a_picture_that_does_not_decode_is_shown_as_missing_and_counted(
    settings: ReportSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (tmp_path / "data/v1").glob("*.parquet"):
        table = pq.read_table(file)
        rows = table.to_pylist()
        for row in rows:
            row["images"][0]["bytes"] = b"%!PS-Adobe-3.0 EPSF-3.0"
        pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    text = Page(page_of(settings)).text
    assert text.count("This picture cannot be shown.") == PAIRS
    assert f"{PAIRS} pictures of this page cannot be shown." in text
    assert f"{PAIRS} pictures of the report cannot be shown" in caplog.text
