"""Builds: what ends up in the files, what is counted, and what bad input leaves behind."""

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core import schema
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.manifest import manifest_of
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.formats import format_of
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, captioned_source, load, picture, report, similar_source

SAMPLE = Path(__file__).parents[3] / "shared/data/captioned_images"


def bomb(file: Path) -> None:
    """A PNG of a few bytes whose header says 60,000 × 60,000 pixels."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = chunk(b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT" + zlib.compress(bytes(9))) + chunk(b"IEND"))


@pytest.fixture
def captioned(tmp_path: Path) -> SourceSettings:
    return captioned_source(tmp_path / "captioned")


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)


def test_v2_rows_load_with_declared_features_decoded_images_and_provenance(settings: BuildSettings) -> None:
    folder = build(settings, FakeAnnotator())
    rows = load(folder)
    assert folder == settings.out / "v2"
    assert rows.features == schema.v2_features()
    assert rows["id"] == [f"p{k}" for k in range(7)]
    assert [image.getpixel((0, 0)) for image in rows[2]["images"]] == [(60, 195, 90), (90, 165, 90)]
    assert rows[2]["context"] == "Note 2."
    assert rows[2]["source"] == "similar"
    assert rows[2]["differences"] == [{"aspect": "Attributes", "text": "One of p2 is darker."}]
    assert rows[2]["annotator"] == "fake"
    assert rows[2]["prompt_hash"] == "0" * 64
    assert [message["role"] for message in rows[2]["messages"]] == ["user", "assistant"]


def test_images_are_embedded_as_they_stand_under_their_name(settings: BuildSettings) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(build(settings, FakeAnnotator()) / "train-00000-of-00004.parquet")
    original = (settings.source.path / "images/0.png").read_bytes()
    assert table["images"][0][0].as_py() == {"bytes": original, "path": "images/0.png"}


def test_row_groups_stay_small_enough_for_the_viewer(settings: BuildSettings) -> None:
    import pyarrow.parquet as pq

    source = settings.source.path / "pairs.jsonl"
    source.write_text(source.read_text() * 30)
    folder = build(replace(settings, rows_per_shard=1000), FakeAnnotator())
    metadata = pq.ParquetFile(folder / "train-00000-of-00001.parquet").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [100, 100, 10]


def test_large_pictures_end_a_row_group_before_its_hundred_rows(
    settings: BuildSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import pyarrow.parquet as pq

    for file in (settings.source.path / "images").iterdir():
        file.write_bytes(file.read_bytes() + b"\0" * 50_000)  # bytes after the end stand for a larger photo
    monkeypatch.setattr("cadvi_hub.builder.shard_folder.BYTES_PER_GROUP", 250_000)
    monkeypatch.setattr("cadvi_hub.builder.shard_folder.VIEWER_BYTES", 90_000)
    folder = build(replace(settings, rows_per_shard=1000), FakeAnnotator())
    metadata = pq.ParquetFile(folder / "train-00000-of-00001.parquet").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [2, 2, 2, 1]
    assert len([message for message in caplog.messages if "viewer shows no row" in message]) == 7


def test_v1_goes_from_captions_to_rows_and_counts_every_step(captioned: SourceSettings, tmp_path: Path) -> None:
    settings = BuildSettings("v1", captioned, tmp_path / "out", pairs=PairSettings(min_shared=1))
    folder = build(settings, FakeAnnotator())
    rows = load(folder)
    counted = report(folder)
    assert rows.features == schema.v1_features()
    assert {frozenset(row["id"].split("|")): row["shared_nouns"] for row in rows} == {
        frozenset(("0.png", "1.png")): ["dog"],
        frozenset(("0.png", "5.png")): ["grass"],
        frozenset(("1.png", "3.png")): ["tree"],
        frozenset(("3.png", "5.png")): ["cat"],
    }
    assert all(len(row["captions"]) == 2 and len(row["messages"]) == 4 for row in rows)
    assert counted["rows"] == 4
    assert counted["records_read"] == 5
    assert counted["drops"] == {"empty caption": {"count": 1, "first": ["captions.jsonl, line 3"]}}
    assert counted["pair_counts"]["pairs"] == 4
    assert counted["statistics"]["rows_with_shared_nouns"] == {"1": 4}
    assert counted["statistics"]["rows_with_aspect"]["Attributes"] == 4
    assert counted["statistics"]["mean_words_commonalities"] == 3.0


def test_instruct_rows_keep_text_only_conversations(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 9)
    talk = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A square."}]
    plain = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hi."}]
    rows = [{"id": "1", "image": "a.png", "conversations": talk}, {"id": "2", "conversations": plain}]
    (tmp_path / "instruct.json").write_text(json.dumps(rows))
    folder = build(BuildSettings("instruct", SourceSettings(tmp_path, "mix"), tmp_path / "out"))
    loaded = load(folder)
    assert loaded.features == schema.instruct_features()
    assert [len(row["images"]) for row in loaded] == [1, 0]
    assert loaded[0]["messages"][0]["content"][0] == {"type": "image", "text": None}
    assert report(folder)["statistics"] == {"rows with an image": 1, "rows of text only": 1}


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample pictures are not beside this checkout")
def test_real_pictures_of_every_mode_build_and_decode(tmp_path: Path) -> None:
    pairs = PairSettings(min_shared=1)
    folder = build(BuildSettings("v1", SourceSettings(SAMPLE, "stamps"), tmp_path / "out", pairs), FakeAnnotator())
    rows = load(folder)
    assert len(rows) == report(folder)["rows"] > 100
    assert all(image.width > 0 for row in rows for image in row["images"])


def test_dropped_pairs_are_counted_with_reason_and_place_and_shards_close_up(settings: BuildSettings) -> None:
    folder = build(settings, FakeAnnotator(drop={"p0", "p2", "p3"}))
    assert load(folder)["id"] == ["p1", "p4", "p5", "p6"]
    assert report(folder)["drops"] == {"too_short": {"count": 3, "first": [f"p{k}: 2 words" for k in (0, 2, 3)]}}
    files = report(folder)["files"]
    assert files == manifest_of(folder, folder.glob("*.parquet"))
    assert list(files)[-1] == "train-00002-of-00003.parquet"  # the shard of p2 and p3 is empty


def test_build_without_any_row_left_names_the_reasons(settings: BuildSettings) -> None:
    with pytest.raises(InputError, match=r"no row is left .7 × too_short, as p0: 2 words"):
        build(settings, FakeAnnotator(drop={f"p{k}" for k in range(7)}))


BAD_PICTURES = {
    "does not decode": lambda file: file.write_bytes(b"GIF?"),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "too large": bomb,
}


@pytest.mark.parametrize("fault_told", BAD_PICTURES)
def test_bad_picture_is_refused_by_name_before_anybody_is_asked(settings: BuildSettings, fault_told: Any) -> None:
    BAD_PICTURES[fault_told](settings.source.path / "images/1.png")
    annotator = FakeAnnotator()
    with pytest.raises(InputError, match=rf"1\.png.*{fault_told}.*source\.bad_rows") as problem:
        build(settings, annotator)
    assert "BytesIO" not in str(problem.value)  # the text of an error is the same in every run
    assert annotator.asked == []


@pytest.mark.parametrize("spoil", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_picture_costs_its_pairs_where_the_recipe_says_so(settings: BuildSettings, spoil: Any) -> None:
    spoil(settings.source.path / "images/1.png")
    annotator = FakeAnnotator()
    folder = build(replace(settings, source=replace(settings.source, bad_rows="drop")), annotator)
    assert annotator.asked == load(folder)["id"] == [f"p{k}" for k in range(2, 7)]
    drops = report(folder)["drops"]
    assert drops == {"picture does not decode or is too large": {"count": 2, "first": ["images/1.png"] * 2}}


@pytest.mark.parametrize("name", ["../outside.png", "images/gone.png"])
def test_picture_outside_or_missing_is_refused_with_its_line(settings: BuildSettings, name: str) -> None:
    picture(settings.source.path.parent / "outside.png", 1)
    source = settings.source.path / "pairs.jsonl"
    source.write_text(source.read_text().replace("images/7.png", name))
    with pytest.raises(InputError, match=r"pairs\.jsonl, line 7: image"):
        build(settings, FakeAnnotator())


def test_caption_that_holds_the_image_placeholder_adds_no_image(captioned: SourceSettings, tmp_path: Path) -> None:
    file = captioned.path / "captions.jsonl"
    file.write_text(file.read_text().replace("A dog", "A dog <image>").replace("A cat", "A cat <image>"))
    rows = load(build(BuildSettings("v1", captioned, tmp_path / "out", PairSettings(min_shared=1)), FakeAnnotator()))
    assert any("<image>" in caption for row in rows for caption in row["captions"])
    for row in rows:
        parts = [part["type"] for message in row["messages"] for part in message["content"]]
        assert parts.count("image") == len(row["images"]) == 2


@pytest.mark.parametrize(
    ("recipe", "config", "holds"),
    [("v1", "v1", "captions"), ("v2", "v2", "pairs"), ("v3", "v2", "captions"), ("cad_qa", "cad_qa", "captions")],
)
def test_full_scale_recipe_holds_valid_settings(recipe: str, config: str, holds: str) -> None:
    settings = parse_settings("build", [config, "--config", recipe])
    assert (settings.name or settings.config) == recipe
    assert format_of(config, settings.source).holds == holds
    assert settings.annotator.kind == "server"
    assert settings.source.bad_rows == "drop"


def test_max_rows_limits_the_pairs(settings: BuildSettings) -> None:
    assert load(build(replace(settings, max_rows=3), FakeAnnotator()))["id"] == ["p0", "p1", "p2"]
