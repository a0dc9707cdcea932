"""Builds: what ends up in the files, what is counted, and what a kill, a full disk or bad input leave behind."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub import schema
from cadvi_hub.build import BuildSettings, build
from cadvi_hub.build_folder import open_build_folder
from cadvi_hub.cli import parse_settings
from cadvi_hub.errors import InputError
from cadvi_hub.filters import Dropped
from cadvi_hub.pairing.pairs import PairSettings
from cadvi_hub.schema import Aspect, CadSummary, Difference, ImagePair, Provenance
from cadvi_hub.sources import SourceSettings

SAMPLE = Path(__file__).parents[2] / "shared/data/captioned_images"


class FakeAnnotator:
    """Writes a summary per pair; drops the pairs it was told to, and dies or hangs where a test wants that."""

    def __init__(self, name="fake", drop=(), die_after=None, hang_after=None):
        self.provenance = Provenance(name, "0" * 64, '{"temperature": 0.0}')
        self.drop, self.die_after, self.hang_after, self.asked = drop, die_after, hang_after, []

    def annotate(self, pairs, image_root) -> Iterator[tuple[ImagePair, CadSummary | Dropped]]:
        for pair in pairs:
            if len(self.asked) == self.die_after:
                raise KeyboardInterrupt
            if len(self.asked) == self.hang_after:
                time.sleep(600)
            self.asked.append(pair.pair_id)
            if pair.pair_id in self.drop:
                yield pair, Dropped("too_short", "2 words")
            else:
                difference = Difference(Aspect.ATTRIBUTES, f"One of {pair.pair_id} is darker.")
                yield pair, CadSummary("Both are plain.", (difference,))


def picture(file: Path, colour: int) -> None:
    Image.new("RGB", (12, 8), (colour, 255 - colour, 90)).save(file)


def bomb(file: Path) -> None:
    """A PNG of a few bytes whose header says 60,000 × 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


@pytest.fixture
def similar(tmp_path: Path) -> SourceSettings:
    """Seven similar pairs, over eight pictures."""
    folder = tmp_path / "similar"
    (folder / "images").mkdir(parents=True)
    for k in range(8):
        picture(folder / f"images/{k}.png", 30 * k)
    rows = [
        {"id": f"p{k}", "images": [f"images/{k}.png", f"images/{k + 1}.png"], "texts": [{"assistant": f"Note {k}."}]}
        for k in range(7)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceSettings(folder, "similar")


@pytest.fixture
def captioned(tmp_path: Path) -> SourceSettings:
    folder = tmp_path / "captioned"
    folder.mkdir()
    captions = ["A dog on the grass.", "A dog under a tree.", "", "A cat in a tree.", "A boat.", "A cat on the grass."]
    rows = [{"image_id": str(k), "caption": caption, "image": f"{k}.png"} for k, caption in enumerate(captions)]
    for row in rows:
        picture(folder / row["image"], 30 * int(row["image_id"]))
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceSettings(folder, "captioned")


@pytest.fixture
def settings(similar: SourceSettings, tmp_path: Path) -> BuildSettings:
    return BuildSettings("v2", similar, tmp_path / "out", rows_per_shard=2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def report(folder: Path) -> dict:
    return json.loads((folder / "build.json").read_text())


def load(folder: Path):
    from datasets import load_dataset

    files = str(folder / "train-*.parquet")
    return load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder.parent / "cache"))


def test_v2_rows_load_with_declared_features_decoded_images_and_provenance(settings):
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


def test_images_are_embedded_as_they_stand_under_their_file_name(settings):
    import pyarrow.parquet as pq

    table = pq.read_table(build(settings, FakeAnnotator()) / "train-00000-of-00004.parquet")
    original = (settings.source.path / "images/0.png").read_bytes()
    assert table["images"][0][0].as_py() == {"bytes": original, "path": "0.png"}


def test_row_groups_stay_small_enough_for_the_viewer(settings):
    import pyarrow.parquet as pq

    source = settings.source.path / "pairs.jsonl"
    source.write_text(source.read_text() * 30)
    folder = build(replace(settings, rows_per_shard=1000), FakeAnnotator())
    metadata = pq.ParquetFile(folder / "train-00000-of-00001.parquet").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [100, 100, 10]


def test_v1_goes_from_captions_to_rows_and_counts_every_step(captioned, tmp_path):
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


def test_instruct_rows_keep_text_only_conversations(tmp_path):
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
def test_real_pictures_of_every_mode_build_and_decode(tmp_path):
    pairs = PairSettings(min_shared=1)
    folder = build(BuildSettings("v1", SourceSettings(SAMPLE, "stamps"), tmp_path / "out", pairs), FakeAnnotator())
    rows = load(folder)
    assert len(rows) == report(folder)["rows"] > 100
    assert all(image.width > 0 for row in rows for image in row["images"])


def test_dropped_pairs_are_counted_with_reason_and_place_and_shards_close_up(settings):
    folder = build(settings, FakeAnnotator(drop={"p0", "p2", "p3"}))
    assert load(folder)["id"] == ["p1", "p4", "p5", "p6"]
    assert report(folder)["drops"] == {"too_short": {"count": 3, "first": [f"p{k}: 2 words" for k in (0, 2, 3)]}}
    assert report(folder)["files"] == sorted(file.name for file in folder.glob("*.parquet"))
    assert report(folder)["files"][-1] == "train-00002-of-00003.parquet"  # the shard of p2 and p3 is empty


def test_build_without_any_row_left_names_the_reasons(settings):
    with pytest.raises(InputError, match=r"no row is left.*7 × too_short"):
        build(settings, FakeAnnotator(drop={f"p{k}" for k in range(7)}))


BAD_PICTURES = {
    "no picture": lambda file: file.write_bytes(b"GIF?"),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-30]),
    "bomb": bomb,
}


@pytest.mark.parametrize("spoil", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_picture_is_refused_by_name_before_anybody_is_asked(settings, spoil):
    spoil(settings.source.path / "images/1.png")
    annotator = FakeAnnotator()
    with pytest.raises(InputError, match=r"1\.png.*source\.bad_rows") as fault:
        build(settings, annotator)
    assert "BytesIO" not in str(fault.value)  # the text of an error is the same in every run
    assert annotator.asked == []


@pytest.mark.parametrize("spoil", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_picture_costs_its_pairs_where_the_recipe_says_so(settings, spoil):
    spoil(settings.source.path / "images/1.png")
    annotator = FakeAnnotator()
    folder = build(replace(settings, source=replace(settings.source, bad_rows="drop")), annotator)
    assert annotator.asked == load(folder)["id"] == [f"p{k}" for k in range(2, 7)]
    drops = report(folder)["drops"]
    assert drops == {"picture does not decode or is too large": {"count": 2, "first": ["images/1.png"] * 2}}


@pytest.mark.parametrize("name", ["../outside.png", "images/gone.png"])
def test_picture_outside_or_missing_is_refused_with_its_line(settings, name):
    picture(settings.source.path.parent / "outside.png", 1)
    source = settings.source.path / "pairs.jsonl"
    source.write_text(source.read_text().replace("images/7.png", name))
    with pytest.raises(InputError, match=r"pairs\.jsonl, line 7: image"):
        build(settings, FakeAnnotator())


def test_caption_that_holds_the_image_placeholder_adds_no_image(captioned, tmp_path):
    file = captioned.path / "captions.jsonl"
    file.write_text(file.read_text().replace("A dog", "A dog <image>").replace("A cat", "A cat <image>"))
    rows = load(build(BuildSettings("v1", captioned, tmp_path / "out", PairSettings(min_shared=1)), FakeAnnotator()))
    assert any("<image>" in caption for row in rows for caption in row["captions"])
    for row in rows:
        parts = [part["type"] for message in row["messages"] for part in message["content"]]
        assert parts.count("image") == len(row["images"]) == 2


def test_same_recipe_gives_the_same_bytes_wherever_it_is_built(settings, tmp_path):
    first = contents(build(settings, FakeAnnotator()))
    assert contents(build(replace(settings, out=tmp_path / "elsewhere"), FakeAnnotator())) == first
    assert str(tmp_path) not in first["build.json"].decode()


def test_finished_build_asks_nobody_again(settings):
    before = contents(build(settings, FakeAnnotator()))
    annotator = FakeAnnotator()
    assert contents(build(settings, annotator)) == before
    assert annotator.asked == []


@pytest.mark.parametrize("recipe", ["v1", "v2"])
def test_full_scale_recipe_holds_valid_settings(recipe):
    settings = parse_settings("build", [recipe, "--config", recipe])
    assert settings.config == recipe
    assert settings.annotator.kind == "server"
    assert settings.source.bad_rows == "drop"


def test_max_rows_limits_the_pairs(settings):
    assert load(build(replace(settings, max_rows=3), FakeAnnotator()))["id"] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"rows_per_shard": 3}, {"annotator": "other"}, {"data": "changed"}])
def test_another_recipes_output_is_refused_with_both_digests_and_replaced_on_demand(settings, change):
    folder = build(settings, FakeAnnotator())
    digest, before = report(folder)["digest"], contents(folder)
    annotator = FakeAnnotator(change.pop("annotator", "fake"))
    if change.pop("data", None):
        source = settings.source.path / "pairs.jsonl"
        source.write_text(source.read_text().replace("Note 0", "Another note"))
    changed = replace(settings, **change)
    with pytest.raises(InputError, match=f"digest {digest}; this recipe: [0-9a-f]{{16}}.*--overwrite true"):
        build(changed, annotator)
    assert contents(folder) == before
    build(replace(changed, overwrite=True), annotator)
    fresh = build(replace(changed, out=settings.out / "fresh"), annotator)
    assert contents(folder) == contents(fresh)


def test_folder_with_parquet_of_no_build_is_refused(settings):
    (settings.out / "v2").mkdir(parents=True)
    (settings.out / "v2/train.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="parquet files of no build"):
        build(settings, FakeAnnotator())


def test_second_build_on_one_folder_is_refused_while_the_first_runs(settings):
    with (
        open_build_folder(settings.out / "v2", "0123", overwrite=False),
        pytest.raises(InputError, match="another build is writing"),
    ):
        build(settings, FakeAnnotator())


def test_output_that_cannot_be_written_is_an_error_with_a_mend(settings, tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(InputError, match=r"cannot be written \(.*choose another out"):
        build(replace(settings, out=tmp_path / "taken"), FakeAnnotator())


def test_full_disk_is_an_error_that_says_what_stands_and_a_rerun_goes_on(settings, tmp_path):
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    work = settings.out / "v2/_work"
    work.mkdir(parents=True)
    full = work / "part-00002.parquet.tmp"
    full.symlink_to("/dev/full")  # the device whose every write fails with ENOSPC
    with pytest.raises(InputError, match=r"No space left on device.*2 shards are whole"):
        build(settings, FakeAnnotator())
    full.unlink()
    annotator = FakeAnnotator()
    assert contents(build(settings, annotator)) == clean
    assert annotator.asked == ["p4", "p5", "p6"]


def test_build_that_dies_anywhere_goes_on_to_the_same_bytes(settings, captioned, tmp_path):
    for config, source in (("v2", settings.source), ("v1", captioned)):
        given = replace(settings, config=config, source=source, pairs=PairSettings(min_shared=1))
        clean = contents(build(replace(given, out=tmp_path / "clean"), FakeAnnotator()))
        for pairs in range(4):
            interrupted = replace(given, out=tmp_path / f"killed{pairs}")
            with pytest.raises(KeyboardInterrupt):
                build(interrupted, FakeAnnotator(die_after=pairs))
            assert contents(build(interrupted, FakeAnnotator())) == clean


@pytest.mark.parametrize("after", [False, True], ids=["before a rename", "after a rename"])
def test_build_that_dies_around_any_rename_goes_on_to_the_same_bytes(settings, tmp_path, monkeypatch, after):
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    rename = Path.replace
    deaths = 0
    while True:
        left = deaths

        def dying(self, target):
            nonlocal left
            if after:
                rename(self, target)
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return target if after else rename(self, target)

        given = replace(settings, out=tmp_path / f"killed{deaths}")
        try:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", dying)
                build(given, FakeAnnotator())
            break  # more deaths than renames
        except KeyboardInterrupt:
            assert contents(build(given, FakeAnnotator())) == clean
        deaths += 1
    assert deaths == 17  # recipe, two stages, four shards with facts, layout, four final names, report


def test_overwriting_that_dies_can_be_repeated(settings, monkeypatch):
    build(settings, FakeAnnotator())
    other = replace(settings, seed=1, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(other, FakeAnnotator())
    with pytest.raises(InputError, match="another recipe"):
        build(replace(other, overwrite=False), FakeAnnotator())
    folder = build(other, FakeAnnotator())
    assert contents(folder) == contents(build(replace(other, out=settings.out / "fresh"), FakeAnnotator()))


def test_other_os_errors_are_not_taken_for_a_full_disk(settings):
    class Disconnected(FakeAnnotator):
        def annotate(self, pairs, image_root):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        build(settings, Disconnected())


def test_build_killed_by_the_system_goes_on_to_the_same_bytes(settings, tmp_path):
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    script = (
        "import sys; from pathlib import Path; from test_build import *\n"
        "source = SourceSettings(Path(sys.argv[1]), 'similar')\n"
        "build(BuildSettings('v2', source, Path(sys.argv[2]), rows_per_shard=2), FakeAnnotator(hang_after=5))\n"
    )
    command = [sys.executable, "-c", script, str(settings.source.path), str(settings.out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + 300
        while not (settings.out / "v2/_work/part-00001.parquet").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    annotator = FakeAnnotator()
    assert contents(build(settings, annotator)) == clean
    assert annotator.asked == ["p4", "p5", "p6"]
