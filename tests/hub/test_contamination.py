"""Images of a data set that are also in other sets are found by name, and counted on the card."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import image_id
from cadvi_hub.core.schema import cad_qa_features, instruct_features, message, v1_features
from cadvi_hub.hub.contamination import Overlap, find_overlaps
from cadvi_hub.hub.loopback import LoopbackHub
from tests.support.hub_folders import (
    cad_qa_row,
    card_lines,
    publish_data,
    referred,
    v1_row,
    write_config,
    write_data,
)

QUESTIONS = Path(__file__).parents[3] / "shared" / "data" / "questions"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def v1(tmp_path: Path) -> list[Path]:
    """Four rows whose images have the names of COCO, Visual Genome and Open Images; one has no name."""
    pairs = [
        ("000000000139.jpg", "VG_100K_2/77.jpg"),
        ("coco/train2017/000000000139.jpg", "00a1b2c3d4e5f607.jpg"),
        ("000000000285.jpg", "VG_100K/78.jpg"),
        ("000000000632.jpg", None),
    ]
    rows = [v1_row(number, **referred(*names)) for number, names in enumerate(pairs)]
    write_config(tmp_path / "named" / "v1", v1_features(), [rows[:2], rows[2:]], "train", {})
    return sorted((tmp_path / "named" / "v1").glob("*.parquet"))


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coco/train2017/000000000139.jpg", "000000000139"),
        ("COCO_val2014_000000000139.jpg", "000000000139"),
        ("COCO_val2014_000000000139", "000000000139"),
        ("12_2390970.jpg", "2390970"),
        ("COCO_val2014_crop_139.jpg", "COCO_val2014_crop_139"),
        ("VG_100K/1.jpg", "1"),
        ("ADE_train_00009414.JPG", "ADE_train_00009414"),
        ("frame.12", "frame.12"),
    ],
)
def test_an_image_is_known_by_its_name_in_every_set(name: str, expected: str) -> None:
    assert image_id(name) == expected


def test_images_are_found_in_question_files_mixes_and_built_folders(v1: list[Path], tmp_path: Path) -> None:
    mix = [
        {"id": 1, "image": "gqa/images/77.jpg"},
        {"id": 2, "conversations": []},
        {"image": "a/00a1b2c3d4e5f607.jpg"},
    ]
    (tmp_path / "mix.json").write_text(json.dumps(mix))
    test_rows = [cad_qa_row(0, **referred("VG_100K/78.jpg", "VG_100K/9.jpg"))]
    write_config(tmp_path / "named" / "cad_qa", cad_qa_features(), [test_rows], "test", {})
    others = {
        "question": write_lines(tmp_path / "q.jsonl", {"image": ["COCO_val2014_000000000139.jpg", "x.jpg"]}),
        "pairs": write_lines(tmp_path / "p.jsonl", {"images": ["000000000632.jpg", "000000000285.jpg"]}),
        "list": tmp_path / "mix.json",
        "lines": write_lines(tmp_path / "mix.jsonl", *mix),
        "folder": tmp_path / "named" / "cad_qa",
        "none": write_lines(tmp_path / "none.jsonl", {"image": "elsewhere.jpg"}),
    }
    found = {(o.other, o.shared_images, o.shared_rows) for o in find_overlaps({"v1": v1}, others)}
    expected = {("question", 1, 2), ("pairs", 2, 2), ("list", 2, 2), ("lines", 2, 2), ("folder", 1, 1), ("none", 0, 0)}
    assert found == expected


def test_configs_of_one_data_set_are_compared_with_each_other(v1: list[Path], tmp_path: Path) -> None:
    rows = [cad_qa_row(0, **referred("VG_100K/78.jpg", "1.jpg")), cad_qa_row(1, **referred("2.jpg", "3.jpg"))]
    write_config(tmp_path / "qa", cad_qa_features(), [rows], "test", {})
    text = {"id": "0", "images": [], "messages": [message("user", "Hi.")], "source": "s"}
    write_config(tmp_path / "text", instruct_features(), [[text]], "train", {})
    configs = {
        "v1": v1,
        "qa": [*(tmp_path / "qa").glob("*.parquet")],
        "text": [*(tmp_path / "text").glob("*.parquet")],
    }
    assert find_overlaps(configs, {}) == [
        Overlap("v1", "qa of this data set", images=6, shared_images=1, rows=4, shared_rows=1, unnamed=1),
        Overlap("qa", "v1 of this data set", images=4, shared_images=1, rows=2, shared_rows=1, unnamed=0),
    ]


@pytest.mark.skipif(not QUESTIONS.is_dir(), reason="no sample data in ../shared/data")
def test_the_papers_question_files_are_read_whole(tmp_path: Path) -> None:
    places = {"BISON": "BISON.jsonl", "COLA": "COLA.jsonl", "CaD-QA": "CaD_QA_first300.jsonl"}
    others = {name: QUESTIONS / file for name, file in places.items()}
    asked = [json.loads(line)["image"] for line in others["BISON"].read_text().splitlines()]
    rows = [cad_qa_row(0, **referred(*names)) for names in asked]
    write_config(tmp_path / "cad_qa", cad_qa_features(), [rows], "test", {})
    overlaps = find_overlaps({"cad_qa": list((tmp_path / "cad_qa").glob("*.parquet"))}, others)
    images = len({name for names in asked for name in names})
    assert {o.other: (o.shared_images, o.shared_rows) for o in overlaps} == {
        "BISON": (images, 150),
        "COLA": (0, 0),
        "CaD-QA": (0, 0),
    }


def test_a_set_that_cannot_be_compared_is_named(v1: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.jsonl").write_text('{"image": "a.jpg"}\n{"image"')
    (tmp_path / "torn.json").write_text('[{"image": "a.jpg"}, {"image"')
    (tmp_path / "object.json").write_text('{"data": []}')
    faults = {
        tmp_path / "missing.jsonl": "missing.jsonl: no such file or folder",
        tmp_path / "torn.jsonl": "torn.jsonl, line 2: not valid JSON",
        tmp_path / "torn.json": "torn.json: not valid JSON after row 1",
        tmp_path / "object.json": "object.json: not a JSON list",
        tmp_path / "empty": "empty: no parquet file is there",
        write_lines(
            tmp_path / "number.jsonl", {"image": 139}
        ): "number.jsonl, line 1: 'image' or 'images' is not a file name",
        write_lines(tmp_path / "list.jsonl", ["a.jpg"]): "list.jsonl, line 1: not a JSON object",
        write_lines(tmp_path / "text.jsonl", {"text": "a"}): "text.jsonl: it names no image",
    }
    for place, problem in faults.items():
        with pytest.raises(InputError, match=re.escape(problem)):
            find_overlaps({"v1": v1}, {"other": place})


def test_the_card_has_a_line_per_config_and_set(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    other = write_lines(tmp_path / "bison.jsonl", {"image": ["images/20_0.png", "2_1.jpg"]})
    publish_data(data, contamination={"BISON | 150": other})
    lines = card_lines()
    assert "| cad_qa | BISON &#124; 150 | 1 (25.0%) | 4 | 1 (50.0%) | 2 |" in lines
    assert "| v1 | BISON &#124; 150 | 1 (8.3%) | 12 | 1 (16.7%) | 6 |" in lines
    assert "| v1 | cad_qa of this data set | 0 (0.0%) | 12 | 0 (0.0%) | 6 |" in lines


def test_images_without_a_name_are_counted(hub: LoopbackHub, data: Path, v1: list[Path]) -> None:
    v1[0].parent.rename(data / "v3")
    publish_data(data)
    assert "1 images in the rows of v3 have no name and could not be compared." in card_lines()
