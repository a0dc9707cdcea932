import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png, open_image
from cadvi_hub.core.schema import question_features
from cadvi_hub.eval.benchmarks.writing import write_questions
from tests.support.question_rows import read_questions

QUESTIONS = Path(__file__).parents[3] / "shared/data/questions"
needs_questions = pytest.mark.skipif(
    not QUESTIONS.is_dir(), reason="../shared/data/questions is not beside the checkout"
)

TEXT = "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption better?\nA. Image 1\nB. Image 2"


def question(**changes: Any) -> dict[str, Any]:
    return {"image": ["a.png", "b.png"], "text": TEXT, "answer": "A", "question_id": 0, **changes}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    Image.new("RGB", (8, 6), "red").save(root / "a.png")
    Image.new("RGB", (6, 8), "blue").save(root / "b.png")
    return root


def write_lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_row_keeps_the_question_as_it_stands_and_embeds_both_pictures_in_order(tmp_path: Path, images: Path) -> None:
    file = write_lines(tmp_path / "BISON.jsonl", question())
    (row,) = read_questions(file, images, "bison")
    assert row["question"] == TEXT
    assert (row["id"], row["group"], row["category"], row["source"]) == ("0", "0", "", "BISON.jsonl")
    assert (row["options"], row["answer"], row["task"]) == (["A", "B"], "A", "bison")
    assert [image["path"] for image in row["images"]] == ["a.png", "b.png"]
    assert [image["bytes"] for image in row["images"]] == [(images / name).read_bytes() for name in ("a.png", "b.png")]
    assert set(row) == set(question_features())


def test_options_follow_the_set(tmp_path: Path, images: Path) -> None:
    nlvr2 = write_lines(tmp_path / "nlvr2.jsonl", question(answer="False"))
    assert next(read_questions(nlvr2, images, "nlvr2"))["options"] == ["True", "False"]
    cad_qa = write_lines(tmp_path / "cad_qa.jsonl", question(answer="A red one and a blue one."))
    assert next(read_questions(cad_qa, images, "cad_qa"))["options"] == []
    line = question(image=["a.png"], text="<image> Colour?", answer="red", options=["red", "blue"])
    single = write_lines(tmp_path / "single.jsonl", line)
    assert next(read_questions(single, images, "single_image"))["options"] == ["red", "blue"]


def test_svo_takes_its_category_from_the_line_and_eqben_from_the_image_path(tmp_path: Path, images: Path) -> None:
    svo = write_lines(tmp_path / "svo.jsonl", question(category="verb"))
    assert next(read_questions(svo, images, "svo_probes"))["category"] == "verb"
    (images / "kubric_cnt").mkdir()
    (images / "a.png").rename(images / "kubric_cnt/a.png")
    names = ["kubric_cnt/a.png", "b.png"]
    halves = [question(image=names, question_id=f"3_{half}") for half in (0, 1)]
    rows = list(read_questions(write_lines(tmp_path / "eqben.jsonl", *halves), images, "eqben"))
    assert [(row["id"], row["group"], row["category"]) for row in rows] == [
        ("3_0", "3", "kubric_cnt"),
        ("3_1", "3", "kubric_cnt"),
    ]


def test_a_picture_that_is_not_plain_rgb_is_embedded_as_a_model_sees_it(tmp_path: Path, images: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(images / "a.png")
    (row,) = read_questions(write_lines(tmp_path / "q.jsonl", question()), images, "bison")
    stored = row["images"][0]["bytes"]
    assert stored == encode_png(Image.new("RGB", (4, 4), "white"))


@pytest.mark.parametrize(
    ("changes", "task", "problem"),
    [
        ({"image": ["a.png"]}, "bison", "1 images and 2 <image>"),
        ({"image": "a.png"}, "bison", "not a list"),
        ({"text": "Image 1: <image> Image 2:"}, "bison", "2 images and 1 <image>"),
        ({"answer": "C"}, "bison", "'C' is not among A, B"),
        ({"answer": "true"}, "nlvr2", "'true' is not among True, False"),
        ({"answer": 1}, "bison", "not a string"),
        ({"image": ["a.png", 2]}, "bison", "lists of strings"),
        ({"category": "noun"}, "svo_probes", "'noun' is not among"),
        ({}, "cola", "must end in _0 or _1"),
    ],
)
def test_a_faulty_question_is_refused_with_its_file_and_line(
    tmp_path: Path, images: Path, changes: dict[str, Any], task: str, problem: str
) -> None:
    good = {
        "cola": question(question_id="0_0"),
        "svo_probes": question(category="verb"),
        "nlvr2": question(answer="True"),
    }
    file = write_lines(tmp_path / "q.jsonl", good.get(task, question()), question(**changes))
    with pytest.raises(InputError) as caught:
        list(read_questions(file, images, task))
    assert caught.value.where == f"{file}, line 2"
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone.png", "'gone.png' is missing"),
        ("broken.png", "does not decode"),
        ("../secret.png", "leads out"),
        ("/etc/passwd", "leads out"),
    ],
)
def test_a_picture_that_cannot_be_embedded_is_refused(tmp_path: Path, images: Path, name: str, problem: str) -> None:
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:40])
    file = write_lines(tmp_path / "q.jsonl", question(image=["a.png", name]))
    with pytest.raises(InputError, match=re.escape(problem)):
        list(read_questions(file, images, "bison"))


@pytest.mark.parametrize("line", ['{"image": ["a.png", "b', "[]", '{"image": ["a.png", "b.png"]}', "\xff", ""])
def test_a_torn_line_is_refused_with_its_file_and_line(tmp_path: Path, images: Path, line: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_bytes(json.dumps(question()).encode() + b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match="line 2"):
        list(read_questions(file, images, "bison"))


def test_half_a_pair_is_refused(tmp_path: Path, images: Path) -> None:
    file = write_lines(tmp_path / "cola.jsonl", *(question(question_id=name) for name in ("0_0", "0_1", "1_0")))
    with pytest.raises(InputError, match=r"pair '1' has 1 question"):
        list(read_questions(file, images, "cola"))


def test_an_unknown_set_or_file_is_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match="unknown task 'bisom'"):
        list(read_questions(tmp_path / "q.jsonl", images, "bisom"))
    with pytest.raises(InputError, match="no such question file"):
        list(read_questions(tmp_path / "q.jsonl", images, "bison"))


def test_written_sets_load_by_their_name_with_declared_features(tmp_path: Path, images: Path) -> None:
    bison = write_lines(tmp_path / "bison.jsonl", *(question(question_id=index) for index in range(230)))
    qa = write_lines(tmp_path / "qa.jsonl", question(answer="One is red."))
    data = tmp_path / "data"
    rows = [*read_questions(bison, images, "bison"), *read_questions(qa, images, "cad_qa")]
    assert write_questions(rows, data) == {"bison": 230, "cad_qa": 1}

    loaded = load_dataset(str(data), "bison", split="test", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == question_features()
    assert loaded["id"] == [str(index) for index in range(230)]
    assert [image.size for image in loaded[0]["images"]] == [(8, 6), (6, 8)]
    assert load_dataset(str(data), "cad_qa", split="test", cache_dir=str(tmp_path / "cache"))[0]["options"] == []
    file = pq.ParquetFile(data / "bison/test.parquet")
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [100, 100, 30]
    visible = [path.name for path in data.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert sorted(visible) == ["README.md", "eval.yaml", *["test.parquet"] * 2]


def test_writing_stopped_half_way_leaves_the_older_set_whole(tmp_path: Path, images: Path) -> None:
    file = write_lines(tmp_path / "q.jsonl", question())
    data = tmp_path / "data"
    write_questions(read_questions(file, images, "bison"), data)
    before = (data / "bison/test.parquet").read_bytes()
    bad = write_lines(tmp_path / "bad.jsonl", question(question_id=1), question(answer="C"))
    with pytest.raises(InputError, match="line 2"):
        write_questions(read_questions(bad, images, "bison"), data)
    assert (data / "bison/test.parquet").read_bytes() == before


def test_an_unwritable_folder_is_named(tmp_path: Path, images: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    file = write_lines(tmp_path / "q.jsonl", question())
    with pytest.raises(InputError, match="cannot be written"):
        write_questions(read_questions(file, images, "bison"), tmp_path / "data")


@needs_questions
@pytest.mark.parametrize(
    ("name", "task", "counts"),
    [
        ("BISON", "bison", {"A": 83, "B": 67}),
        ("COLA", "cola", {"A": 210, "B": 210}),
        ("CaD_QA_first300", "cad_qa", None),
    ],
)
def test_the_papers_files_are_read_whole(tmp_path: Path, name: str, task: str, counts: dict[str, int] | None) -> None:
    file = QUESTIONS / f"{name}.jsonl"
    records = [json.loads(line) for line in file.open()]
    picture = encode_png(Image.new("RGB", (2, 2), "grey"))
    for image in {image for record in records for image in record["image"]}:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).write_bytes(picture)
    rows = list(read_questions(file, tmp_path, task))
    assert [row["question"] for row in rows] == [record["text"] for record in records]
    assert [row["answer"] for row in rows] == [record["answer"] for record in records]
    assert open_image(rows[0]["images"][1]["bytes"], "stored").size == (2, 2)
    if counts:
        assert {answer: [row["answer"] for row in rows].count(answer) for answer in counts} == counts
    if task == "cola":
        assert len({row["group"] for row in rows}) == 210
