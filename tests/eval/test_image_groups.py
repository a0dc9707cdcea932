"""Sets whose questions count in groups, from rows of exactly their published form to scores computed here anew."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from datasets import Image as ImageFeature
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.faults import OTHER_ANSWER, SAME_IMAGES
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.scoring import prediction
from tests.support.published import build, letter_of, lines, numbers, parquet, picture, scores

KNOWN = random.Random(5)
CAPTIONS = 12  # pairs of captions


def mmvp_rows() -> list[dict[str, Any]]:
    return [
        {
            "Index": index,
            "Question": "Is the door open?",
            "Options": "(a) Open (b) Closed",
            "Correct Answer": "(a)" if index % 2 else "(b)",
            "image": picture(index),
        }
        for index in range(97, 105)
    ]


def test_mmvp_counts_pairs_and_has_the_corrected_answers(tmp_path: Path) -> None:
    place = parquet(tmp_path / "MMVP/data/test-00000-of-00001.parquet", mmvp_rows())
    is_open = {97: True, 98: False, 99: False, 100: True, 101: True, 102: True, 103: False, 104: False}

    def answer(doc: Doc) -> str:
        (number,) = numbers(doc)
        return letter_of(doc, "Open" if is_open[number] else "Closed")

    found = scores("mmvp", place.parents[1], tmp_path, answer)["mmvp"]
    # 97/98 right; 99/100 right since 99 is closed; of the other pairs one answer each
    assert (found["accuracy"], found["pair_accuracy"]) == (6 / 8, 2 / 4)
    report = json.loads((tmp_path / "data/mmvp/build.json").read_text())
    (counted,) = [each["count"] for flag, each in report["flags"].items() if "corrected" in flag]
    assert counted == 2


def test_the_authors_csv_of_mmvp_has_its_pictures_beside_it(tmp_path: Path) -> None:
    (tmp_path / "MMVP Images").mkdir()
    with (tmp_path / "Questions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["Index", "Question", "Options", "Correct Answer"])
        table.writeheader()
        for row in mmvp_rows()[:2]:
            del row["image"]
            table.writerow(row)
            Image.new("RGB", (4, 4)).save(tmp_path / f"MMVP Images/{row['Index']}.jpg")
    assert build("mmvp", tmp_path / "Questions.csv", tmp_path, images=tmp_path)["rows"] == 2


def natural_rows(count: int) -> list[dict[str, Any]]:
    rows = []
    for index in range(count):
        yes, no = ("A", "B") if index % 2 else ("Yes", "No")
        answers = {(0, 0): yes, (0, 1): no, (1, 0): no, (1, 1): yes}  # by image and question
        rows.append(
            {
                "Index": index,
                "Image_0": picture(2 * index),
                "Image_1": picture(2 * index + 1),
                "Question_0": "Which is it? Option: A:red; B:blue;" if index % 2 else "Is it red?",
                "Question_1": "Which one? Option: A:big; B:small;" if index % 2 else "Is it big?",
                **{f"Image_{image}_Question_{question}": answer for (image, question), answer in answers.items()},
                "Question_Type": "multiple_choice" if index % 2 else "yes_no",
                "Source": "Flickr30K",
            }
        )
    return rows


def test_naturalbench_has_its_four_scores(tmp_path: Path) -> None:
    rows = natural_rows(30)
    wrong = {(row, image, question) for row in range(30) for image in (0, 1) for question in (0, 1)}
    wrong = {each for each in sorted(wrong) if random.Random(str(each)).random() < 0.25}

    def answer(doc: Doc) -> str:
        row, image = divmod(numbers(doc)[0], 2)
        question = int("Which one" in doc.query or "big?" in doc.query)
        said = str(rows[row][f"Image_{image}_Question_{question}"])
        other = {"A": "B", "B": "A", "Yes": "No", "No": "Yes"}[said]
        return other if (row, image, question) in wrong else said

    found = scores("naturalbench", parquet(tmp_path / "n.parquet", rows), tmp_path, answer)["naturalbench"]
    right = [[[(row, i, q) not in wrong for q in (0, 1)] for i in (0, 1)] for row in range(30)]  # row, image, question
    assert found["n"] == 120
    assert found["accuracy"] == sum(q for row in right for i in row for q in i) / 120
    assert found["question_accuracy"] == sum(row[0][q] and row[1][q] for row in right for q in (0, 1)) / 60
    assert found["image_accuracy"] == sum(row[i][0] and row[i][1] for row in right for i in (0, 1)) / 60
    assert found["group_accuracy"] == sum(all(map(all, row)) for row in right) / 30
    assert 0 < found["group_accuracy"] < found["question_accuracy"] < found["accuracy"] < 1
    assert found["question_accuracy_n"] == 60


def test_naturalbench_refuses_an_answer_of_another_kind(tmp_path: Path) -> None:
    (row,) = natural_rows(1)
    with pytest.raises(InputError, match=r"row 1: Image_1_Question_0 is 'B', not Yes or No"):
        build("naturalbench", parquet(tmp_path / "n.parquet", [{**row, "Image_1_Question_0": "B"}]), tmp_path)


def chosen(doc: Doc, wrong: set[str]) -> str:
    """What a model chooses that knows each picture `2 g + h` to show "pair g, half h", but for some questions."""
    options = {letter: letter_text(doc, letter) for letter in "AB"}
    if len(numbers(doc)) == 2:
        group, half = (int(word) for word in doc.query.split('"')[1].replace(",", "").split()[1::2])
        kind, right = "i", "AB"[numbers(doc).index(2 * group + half)]
    else:
        group, half = divmod(numbers(doc)[0], 2)
        kind = "t"
        right = next(letter for letter, text in options.items() if text == f"pair {group}, half {half}")
    return {"A": "B", "B": "A"}[right] if f"{group}{kind}{half}" in wrong else right


def letter_text(doc: Doc, letter: str) -> str:
    return next(line[3:] for line in doc.query.splitlines() if line.startswith(f"{letter}. "))


def drawn_wrong(pairs: int) -> set[str]:
    names = [f"{group}{kind}{half}" for group in range(pairs) for kind in "it" for half in (0, 1)]
    return {name for name in names if random.Random(name).random() < 0.3}


def square_scores(groups: range, wrong: set[str]) -> dict[str, float]:
    """Winoground's three scores, computed from which choices are wrong."""

    def share(kinds: str) -> float:
        names = [[f"{group}{kind}{half}" for kind in kinds for half in (0, 1)] for group in groups]
        return sum(not wrong.intersection(each) for each in names) / len(groups)

    return {"text_score": share("t"), "image_score": share("i"), "group_score": share("it")}


def square_rows(captions: str, category: str) -> list[dict[str, Any]]:
    return [
        {
            "id": group,
            "image_0": picture(2 * group),
            "image_1": picture(2 * group + 1),
            f"{captions}_0": f"pair {group}, half 0",
            f"{captions}_1": f"pair {group}, half 1",
            category: ("Object", "Relation")[group % 2],
        }
        for group in range(CAPTIONS)
    ]


def check_square(found: dict[str, Any], wrong: set[str]) -> None:
    expected = square_scores(range(CAPTIONS), wrong)
    assert {metric: found[metric] for metric in expected} == expected
    assert 0 < expected["group_score"] < min(expected["text_score"], expected["image_score"]) < 1
    assert found["n"] == 4 * CAPTIONS


def test_winoground_has_text_image_and_group_score(tmp_path: Path) -> None:
    wrong = drawn_wrong(CAPTIONS)
    rows = [{**row, "tag": "Adjective-Color"} for row in square_rows("caption", "collapsed_tag")]
    place = parquet(tmp_path / "w.parquet", rows)
    found = scores("winoground", place, tmp_path, lambda doc: chosen(doc, wrong), both_orders=True)
    check_square(found["winoground"], wrong)
    assert set(BENCHMARKS["winoground"].options) == {"A", "B"}
    assert found["winoground"]["not_swapped_n"] == 2 * CAPTIONS  # those about one picture
    assert found["winoground"]["both_orders_image_score"] == found["winoground"]["image_score"]
    of_objects = square_scores(range(0, CAPTIONS, 2), wrong)
    assert found["winoground"]["text_score_object"] == of_objects["text_score"]


def test_vismin_bench_is_read_as_it_is_stored_and_its_faults_are_counted(tmp_path: Path) -> None:
    wrong, rows = drawn_wrong(CAPTIONS), square_rows("text", "category")
    for number in range(1, 5):
        rows = [{**row, f"question_{number}": f"question {number}"} for row in rows]
    data = Dataset.from_list(rows)
    for column in ("image_0", "image_1"):
        data = data.cast_column(column, ImageFeature(decode=False))
    data.save_to_disk(tmp_path / "vismin")
    found = scores("vismin_bench", tmp_path / "vismin", tmp_path, lambda doc: chosen(doc, wrong))["vismin_bench"]
    check_square(found, wrong)
    mixed = [{**rows[0], "image_1": rows[0]["image_0"]}, {**rows[1], "text_1": rows[1]["text_0"]}]
    flags = build("vismin_bench", parquet(tmp_path / "mixed.parquet", mixed), tmp_path / "mixed")["flags"]
    assert flags[SAME_IMAGES]["count"] == 2
    assert flags[OTHER_ANSWER]["count"] >= 2


def test_eqben_has_text_and_group_score_beside_its_image_score(tmp_path: Path) -> None:
    wrong = drawn_wrong(CAPTIONS)
    rows = []
    for group in range(CAPTIONS):
        names = [f"eqbensd/{2 * group + half}.png" for half in (0, 1)]
        for half, name in enumerate(names):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(picture(2 * group + half)["bytes"])
        captions = {f"caption{half}": f"pair {group}, half {half}" for half in (0, 1)}
        rows.append({"image0": names[0], "image1": names[1], **captions})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/sd.json").write_text(json.dumps(rows))
    build("eqben_group", tmp_path / "annotations", tmp_path, images=tmp_path)
    (tmp_path / "eqbensd").rename(tmp_path / "annotations/eqbensd")  # the folder of the questions has the pictures
    found = scores("eqben_group", tmp_path / "annotations", tmp_path, lambda doc: chosen(doc, wrong))["eqben_group"]
    check_square(found, wrong)
    assert found["image_score_sd"] == found["image_score"]


def test_the_card_has_provenance_licence_and_known_faults(tmp_path: Path) -> None:
    build("mmvp", parquet(tmp_path / "m.parquet", mmvp_rows()), tmp_path)
    card = (tmp_path / "data/README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("| `mmvp`")]
    assert "lmms-lab-eval/MMVP" in line
    assert "279, 280" in line


def test_a_letter_names_no_image_where_options_have_texts_of_their_own() -> None:
    question = {"id": "1", "category": "", "group": "1", "options": ["A", "B"]}
    of_images = prediction("winoground", question, "A", "The first image.")
    of_texts = prediction("choices", question, "A", "The first image.")
    assert (of_images["tolerant"], of_texts["tolerant"]) == ("A", None)


def test_a_folder_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no .parquet, .jsonl, .csv, .json is there"):
        build("winoground", tmp_path / "empty", tmp_path)
    bad = square_rows("caption", "tag")[:1]
    with pytest.raises(InputError, match=r"line 1: image_0 holds no image"):
        build("winoground", lines(tmp_path / "w.jsonl", [{**bad[0], "image_0": None, "image_1": "b.png"}]), tmp_path)
