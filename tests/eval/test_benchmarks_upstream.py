"""Every upstream format becomes questions in our wording, and a bad row is refused with its file and place."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.core.schema import v1_features
from cadvi_hub.eval.benchmarks.bison import read_bison
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.benchmarks.cad_summary import NO_SUMMARY, read_summaries
from cadvi_hub.eval.benchmarks.cola import read_cola
from cadvi_hub.eval.benchmarks.eqben import read_eqben
from cadvi_hub.eval.benchmarks.nlvr2 import read_nlvr2
from cadvi_hub.eval.benchmarks.pictures import Pictures
from cadvi_hub.eval.benchmarks.question import Question, named
from cadvi_hub.eval.benchmarks.seed_bench import read_seed_image, read_seed_video
from cadvi_hub.eval.benchmarks.svo_probes import read_svo_probes
from cadvi_hub.eval.settings import BenchmarkSettings

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
NLVR = Path(__file__).parents[3] / "shared/data/nlvr"

WHICH = (
    'Image 1: <image>\nImage 2: <image>\nWhich image suits the caption "{}" better?\nA. Image 1\nB. Image 2\n'
    "Answer with the option's letter from the given choices directly."
)
BISON: dict[str, Any] = {
    "bison_id": 7,
    "caption_id": 3,
    "caption": "A dog\non a lawn.",
    "image_candidates": [
        {"image_id": 1, "image_filename": "COCO_val2014_000000000001.jpg"},
        {"image_id": 2, "image_filename": "COCO_val2014_000000000002.jpg"},
    ],
    "true_image_id": 2,
}
SVO = {
    "sentence": "A girl stands in the grass.",
    "pos_triplet": "girl,stand,grass",
    "neg_triplet": "dog,stand,grass",
    "pos_url": "https://example.org/a/photo.jpg",
    "neg_url": "https://example.org/b/photo.jpg",
    "pos_image_id": "11",
    "neg_image_id": "12",
    "subj_neg": "True",
    "verb_neg": "False",
    "obj_neg": "False",
}
NLVR2 = {"sentence": "The left image has a dog.", "identifier": "dev-850-2-1", "label": "True", "left_url": "u"}
EQBEN = {"image0": "kubric_cnt/0.png", "image1": "kubric_cnt/1.png", "caption0": "One cup.", "caption1": "Two cups."}
COLA = ["https://example.org/vg/2.jpg", "a red # on # blue", "https://example.org/vg/3.jpg", "a blue # on # red"]
SEED = {
    "question_id": "v1",
    "question_type_id": 11,
    "data_id": "P03/P03_24.MP4",
    "data_type": "video",
    "question": "What comes next?",
    **{f"choice_{letter}": f"choice {letter}" for letter in "abcd"},
    "answer": "B",
    "segment": [2.0, 3.5],
}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_csv(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(SVO))
        writer.writeheader()
        writer.writerows(rows)
    return path


def many(read: Callable[[Path, int], Iterator[Question]], path: Path, seed: int) -> list[tuple[str, str]]:
    return [(question.id, question.answer) for question in read(path, seed)]


def test_bison_asks_which_image_the_caption_belongs_to_and_draws_the_order_by_the_questions_id(tmp_path: Path) -> None:
    items = [{**BISON, "bison_id": number} for number in range(300)]
    path = write(tmp_path / "bison.json", {"info": {}, "data": items})
    questions = list(read_bison(path, 0))
    assert questions[0].text == WHICH.format("A dog on a lawn.")
    for question in questions:
        assert question.names[question.options.index(question.answer)] == "COCO_val2014_000000000002.jpg"
        assert sorted(question.names) == [image["image_filename"] for image in BISON["image_candidates"]]
    answers = Counter(question.answer for question in questions)
    assert 120 < answers["A"] < 180
    backwards = write(tmp_path / "backwards.json", {"data": items[::-1]})
    assert (
        sorted(many(read_bison, backwards, 0))
        == sorted(many(read_bison, path, 0))
        != sorted(many(read_bison, path, 1))
    )


def test_svo_probes_takes_category_and_names_from_the_row(tmp_path: Path) -> None:
    verb = {**SVO, "subj_neg": "False", "verb_neg": "True", "sentence": 'He says "hi", loudly.'}
    first, second = read_svo_probes(write_csv(tmp_path / "svo_probes.csv", SVO, verb), 0)
    assert (first.id, first.category, second.id, second.category) == ("0", "subject", "1", "verb")
    assert first.names["AB".index(first.answer)] == "11"
    assert second.text == WHICH.format('He says "hi", loudly.')


def test_an_image_id_finds_its_picture_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / "below/11.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "12.jpg")
    pictures = Pictures([tmp_path])
    assert [pictures.embed(image)["path"] for image in named("11", "12")] == ["11.png", "12.jpg"]


def test_nlvr2_keeps_left_and_right_and_groups_a_sentence_over_its_pairs(tmp_path: Path) -> None:
    other = {**NLVR2, "identifier": "dev-850-3-1", "label": "False"}
    path = write(tmp_path / "dev.json", json.dumps(NLVR2) + "\n" + json.dumps(other) + "\n")
    first, second = read_nlvr2(path, 0)
    assert first.names == ("dev-850-2-img0.png", "dev-850-2-img1.png")
    assert (first.answer, second.answer, first.options) == ("True", "False", ("True", "False"))
    assert first.group == second.group == "dev-850-1"
    assert first.text == (SNAPSHOTS / "statement.txt").read_text()


@pytest.mark.parametrize(
    ("name", "content", "category"),
    [
        ("kubric.json", [EQBEN, {**EQBEN, "caption0": "Three cups."}], "kubric_cnt"),
        ("eqben_gebc.json", {"v1": [{**EQBEN, "image0": "v1/0.png"}] * 2}, "gebc"),
        ("ann_ag.json", {"v1": {"dog": [{**EQBEN, "image0": "v1/0.png", "caption0": ["One cup.", "x"]}] * 2}}, "ag"),
        ("all.json", [{**EQBEN, "image0": "eqbenyoucook2/v/0.npy"}] * 2, "youcook2"),
    ],
)
def test_eqben_is_read_in_each_of_its_forms(tmp_path: Path, name: str, content: Any, category: str) -> None:
    questions = list(read_eqben(write(tmp_path / name, content), 0))
    stem = name.removesuffix(".json")
    assert [question.id for question in questions] == [f"{stem}-{row}_{half}" for row in (0, 1) for half in (0, 1)]
    assert {question.category for question in questions} == {category}
    assert questions[0].text == WHICH.format("One cup.")
    assert questions[0].group == questions[1].group != questions[2].group
    for half, question in enumerate(questions[:2]):
        assert Path(question.names["AB".index(question.answer)]).stem == str(half)
    assert {question.answer for question in questions[:2]} == {"A", "B"}


def test_eqbens_arrays_are_frames_in_bgr(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.full((2, 3, 3), (0, 0, 255), dtype=np.uint8))
    picture = open_image(Pictures([tmp_path]).embed(named("0.npy")[0])["bytes"] or b"", "0")
    assert (picture.size, picture.getpixel((0, 0))) == ((3, 2), (255, 0, 0))


def test_an_array_that_would_run_code_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no array of BGR pixels"):
        Pictures([tmp_path]).embed(named("0.npy")[0])


def test_cola_has_two_questions_per_entry_whose_half_does_not_tell_the_answer(tmp_path: Path) -> None:
    questions = list(read_cola(write(tmp_path / "COLA.json", [COLA] * 40), 0))
    assert [question.id for question in questions[:3]] == ["0_0", "0_1", "1_0"]
    assert sorted(questions[0].names) == ["2.jpg", "3.jpg"]
    for question in questions:
        right = "2.jpg" if question.id.endswith("_0") else "3.jpg"
        assert question.names["AB".index(question.answer)] == right
    assert {question.answer for question in questions if question.id.endswith("_0")} == {"A", "B"}


def test_seed_bench_is_split_into_images_and_videos(tmp_path: Path) -> None:
    image = {**SEED, "question_id": "9", "question_type_id": 5, "data_id": "14_26", "data_type": "image"}
    whole = {**SEED, "question_id": "v2", "question_type_id": 10, "data_id": "9.webm"}
    cut = {**SEED, "question_id": "v3", "question_type_id": 12, "segment": [18, 166]}
    path = write(tmp_path / "SEED-Bench.json", {"questions": [image, SEED, whole, cut], "question_type": {}})
    (shown,) = read_seed_image(path, 0)
    assert (shown.id, shown.names, shown.category, shown.answer) == ("9", ("14_26",), "instances_counting", "B")
    assert shown.text == (SNAPSHOTS / "four_choices_image.txt").read_text()
    videos = list(read_seed_video(path, 0))
    assert [question.names[1] for question in videos] == [
        "P03/P03_24.MP4#seconds=2.0,3.5#frame1",
        "9.webm#frame1",
        "P03/P03_24.MP4#frames=18,166#frame1",
    ]
    assert [question.category for question in videos] == [
        "action_prediction",
        "action_recognition",
        "procedure_understanding",
    ]
    assert videos[0].text == (SNAPSHOTS / "four_choices_video.txt").read_text()


def test_summaries_of_a_built_set_become_references(tmp_path: Path) -> None:
    picture = {"bytes": b"png", "path": "a.png"}
    row = {
        "id": "p-1",
        "images": [picture, {**picture, "path": "b.png"}],
        "source": "svit",
        "commonalities": "Both show a dog.",
        "differences": [{"aspect": "Counts", "text": "Two cats in one."}],
    }
    rows = [row, {**row, "id": "p-2", "commonalities": ""}]
    pq.write_table(pa.Table.from_pylist(rows, v1_features().arrow_schema), tmp_path / "train-00000-of-00001.parquet")
    flags = Drops()
    (question,) = read_summaries(tmp_path, flags)
    assert (question.id, question.source, question.names) == ("p-1", "svit", ("a.png", "b.png"))
    assert question.images[0]["bytes"] == b"png"
    assert question.answer == "Commonalities:\nBoth show a dog.\n\nDifferences:\n1. Counts: Two cats in one."
    assert question.text == "Image 1: <image>\nImage 2: <image>\n" + question.text.splitlines()[-1]
    assert flags.counts == {NO_SUMMARY: 1}


BAD = [
    (read_bison, {"data": [BISON, {**BISON, "true_image_id": 9}]}, "row 2", "true_image_id is not one of"),
    (read_bison, {"data": [{**BISON, "caption": 1}]}, "row 1", "'caption' is missing or not a string"),
    (read_bison, {"data": [BISON, 3]}, "row 2", "not a JSON object"),
    (read_nlvr2, json.dumps({**NLVR2, "label": "true"}), "line 1", "neither True nor False"),
    (read_nlvr2, json.dumps(NLVR2) + "\n" + json.dumps({**NLVR2, "identifier": "x/../1"}), "line 2", "identifier"),
    (read_nlvr2, json.dumps(NLVR2) + '\n{"sent', "line 2", "not one JSON object"),
    (read_eqben, [EQBEN, {**EQBEN, "image1": None}], "row 2", "'image1' is missing"),
    (read_eqben, {"v": {"dog": [EQBEN, 3]}}, "v, dog, pair 2", "not a JSON object"),
    (read_eqben, {"v": {"dog": {"again": [EQBEN]}}}, "v, dog", "neither a list of pairs"),
    (read_eqben, [{**EQBEN, "image0": "elsewhere/0.png"}], "row 1", "tells the subset"),
    (read_cola, [COLA, COLA[:3]], "row 2", "image1_url"),
    (read_cola, [["https://example.org/", *COLA[1:]]], "row 1", "without a file name"),
    (read_seed_image, {"questions": [{**SEED, "question_type_id": 13}]}, "row 1", "not one of 1 to 12"),
    (read_seed_video, {"questions": [SEED, {**SEED, "segment": [1]}]}, "row 2", "segment"),
    (read_seed_video, {"questions": [{**SEED, "answer": "E"}]}, "row 1", "'E' is not one of"),
]


@pytest.mark.parametrize(("read", "content", "position", "problem"), BAD)
def test_a_bad_row_is_refused_with_its_file_and_place(
    tmp_path: Path, read: Callable[[Path, int], Iterator[Question]], content: Any, position: str, problem: str
) -> None:
    path = write(tmp_path / "upstream.json", content)
    with pytest.raises(InputError) as caught:
        list(read(path, 0))
    assert caught.value.where == f"{path}, {position}"
    assert problem in str(caught.value)


def test_a_bad_line_of_the_csv_is_refused_with_its_place(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "svo.csv", SVO, {**SVO, "obj_neg": "True"})
    with pytest.raises(InputError, match=r"line 3: not exactly one of subj_neg"):
        list(read_svo_probes(path, 0))
    short = write(tmp_path / "short.csv", path.read_text().splitlines()[0] + "\na,b\n")
    with pytest.raises(InputError, match=r"line 2: it does not have 10 fields"):
        list(read_svo_probes(short, 0))
    with pytest.raises(InputError, match="no column neg_image_id"):
        list(read_svo_probes(write(tmp_path / "other.csv", "sentence,pos_image_id\n"), 0))


@pytest.mark.parametrize("content", ['{"info": {}, "data": [{"bison', '{"info": {}}', "[]", ""])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "upstream.json", content)
    with pytest.raises(InputError, match=r"upstream\.json"):
        list(read_bison(path, 0))


@pytest.mark.skipif(not NLVR.is_dir(), reason="../shared/data/nlvr is not beside the checkout")
def test_real_sentences_and_pictures_in_nlvr2s_form_are_built_whole(tmp_path: Path) -> None:
    lines = []
    for line in (NLVR / "dev.jsonl").read_text().splitlines()[:60]:
        row = json.loads(line)
        number, sentence = row["identifier"].split("-")
        with Image.open(NLVR / row["image"]) as boxes:
            for side in (0, 1):
                box = boxes.convert("RGB").crop((150 * side, 0, 150 * side + 100, 100))
                box.save(tmp_path / f"dev-{number}-0-img{side}.png")
        label = row["label"].capitalize()
        lines.append({"identifier": f"dev-{number}-0-{sentence}", "sentence": row["sentence"], "label": label})
    path = write(tmp_path / "dev.json", "".join(json.dumps(line) + "\n" for line in lines))
    build_benchmark(BenchmarkSettings("nlvr2", path, tmp_path / "out", tmp_path, "upstream"))
    rows = pq.read_table(tmp_path / "out/nlvr2/test.parquet").to_pylist()
    assert [row["answer"] for row in rows] == [line["label"] for line in lines]
    assert all(line["sentence"].split()[-1] in row["question"] for line, row in zip(lines, rows, strict=True))
    assert open_image(rows[0]["images"][1]["bytes"], "box").size == (100, 100)
