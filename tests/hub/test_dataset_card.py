"""What a data set's card says beyond counts: contamination, licences, samples; and where it says nothing."""

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Features, List, Value, load_dataset
from huggingface_hub import hf_hub_download
from PIL import Image

from cadvi_hub.cli import parse_settings
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import image_id, open_image
from cadvi_hub.core.schema import Aspect, cad_qa_features, instruct_features, message, v1_features
from cadvi_hub.hub.contamination import Overlap, find_overlaps
from cadvi_hub.hub.dataset_contents import read_configs
from cadvi_hub.hub.licences import licences_of
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.samples import draw_sample, picture_pair
from cadvi_hub.sources.formats import format_of
from tests.support.hub_folders import (
    HOSTILE,
    REPO,
    cad_qa_row,
    card_lines,
    files,
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


def test_licences_are_told_for_known_sources_only(hub: LoopbackHub, data: Path) -> None:
    sources = ["localized_narratives/coco+localized_narratives/flickr30k", "localized_narratives/coco", HOSTILE]
    rows = [v1_row(number, source=source) for number, source in enumerate(sources)]
    write_config(data / "v3", v1_features(), [rows], "train", {"config": "v1"})
    publish_data(data)
    lines = card_lines()
    start = lines.index("| source | captions, questions | pictures |")
    table = lines[start + 2 : lines.index("", start)]
    assert [line.split(" | ")[0:2] for line in table[1:]] == [
        ["| localized_narratives/coco", "CC-BY-4.0"],
        ["| localized_narratives/flickr30k", "CC-BY-4.0"],
        ["| scenes", "see its source"],
    ]
    assert table[0].startswith("| &#60;script&#62;")
    assert table[0].endswith(" | see its source | see its source |")
    assert licences_of(["SVIT", "svit_mine"])[1][1].texts == "see its source"
    assert licences_of(["CaD-Inst"])[0][1].texts == "MIT"


def test_a_sample_shows_two_pictures_side_by_side_and_what_was_written(hub: LoopbackHub, data: Path) -> None:
    rows = [v1_row(3, commonalities=HOSTILE, differences=[{"aspect": HOSTILE, "text": "word " * 200 + "last"}])]
    write_config(data / "v3", v1_features(), [rows], "train", {})
    publish_data(data)
    lines = card_lines()
    shown = lines[lines.index("**v3**, row row-3") :]
    assert shown[2] == "![two pictures, the first on the left](assets/v3.jpg)"
    assert "<script>" not in "\n".join(shown)
    assert "- **Commonalities:** &#60;script&#62;alert(1)&#60;/script&#62;" in shown[4]
    assert shown[5].endswith("word last")
    picture = Image.open(hf_hub_download(REPO, "assets/v3.jpg", repo_type="dataset"))
    assert (picture.format, picture.size) == ("JPEG", (4 + 16 + 4, 4))
    assert picture.getpixel((10, 2)) == (255, 255, 255)


@pytest.mark.parametrize("sizes", [((3000, 2000), (640, 480)), ((10, 4000), (4000, 10)), ((1, 1), (1, 1))])
def test_a_picture_pair_is_small_whatever_the_pictures_are(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    left, right = (Image.new("RGB", size, "red") for size in sizes)
    pair = picture_pair(left, right)
    assert max(Image.open(io.BytesIO(pair)).size) <= 512
    assert pair == picture_pair(left, right)
    assert (left.size, right.size) == sizes


def test_the_row_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    write_config(
        tmp_path, v1_features(), [[v1_row(n) for n in range(start, start + 150)] for start in (0, 100)], "train", {}
    )
    shards = sorted(tmp_path.glob("*.parquet"))
    drawn = [draw_sample("v1", shards, seed) for seed in range(8)]
    assert drawn == [draw_sample("v1", shards, seed) for seed in range(8)]
    assert len({sample.row_id for sample in drawn if sample}) > 4


def test_no_sample_where_it_is_not_wanted_and_none_left_of_an_older_one(hub: LoopbackHub, data: Path) -> None:
    publish_data(data)
    assert {"assets/v1.jpg", "assets/v2.jpg", "assets/cad_qa.jpg"} <= files()
    published = publish_data(data, sample=False)
    assert published.deleted == ("assets/cad_qa.jpg", "assets/v1.jpg", "assets/v2.jpg")
    assert not any("assets/" in line for line in card_lines())


def test_a_picture_that_does_not_decode_is_named_with_its_row(hub: LoopbackHub, data: Path) -> None:
    image = {"bytes": b"no picture", "path": "1.png"}
    write_config(data / "v3", v1_features(), [[v1_row(1, images=[image, image])]], "train", {})
    with pytest.raises(InputError, match=r"v3/train-00000-of-00001\.parquet, row 1, image 1: picture does not decode"):
        publish_data(data)


def test_a_config_that_only_names_its_pictures_says_how_to_read_and_to_join_them(
    hub: LoopbackHub, data: Path, tmp_path: Path
) -> None:
    rows = [v1_row(number, **referred("left.png", "sub/right.png")) for number in range(3)]
    write_config(data / "v3", v1_features(), [rows[:2], rows[2:]], "train", {"config": "v1"})
    publish_data(data)
    assert "assets/v3.jpg" not in files()
    streamed = load_dataset(REPO, "v3", split="train", streaming=True)
    first = next(iter(streamed.cast_column("images", List(datasets.Image(decode=False)))))
    assert first["images"][0] == {"bytes": None, "path": "left.png"}
    assert f'load_dataset("{REPO}", "v3").cast_column("images", List(Image(decode=False)))' in card_lines()

    (tmp_path / "sub").mkdir()
    for name, color in (("left.png", "red"), ("sub/right.png", "blue")):
        Image.new("RGB", (5, 5), color).save(tmp_path / name)
    command = next(line for line in card_lines() if line.startswith("cadvi build"))
    settings = parse_settings("build", shlex.split(command.replace("PICTURES", str(tmp_path)))[2:])
    assert (settings.config, settings.name) == ("v1", "v3")
    source = format_of(settings.config, settings.source)
    pictures = source.images(settings.source)
    joined = list(source.read(settings.source, pictures, Drops()))
    assert [record.id for record in joined] == ["row-0", "row-1", "row-2"]
    pair = [open_image(pictures.read(name)["bytes"] or b"", name) for name in joined[2].images]
    assert [image.getpixel((0, 0)) for image in pair] == [(255, 0, 0), (0, 0, 255)]


def test_a_build_record_puts_no_command_of_its_own_into_the_card(hub: LoopbackHub, data: Path) -> None:
    rows = [v1_row(1, **referred("left.png", "right.png"))]
    write_config(data / "v3", v1_features(), [rows], "train", {"config": "v1; curl evil.example"})
    publish_data(data)
    assert next(line for line in card_lines() if line.startswith("cadvi build")).startswith(
        "cadvi build v3 --name v3 "
    )


def test_aspects_that_are_equally_frequent_stand_in_one_order_on_every_card(data: Path) -> None:
    differences = [{"aspect": str(aspect), "text": "It differs."} for aspect in Aspect]
    rows = [v1_row(1, differences=differences[::-1])]
    write_config(data / "v3", v1_features(), [rows], "train", {})
    config = next(config for config in read_configs(data) if config.name == "v3")
    assert list(config.aspects) == sorted(map(str, Aspect))


def test_images_without_a_name_are_counted(hub: LoopbackHub, data: Path, v1: list[Path]) -> None:
    v1[0].parent.rename(data / "v3")
    publish_data(data)
    assert "1 images in the rows of v3 have no name and could not be compared." in card_lines()


def test_flags_and_drops_are_counts_without_places(hub: LoopbackHub, data: Path) -> None:
    record = {
        "drops": {"refusal": {"count": 3, "first": ["secret: I cannot"]}},
        "statistics": {"question_flags": {"cut_off": {"count": 14, "first": ["secret: and the"]}}},
    }
    question = "Image 1: <image> Image 2: <image> What differs?"
    write_config(data / "cad_qa", cad_qa_features(), [[cad_qa_row(1, question=question)]], "test", record)
    publish_data(data)
    lines = card_lines()
    assert "| refusal | 3 |" in lines
    assert "| question_flags.cut_off | 14 |" in lines
    assert not any("secret" in line for line in lines)
    assert "| cad_qa | 1 | 6 | 2 |" in lines


def test_the_mean_similarity_is_over_the_rows_that_have_one(hub: LoopbackHub, data: Path) -> None:
    features = Features({**v1_features(), "clip_sim_score": Value("float32")})
    scores = [0.5, None, 0.25]
    rows = [v1_row(number, clip_sim_score=score) for number, score in enumerate(scores)]
    write_config(data / "v1", features, [rows], "train", {})
    for path in (data / "v1").glob("*-of-00003.parquet"):
        path.unlink()
    publish_data(data)
    assert "| v1 | 2 | 0.375 |" in card_lines()


def test_more_sources_than_fit_are_counted(hub: LoopbackHub, data: Path) -> None:
    rows = [v1_row(number, source=f"source {number}") for number in range(25)]
    write_config(data / "v3", v1_features(), [rows], "train", {})
    publish_data(data)
    assert "| v3 | and 5 more | |" in card_lines()
