"""Edited pairs with two captions: in a data set's own pictures, and by file names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pillow

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources.formats import FORMATS
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, load


def png(colour: int) -> dict[str, Any]:
    return {"bytes": encode_png(Pillow.new("RGB", (8, 6), (colour, 0, 90))), "path": f"{colour}.png"}


def read(settings: SourceSettings) -> tuple[list[Any], dict[str, Any], Any]:
    form, drops = FORMATS["edited_pairs"], Drops()
    images = form.images(settings)
    return list(form.read(settings, images, drops)), drops.as_dict(), images


@pytest.fixture
def vismin(tmp_path: Path) -> SourceSettings:
    """Three rows with VisMin's columns, of which one has the same caption twice."""
    rows = {
        "image_0": [png(10), png(30), png(50)],
        "text_0": ["A red cup on a table.", "Two dogs.", "A cat."],
        "image_1": [png(20), png(40), png(60)],
        "text_1": ["A red cup under a table.", "Three dogs.", "a cat."],
        "id": ["cup", "dogs", "cat"],
    }
    text = Value("string")
    features = Features({"image_0": Image(), "text_0": text, "image_1": Image(), "text_1": text, "id": text})
    (tmp_path / "vismin").mkdir()
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "vismin/train.parquet")
    return SourceSettings(tmp_path / "vismin", "vismin", format="edited_pairs")


def test_a_row_is_a_pair_with_both_captions(vismin: SourceSettings) -> None:
    pairs, drops, images = read(vismin)
    captions = ("A red cup on a table.", "A red cup under a table.")
    assert pairs[0] == ImagePair("cup", ("0/0", "0/1"), "vismin", captions=captions)
    assert [pair.pair_id for pair in pairs] == ["cup", "dogs"]
    assert drops["the two captions are the same"]["count"] == 1
    assert [images.read(name) for name in pairs[1].images] == [png(30), png(40)]
    assert images.file_name("1/1") == "40.png"


def test_v1_is_built_from_edited_pairs(vismin: SourceSettings, tmp_path: Path) -> None:
    rows = load(build(BuildSettings("v1", vismin, tmp_path / "out"), FakeAnnotator()))
    assert rows["id"] == ["cup", "dogs"]
    assert rows[1]["captions"] == ["Two dogs.", "Three dogs."]
    assert len(rows[0]["messages"]) == 4


def test_names_of_files_are_looked_for_among_the_pictures(vismin: SourceSettings, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "pictures" / name).write_bytes(png(9)["bytes"])
    row = {"path1": "1.png", "caption1": "A red cup.", "path2": "2.png", "caption2": "A blue cup."}
    (tmp_path / "named").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "named/train.parquet")
    columns = {"image_0": "path1", "text_0": "caption1", "image_1": "path2", "text_1": "caption2"}
    named = replace(vismin, path=tmp_path / "named", columns=columns, images=[tmp_path / "pictures"])
    ((pair,), _, _) = read(named)
    assert pair == ImagePair("0", ("1.png", "2.png"), "vismin", captions=("A red cup.", "A blue cup."))
