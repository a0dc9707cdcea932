"""A damaged file never counts as complete: it is made again or named."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import write_json
from cadvi_hub.core.manifest import damage, manifest_of
from tests.faults.record import Count, Faults
from tests.support.builds import FakeAnnotator, captioned_source, contents, similar_source

POWER_LOSS = "a file of a build cut to 0 and to half"


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)


def cuts(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every file of `folder` that is not empty, with the two lengths that it is cut to."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and (size := file.stat().st_size):
            yield from ((file, 0), (file, size // 2))


def flip(file: Path) -> None:
    """Change one bit in the middle of the file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def check_every_cut(count: Count, folder: Path, settings: BuildSettings, clean: dict[str, bytes]) -> tuple[int, int]:
    """Cut every file of the build in turn; returns how many cuts led to the clean build, and how many were named."""
    before, made, named = contents(folder), 0, 0
    for file, length in list(cuts(folder)):
        for name, content in before.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        file.write_bytes(file.read_bytes()[:length])
        found = count.call(build, settings, FakeAnnotator(), seconds=600)
        if isinstance(found, Path):
            assert contents(found) == clean, f"{file.name} cut to {length}"
            made += 1
        else:
            named += file.name in str(found)
        for left in set(contents(folder)) - set(before):
            (folder / left).unlink()
    return made, named


def test_a_finished_build_with_a_cut_file_is_made_again_or_named(settings: BuildSettings, faults: Faults) -> None:
    folder = build(settings, FakeAnnotator())
    assert check_every_cut(faults(POWER_LOSS), folder, settings, contents(folder)) == (
        8,
        2,
    )  # four shards; the report is named


@pytest.mark.parametrize("laid_out", [False, True])
def test_a_build_under_way_with_a_cut_file_goes_on_to_the_same_bytes(
    settings: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults, laid_out: bool
) -> None:
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    with monkeypatch.context() as patch:
        if laid_out:  # killed after the first shard has its final name
            rename = Path.replace

            def dying(self: Path, target: Path) -> Path:
                if target.name.startswith("train-00001"):
                    raise KeyboardInterrupt
                return rename(self, target)

            patch.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            build(settings, FakeAnnotator(die_after=None if laid_out else 5))
    files = 4 * 3 - 1 + 1 if laid_out else 2 * 2  # shards with their records and, later, the layout
    made, named = check_every_cut(faults(POWER_LOSS), settings.out / "v2", settings, clean)
    assert named == 2  # the recipe: without it nobody knows whose work it is
    assert made >= 2 * files


def test_captions_that_were_cut_are_read_again(tmp_path: Path, faults: Faults) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", rows_per_shard=2)
    settings.pairs.min_shared = 1
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=3))
    made, named = check_every_cut(faults(POWER_LOSS), settings.out / "v1", settings, clean)
    assert named == 2
    assert made > 10


def test_a_flipped_bit_in_the_records_is_named_and_its_hint_helps(settings: BuildSettings) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=3))
    stage = settings.out / "v2/_work/records"
    flip(stage / "00002.jsonl")
    with pytest.raises(InputError, match=rf"00002\.jsonl: it has other contents.*Remove {re.escape(str(stage))};"):
        build(settings, FakeAnnotator())
    for file in stage.iterdir():
        file.unlink()
    stage.rmdir()
    clean = build(replace(settings, out=settings.out / "clean"), FakeAnnotator())
    assert contents(build(settings, FakeAnnotator())) == contents(clean)


def test_verify_finds_a_flipped_bit_and_builds_again(
    settings: BuildSettings, caplog: pytest.LogCaptureFixture
) -> None:
    folder = build(settings, FakeAnnotator())
    clean = contents(folder)
    flip(folder / "train-00002-of-00004.parquet")
    idle = FakeAnnotator()
    build(settings, idle)
    assert idle.asked == []  # sizes and footers are as recorded
    with caplog.at_level(logging.WARNING):
        build(replace(settings, verify=True), FakeAnnotator())
    assert "train-00002-of-00004.parquet has other contents than when it was written" in caplog.text
    assert contents(folder) == clean


def test_verify_finds_a_flipped_bit_in_a_shard_that_waits(settings: BuildSettings, tmp_path: Path) -> None:
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=5))
    flip(settings.out / "v2/_work/part-00001.parquet")
    annotator = FakeAnnotator()
    assert contents(build(replace(settings, verify=True), annotator)) == clean
    assert annotator.asked == ["p2", "p3", "p4", "p5", "p6"]


def test_a_build_of_an_older_version_whose_files_are_whole_is_left_alone(settings: BuildSettings) -> None:
    folder = build(settings, FakeAnnotator())
    record = BuildFolder(folder, "", [], "train").report()
    write_json(folder / "build.json", {**record, "files": list(record["files"])})  # names only
    idle = FakeAnnotator()
    build(settings, idle)
    assert idle.asked == []
    next(folder.glob("*.parquet")).write_bytes(b"")
    again = FakeAnnotator()
    build(settings, again)
    assert len(again.asked) == 7


def test_damage_names_each_file_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "sub/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name * 10)
    manifest = manifest_of(tmp_path)
    assert list(manifest) == ["a", "b", "c", "sub/d"]
    assert list(damage(tmp_path, manifest, digests=True)) == []
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("b")
    (tmp_path / "c").write_text("C" * 10)
    assert list(damage(tmp_path, manifest)) == ["a is missing", "b has 1 bytes instead of 10"]
    assert list(damage(tmp_path, manifest, digests=True))[2:] == ["c has other contents than when it was written"]
    assert list(damage(tmp_path, {"a": 1})) == ["the manifest's entry of a is damaged"]
    assert list(damage(tmp_path, None)) == ["its manifest is damaged"]
