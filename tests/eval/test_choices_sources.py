"""Where sets of your own come from, and how they are asked: YAML, folders, the Hub, three images, both orders."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from lighteval.tasks.requests import Doc

from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.choices import read_choices
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import ChoiceSettings, EvaluateSettings
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.pages.columns import columns as report_columns
from tests.eval.test_evaluate import Scripted
from tests.support.published import build, letter_of, lines, numbers, parquet, picture
from tests.support.tiny_llava import make_tiny_llava

YAML = """\
task: {task}
questions: {questions}
images: {images}
out: {out}
columns:
  question: ask
  answer: truth
  images: [one, two, three]
  option_columns: [choices]
"""
OPTIONS = ["red", "green", "blue"]


def three_images(folder: Path, count: int) -> Path:
    """A file of questions about three pictures each, which lie beside it."""
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture(number)["bytes"])
    rows: list[dict[str, Any]] = [
        {
            "ask": f"Question {number}?",
            "truth": OPTIONS[number % 3],
            "one": "0.png",
            "two": "1.png",
            "three": "2.png",
            "choices": OPTIONS,
        }
        for number in range(count)
    ]
    return lines(folder / "mine.jsonl", rows)


def test_ten_lines_of_yaml_add_a_benchmark_that_a_model_answers(tmp_path: Path) -> None:
    file, out = three_images(tmp_path, 4), tmp_path / "data"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(YAML.format(task="choices_lamps", questions=file, images=tmp_path, out=out))
    assert len(recipe.read_text().splitlines()) <= 10
    main(["benchmarks", "build", "--config", str(recipe)])
    main(["benchmarks", "build", "--config", str(recipe), "--task", "choices"])
    model = make_tiny_llava(tmp_path / "model")
    settings = EvaluateSettings(str(model), str(out), tmp_path / "scores", max_tokens=4, batch_size=2)
    scores = evaluate(settings)
    found = scores["choices_lamps"]
    assert list(scores) == ["choices", "choices_lamps"]
    assert found == scores["choices"]
    predictions = tmp_path / "scores/predictions/choices_lamps.jsonl"
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["A", "B", "C", "A"]
    assert found["accuracy"] == sum(row["prediction"].strip() == row["answer"] for row in rows) / 4
    assert found["n"] == 4
    assert "config_name: choices_lamps" in (out / "README.md").read_text()
    shown = [column.task for column in report_columns({"tiny": scores})]
    assert shown == ["choices", "choices_lamps"]
    with pytest.raises(InputError, match=r"task: unknown task 'choices_lamps_swapped'"):
        build("choices_lamps_swapped", file, tmp_path)


def test_column_names_come_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = three_images(tmp_path, 2)
    columns = ["--columns.question", "ask", "--columns.answer", "truth", "--columns.images", '["one", "three"]']
    options = ["--columns.options", json.dumps(OPTIONS), "--columns.letters", "false", "--out", str(tmp_path / "data")]
    main(["benchmarks", "build", "choices", "--questions", str(file), "--images", str(tmp_path), *columns, *options])
    assert "choices: 2 of 2 questions" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "data/choices/test.parquet").to_pylist()
    assert rows[1]["question"].endswith("Question 1?\nAnswer with one of these options directly: red, green, blue.")
    assert [image["path"] for image in rows[0]["images"]] == ["0.png", "2.png"]


def test_a_folder_of_parquet_and_a_data_set_of_the_hub_give_the_same_set(tmp_path: Path, hub: LoopbackHub) -> None:
    rows = [{"question": f"{n}?", "image": picture(n), "answer": "yes"} for n in range(5)]
    folder = tmp_path / "mine"
    parquet(folder / "data/test-00000-of-00002.parquet", rows[:3])
    parquet(folder / "data/test-00001-of-00002.parquet", rows[3:])
    columns = ChoiceSettings(options=["yes", "no"], letters=False)
    assert build("choices", folder, tmp_path / "a", columns=columns)["rows"] == 5
    HfApi().create_repo("tester/mine", repo_type="dataset")
    HfApi().upload_folder(repo_id="tester/mine", repo_type="dataset", folder_path=folder)
    assert build("choices", Path("tester/mine"), tmp_path / "b", columns=columns)["rows"] == 5
    sets = [pq.read_table(tmp_path / place / "data/choices/test.parquet") for place in ("a", "b")]
    assert sets[0].equals(sets[1])
    with pytest.raises(InputError, match=r"questions tester/none: neither here nor on the Hub"):
        build("choices", Path("tester/none"), tmp_path / "c", columns=columns)


def test_pictures_beside_the_questions_come_from_the_hub_too(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = tmp_path / "mine"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures/1.png").write_bytes(picture(1)["bytes"])
    lines(folder / "test.jsonl", [{"question": "Open?", "image": "pictures/1.png", "answer": "a door"}])
    HfApi().create_repo("tester/beside", repo_type="dataset")
    HfApi().upload_folder(repo_id="tester/beside", repo_type="dataset", folder_path=folder)
    assert build("choices", Path("tester/beside"), tmp_path)["rows"] == 1


def test_words_change_places_with_the_images(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number)["bytes"])
    rows = [
        {
            "image": ["0.png", "1.png"] if number < 2 else ["2.png", "3.png"],
            "question": "Is the first image brighter than the second?" if number % 2 else "Which is brighter?",
            "choices": ["yes", "no"] if number % 2 else ["The first image", "The second image", "Neither"],
            "answer": "no" if number % 2 else "The second image",
        }
        for number in range(4)
    ]
    rows.append({**rows[1], "image": ["0.png", "1.png", "2.png"]})
    columns = ChoiceSettings(option_columns=["choices"], swap_words=["first", "second"])
    build("choices", lines(tmp_path / "mine.jsonl", rows), tmp_path, images=tmp_path, columns=columns)
    asked: list[tuple[str, list[int]]] = []

    def answer(doc: Doc) -> str:
        """Knows that the picture with the higher number is brighter, and says "second" where it need not look."""
        asked.append((doc.query.split("\n")[-4 if "Neither" not in doc.query else -5], numbers(doc)))
        brighter = numbers(doc).index(max(numbers(doc)))
        if "Neither" in doc.query:
            return letter_of(doc, "The second image")
        first_is_brighter = brighter == 0 if "first image brighter" in doc.query else brighter == 1
        return letter_of(doc, "yes" if first_is_brighter else "no")

    settings = EvaluateSettings("scripted", str(tmp_path / "data"), tmp_path / "scores", both_orders=True)
    found = evaluate(settings, Scripted(answer))
    assert found["choices"]["accuracy"] == 1
    assert found["choices_swapped"]["accuracy"] == 2 / 4
    assert found["choices"]["both_orders_accuracy"] == 2 / 4
    assert found["choices"]["not_swapped_n"] == 1  # three images
    assert ("Is the second image brighter than the first?", [1, 0]) in asked


def test_without_words_nobody_knows_what_is_right_after_a_swap(tmp_path: Path) -> None:
    rows = [{"image": ["0.png", "1.png"], "question": "Which?", "choices": ["this", "that"], "answer": "A"}]
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(picture(number)["bytes"])
    columns = ChoiceSettings(option_columns=["choices"])
    build("choices", lines(tmp_path / "mine.jsonl", rows), tmp_path, images=tmp_path, columns=columns)
    settings = EvaluateSettings("scripted", str(tmp_path / "data"), tmp_path / "scores", both_orders=True)
    found = evaluate(settings, Scripted(lambda doc: "A"))
    assert found["choices"]["not_swapped_n"] == 1
    assert "choices_swapped" not in found
    with pytest.raises(InputError, match=r"columns.swap_words: it needs two different words"):
        read_choices(tmp_path / "mine.jsonl", ChoiceSettings(swap_words=["first", "First"]))
