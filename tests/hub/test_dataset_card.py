"""A data set's card: licences, samples, and what it says about single configs."""

import io
import shlex
from pathlib import Path

import datasets
import pytest
from datasets import Features, List, Value, load_dataset
from huggingface_hub import hf_hub_download
from PIL import Image

from cadvi_hub.cli import parse_settings
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.core.schema import Aspect, cad_qa_features, v1_features
from cadvi_hub.hub.dataset_contents import read_configs
from cadvi_hub.hub.licences import licences_of
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.samples import draw_sample, picture_pair
from cadvi_hub.sources.built import BuiltRow
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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


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
    joined = [row for row in source.read(settings.source, pictures, Drops()) if isinstance(row, BuiltRow)]
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
