"""Sources that `datasets` loads: what their files and pictures are called, and what lies outside of them."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.dataset import DatasetImages, load_source
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, report, similar_source
from tests.support.readers import parquet_source, png


def test_held_out_images_and_scene_graphs_are_told_by_the_pictures_own_names_and_not_by_rows(tmp_path: Path) -> None:
    colours = enumerate(("red", "lime", "blue"), 7)
    pictures = [{"bytes": png(colour), "path": f"VG_100K/{k}.jpg"} for k, colour in colours]
    captions = ["A dog on grass.", "A dog on a bed.", "A dog on grass and a bed."]
    source = parquet_source(tmp_path / "d", image=pictures, caption=captions)
    source.format = "captioned_dataset"
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    thing = {"object_id": 1, "names": ["dog"], "x": 0, "y": 0, "w": 1, "h": 1}
    (graphs / "objects.json").write_text(json.dumps([{"image_id": 9, "objects": [thing]}]))
    (tmp_path / "held_out.txt").write_text("elsewhere/8.jpg\n0.jpg\n")
    given = BuildSettings(
        "v1", source, tmp_path / "out", PairSettings(min_shared=1), exclude_images=[tmp_path / "held_out.txt"]
    )
    folder = build(given, FakeAnnotator())
    (row,) = pq.read_table(next(folder.glob("*.parquet")))["images"].to_pylist()
    assert sorted(image["path"] for image in row) == ["7.jpg", "9.jpg"]
    assert report(folder)["drops"]["image is held out"] == {"count": 1, "first": ["8.jpg"]}
    checked = build(replace(given, out=tmp_path / "other", graphs=graphs), FakeAnnotator())
    assert report(checked)["graphs"] == {"images": 2, "images_with_a_graph": 1, "drops": {}}


def test_pictures_without_a_name_get_none_and_cannot_be_told_apart_or_referred_to(tmp_path: Path) -> None:
    pictures = [[{"bytes": png("blue"), "path": None}, {"bytes": png(), "path": None}]]
    source = parquet_source(tmp_path / "d", "images", images=pictures, texts=[[{"assistant": "A."}]])
    source.format = "the_cauldron"
    assert DatasetImages(source, "images").read("0/1") == {"bytes": png(), "path": None}
    (tmp_path / "held_out.txt").write_text("1.jpg\n")
    given = BuildSettings("v2", source, tmp_path / "out")
    with pytest.raises(InputError, match="exclude_images: image 0/0 of the source has no file name"):
        build(replace(given, exclude_images=[tmp_path / "held_out.txt"]), FakeAnnotator())
    with pytest.raises(InputError, match="no file names to refer to"):
        build(replace(given, images="referenced", out=tmp_path / "names"), FakeAnnotator())
    assert build(given, FakeAnnotator()).name == "v2"


@pytest.mark.parametrize("path", ["../secret.jsonl", "{folder}/secret.jsonl"])
def test_a_card_that_names_files_outside_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.jsonl").write_text('{"caption": "secret"}\n')
    (tmp_path / "d").mkdir()
    files = path.format(folder=tmp_path)
    (tmp_path / "d/README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n")
    with pytest.raises(InputError, match=r"its card names .*secret\.jsonl, which lies elsewhere"):
        load_source(SourceSettings(tmp_path / "d", "test"))


def test_files_that_are_links_into_a_hub_cache_are_read(tmp_path: Path) -> None:
    source = parquet_source(tmp_path / "blobs", image=[{"bytes": png(), "path": "a.png"}], caption=["A cat."])
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/train.parquet").symlink_to(source.path / "train-00000-of-00001.parquet")
    assert len(load_source(SourceSettings(tmp_path / "snapshot", "test"))) == 1


@pytest.mark.parametrize(
    ("column", "value"), [("commonalities", None), ("differences", [{"aspect": "Colours", "text": "One is red."}])]
)
def test_a_row_that_no_build_of_ours_wrote_is_named(
    tmp_path: Path, column: str, value: list[dict[str, Any]] | None
) -> None:
    folder = build(BuildSettings("v2", similar_source(tmp_path / "s"), tmp_path / "out"), FakeAnnotator())
    table = pq.read_table(next(folder.glob("*.parquet")))
    rows = table.to_pylist()
    rows[2][column] = value
    (tmp_path / "other").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "other/train.parquet")
    source = SourceSettings(tmp_path / "other", "test", format="built", images=[tmp_path / "s"])
    with pytest.raises(InputError, match="row p2: a column does not hold what"):
        build(BuildSettings("v2", source, tmp_path / "joined"))


def test_columns_that_none_of_our_data_sets_has_are_not_read(tmp_path: Path) -> None:
    folder = build(BuildSettings("v2", similar_source(tmp_path / "s"), tmp_path / "out"), FakeAnnotator())
    table = pq.read_table(next(folder.glob("*.parquet")))
    (tmp_path / "more").mkdir()
    dates = pa.array([datetime(2024, 1, 1)] * len(table))
    pq.write_table(table.append_column("when", dates), tmp_path / "more/train.parquet")
    source = SourceSettings(tmp_path / "more", "test", format="built", images=[tmp_path / "s"])
    assert report(build(BuildSettings("v2", source, tmp_path / "joined")))["rows"] == 7
