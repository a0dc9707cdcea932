"""Sets of your own: any columns, options and number of images, from a file to a score."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.benchmarks.choices import read_choices
from cadvi_hub.eval.benchmarks.listing import ListSettings, list_benchmarks
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import BenchmarkSettings, ChoiceSettings, EvaluateSettings
from cadvi_hub.generation.settings import EndpointSettings
from tests.support.openai_server import Answer, openai_server, said

COLOURS = ("red", "blue", "green")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for colour in COLOURS:
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{colour}.png")
    return tmp_path


def write_lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


ROW = {"image": "red.png", "question": "Which colour?", "choices": ["red", "blue"], "answer": "blue"}


def test_three_images_from_a_csv_file_to_a_score_at_an_endpoint(images: Path) -> None:
    file = images / "mine.csv"
    lines = [
        f"{n},red.png,blue.png,green.png,Which is {c}?,{c},{'warm' if not n else 'cold'}"
        for n, c in enumerate(COLOURS)
    ]
    file.write_text("\n".join(["key,one,two,three,ask,truth,kind", *lines]) + "\n")
    columns = ChoiceSettings("ask", "truth", ["one", "two", "three"], options=COLOURS, id="key", category="kind")
    build_benchmark(BenchmarkSettings("choices", file, images / "data", images, columns=columns))
    with openai_server(lambda request, number: Answer("B")) as server:
        scores = evaluate(
            EvaluateSettings("m", str(images / "data"), images / "out", endpoint=EndpointSettings(server.base_url))
        )["choices"]
    assert (scores["accuracy"], scores["n"]) == (1 / 3, 3)
    assert (scores["accuracy_warm"], scores["accuracy_cold"]) == (0, 0.5)
    asked = sorted(map(said, server.requests))[0]
    assert asked.split("\n") == [
        "Image 1: ", "Image 2: ", "Image 3: ", "Which is blue?", "A. red", "B. blue", "C. green",
        "Answer with the option's letter from the given choices directly.",
    ]  # fmt: skip
    assert [part["type"] for part in server.requests[0]["messages"][-1]["content"]].count("image_url") == 3


def test_options_are_letters_or_words_of_each_row_or_of_all(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", [ROW, {**ROW, "choices": ["dark red", "blue"], "answer": "dark red"}])
    letters = list(read_choices(file, ChoiceSettings(option_columns=["choices"])))
    assert [(each.options, each.answer) for each in letters] == [(("A", "B"), "B"), (("A", "B"), "A")]
    words = list(read_choices(file, ChoiceSettings(option_columns=["choices"], letters=False)))
    assert [(each.options, each.answer) for each in words] == [
        (("red", "blue"), "blue"),
        (("dark red", "blue"), "dark red"),
    ]
    assert words[0].text == "<image>\nWhich colour?\nAnswer with one of these options directly: red, blue."
    given = write_lines(tmp_path / "b.jsonl", [{**ROW, "answer": "B"}])
    (question,) = read_choices(given, ChoiceSettings(options=["red", "blue"]))
    assert (question.id, question.answer, question.names) == ("1", "B", ("red.png",))


def test_a_question_with_its_own_places_for_images_is_used_as_it_stands(tmp_path: Path) -> None:
    row = {**ROW, "image": ["red.png", "blue.png"], "question": "Is <image> like <image>? yes or no", "answer": "no"}
    (question,) = read_choices(
        write_lines(tmp_path / "a.jsonl", [row]), ChoiceSettings(options=["yes", "no"], letters=False)
    )
    assert (question.text, question.names) == (row["question"], ("red.png", "blue.png"))


def test_without_options_any_text_is_an_answer(tmp_path: Path) -> None:
    (question,) = read_choices(write_lines(tmp_path / "a.jsonl", [{**ROW, "answer": "two dogs"}]), ChoiceSettings())
    assert (question.options, question.answer, question.text) == ((), "two dogs", "<image>\nWhich colour?")


@pytest.mark.parametrize(
    ("changes", "columns", "problem"),
    [
        ({"answer": "green"}, {"options": ["red", "blue"]}, "answer 'green' is not among red, blue"),
        ({}, {"question": "ask"}, "no column ask"),
        ({"image": ""}, {}, "no image"),
        ({"image": [3]}, {}, "image holds no image"),
        ({"question": "<image> <image>?"}, {}, "1 image.* and 2 <image>"),
        ({}, {"options": ["blue", "blue"]}, "twice"),
    ],
)
def test_a_bad_row_is_named_with_its_line(
    tmp_path: Path, changes: dict[str, Any], columns: dict[str, Any], problem: str
) -> None:
    file = write_lines(tmp_path / "a.jsonl", [ROW, {**ROW, **changes}])
    with pytest.raises(InputError, match=rf"a.jsonl, line [12]: .*{problem}"):
        list(read_choices(file, ChoiceSettings(**columns)))
    with pytest.raises(InputError, match=r"columns.images: it names no column"):
        read_choices(file, ChoiceSettings(images=()))


def test_the_list_names_every_set() -> None:
    lines = list_benchmarks(ListSettings()).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(BENCHMARKS)
