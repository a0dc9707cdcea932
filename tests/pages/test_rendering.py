"""Rows, questions and chats as HTML: everything is escaped, and what a reader must see is there."""

import re
import struct
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Features

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import MAX_PIXELS, ImageFolders
from cadvi_hub.core.schema import cad_qa_features, instruct_features
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.pages.evaluations import Evaluations
from cadvi_hub.pages.pictures import data_url, shown
from cadvi_hub.pages.rendering import (
    Turn,
    answer_turn,
    chat_html,
    drops_html,
    message_html,
    pair_html,
    question_html,
    row_link,
    scores_html,
)
from cadvi_hub.pages.rows import open_sets
from cadvi_hub.pages.scores import score_tables
from cadvi_hub.pages.settings import ViewSettings
from cadvi_hub.pages.view import view
from tests.support.report_parts import N, data_set, evaluation, judged, pair_row, picture, question, write_json

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{7*7}}${7*7}\u202eright to left"""


def hostile(value: Any) -> Any:
    """`value` with every string but those that are names of ours replaced."""
    if isinstance(value, dict):
        kept = {"type", "role", "bytes"}
        return {key: item if key in kept else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def check_harmless(html: str) -> None:
    tags = set(re.findall(r"<(\w+)", html))
    assert not tags & {"script", "iframe", "object", "form", "style", "svg", "base", "meta"}
    assert not re.search(r"<[^>]*\son\w+\s*=\s*[^&]", re.sub(r'"[^"]*"', '""', html))
    assert "src=x" not in re.sub(r"&lt;.*?&gt;", "", html)
    assert "&lt;script&gt;" in html


def test_nothing_in_a_row_becomes_markup() -> None:
    row = hostile({**pair_row(0, "v1", "c", 8), "context": "x", "question": "x", "answer": "x"})
    html = pair_html(row, [shown(image, data_url) for image in row["images"]], row_link("v1", HOSTILE))
    check_harmless(html)
    assert "49" not in html.replace("&#34;", "").replace("&#39;", "")  # no template in a value is filled
    for text in re.findall(r"<dd[^>]*>", html):
        assert 'dir="auto"' in text  # a right-to-left text turns itself alone around


def test_nothing_in_results_drops_or_chats_becomes_markup(tmp_path: Path) -> None:
    check_harmless(drops_html({"drops": {HOSTILE: {"count": 3, "first": [HOSTILE]}}, "rows": 1}))
    said = [Turn("user", HOSTILE), answer_turn(f"Commonalities:\n{HOSTILE}\n\nDifferences:\n1. Counts: {HOSTILE}")]
    assert said[1].summary
    check_harmless(chat_html([], said, HOSTILE))
    check_harmless(message_html(HOSTILE, "problem"))
    results = {HOSTILE: {"bison": {"accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "n": 9}}}
    check_harmless(scores_html(score_tables(results), [HOSTILE]))
    folder = evaluation(tmp_path / "run", 5, ["bison"], wrong=HOSTILE)
    check_harmless(question_html(Evaluations({HOSTILE: folder}).question("bison", 7), []))


def test_a_pair_shows_what_is_shared_and_what_differs_apart() -> None:
    row = pair_row(3, "v1", "Three dogs run.", 8)
    html = pair_html(row, [shown(image, data_url) for image in row["images"]], "#x", "Row 4 of 9")
    assert "<mark>dogs</mark>" in html  # by its lemma
    assert re.search(r'class="same">.*Both images show a dog.*class="differ">.*Counts.*One dog, then two', html, re.S)
    assert html.count("<img ") == 2
    assert "(2 turns)" in html
    assert "mentions" in html
    assert "Row 4 of 9" in html
    assert 'id="x"' in html


def test_a_set_that_lacks_columns_is_shown_all_the_same() -> None:
    row: dict[str, Any] = {"id": "1", "images": [], "messages": None, "source": "mix"}
    assert "mix" in pair_html(row, [], "?row=1")


@pytest.mark.parametrize(
    "image",
    [
        {"bytes": b"no picture", "path": "a.png"},
        {"bytes": picture("red")["bytes"][:40], "path": "cut.png"},
        {"bytes": None, "path": "../../etc/passwd"},
        {"bytes": None, "path": None},
    ],
)
def test_a_broken_picture_says_so_in_its_place(image: dict[str, Any], tmp_path: Path) -> None:
    broken = shown(image, data_url, ImageFolders([tmp_path]))
    assert broken.problem
    html = pair_html(pair_row(0, "v1", "c", 8), [broken, shown(picture("red"), data_url)], "?row=1")
    assert "This picture cannot be shown." in html
    assert html.count("<img ") == 1


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    header = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    assert "exceeds" in shown({"bytes": header, "path": "bomb.bmp"}, data_url).problem


def test_a_picture_that_a_row_only_names_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "red.png").write_bytes(picture("red", 8)["bytes"])
    found = shown({"bytes": None, "path": "red.png"}, data_url, ImageFolders([tmp_path], search=True))
    assert (found.width, found.problem) == (8, "")


def test_photographs_are_scaled_down() -> None:
    assert shown(picture("red", 2000), data_url).width == 900


@pytest.fixture
def evaluations(tmp_path: Path) -> Evaluations:
    """`first` has 5 of 10 right and answers A where it is wrong, `second` 8; open answers and a judge's ratings."""
    first = evaluation(tmp_path / "first", 5, ["bison", "cad_qa"], wrong="A", both_orders=True)
    second = evaluation(tmp_path / "second", 8, ["bison"], wrong="neither")
    judged(first, "judge/one", [4, None, 2, 5, 1, 0, 3, 3, 3, 3])
    write_questions(
        (question(task, index) for task in ("bison", "cad_qa") for index in range(N)), tmp_path / "questions"
    )
    return Evaluations({"first": first, "second": second}, open_sets(str(tmp_path / "questions")))


def test_questions_are_found_by_how_they_were_answered(evaluations: Evaluations) -> None:
    assert evaluations.tasks == ["bison", "cad_qa"]
    assert len(evaluations.matching("bison")) == N
    assert evaluations.matching("bison", "second", "right") == list(range(8))
    assert evaluations.matching("bison", "second", "unreadable") == [8, 9]
    assert evaluations.matching("bison", "first", "wrong") == [5, 7, 9]  # of the others A is right
    assert evaluations.matching("bison", kind="changed") == [5, 7, 8, 9]
    assert evaluations.matching("bison", "first", "order-inconsistent")
    assert evaluations.matching("cad_qa", kind="open") == list(range(N))


def test_a_question_shows_pictures_both_answers_and_whether_they_were_right(evaluations: Evaluations) -> None:
    asked = evaluations.question("bison", 5)
    html = question_html(asked, [shown(image, data_url) for image in asked.images], "6 of 10")
    assert html.count("<img ") == 2
    assert "✗ wrong" in html
    assert "✓ right" in html
    assert "With the pictures swapped" in html
    assert "The two runs differ" in html
    rated = question_html(evaluations.question("cad_qa", 0), [])
    assert "rating 4 of 5" in rated
    assert "Reason 0." in rated


def test_a_letter_is_shown_with_what_it_stands_for(evaluations: Evaluations) -> None:
    asked = evaluations.question("bison", 5)._replace(text="<image><image>Which?\nA. Image 1\nB. <b>Image 2</b>")
    html = question_html(asked, [])
    assert 'Right answer</span> <strong dir="auto">B</strong> <span class="hint">(&lt;b&gt;Image 2' in html
    assert '<p class="lines" dir="auto">A <span class="hint">(Image 1)</span></p>' in html
    assert "which one suits it?" in html  # what the set asks, in words


def test_scores_have_their_intervals(evaluations: Evaluations) -> None:
    html = scores_html(score_tables(evaluations.results), [])
    assert "second" in html
    assert re.search(r"<small>\d+\.\d–\d+\.\d</small>", html)


def test_results_of_other_questions_are_refused(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "run", 5, ["bison"])
    other = [question("bison", index) | {"id": f"other{index}"} for index in range(N)]
    write_questions(iter(other), tmp_path / "questions")
    with pytest.raises(InputError, match="another question"):
        Evaluations({"run": folder}, open_sets(str(tmp_path / "questions"))).question("bison", 0)


def test_three_evaluations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one or two"):
        view(ViewSettings(results=dict.fromkeys("abc", tmp_path), export=tmp_path / "site"))


def test_the_export_is_one_page_with_its_pictures_and_repeats_to_the_byte(tmp_path: Path) -> None:
    data_set(tmp_path / "data", "v1", caption=HOSTILE)
    write_json(tmp_path / "data" / "v2" / "build.json", {"rows": 0, "files": [], "drops": {}})
    folder = evaluation(tmp_path / "run", 5, ["bison"])
    settings = ViewSettings(data=str(tmp_path / "data"), results={"run": folder}, export=tmp_path / "site", rows=4)
    assert view(settings) == f"Page: {tmp_path / 'site' / 'index.html'}"
    page = (tmp_path / "site" / "index.html").read_bytes()
    named = set(re.findall(rb'<img src="(pictures/[0-9a-f]{20}\.png)"', page))
    assert named == {f"pictures/{file.name}".encode() for file in (tmp_path / "site" / "pictures").iterdir()}
    assert len(re.findall(rb"<article", page)) == 4 + 4
    assert page.count(b"<script") == 1
    assert b"This data set has no rows." in page
    assert b"how they differ, as a model learns it. Here are 4 of 9 rows, spread evenly." in page
    assert b"http" not in re.sub(rb"Content-Security-Policy|http-equiv", b"", page)
    view(settings)
    assert (tmp_path / "site" / "index.html").read_bytes() == page


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (cad_qa_features(), "Questions about two pictures"),
        (instruct_features(), "Pictures and conversations about them"),
    ],
)
def test_the_export_says_what_the_rows_of_a_set_are(features: Features, said: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "rows").mkdir(parents=True)
    pq.write_table(features.arrow_schema.empty_table(), tmp_path / "data" / "rows" / "train.parquet")
    view(ViewSettings(data=str(tmp_path / "data"), export=tmp_path / "site"))
    assert said in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_an_export_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to show"):
        view(ViewSettings(export=tmp_path))
    assert not list(tmp_path.iterdir())


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "cadvi_hub.pages.page", raising=False)
    with pytest.raises(InputError, match=r"cadvi-hub\[view\]"):
        view(ViewSettings())
