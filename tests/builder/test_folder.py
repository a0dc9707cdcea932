"""The folder of a build: the same bytes whatever happens, and nothing of others overwritten, lost or asked twice."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.folder import open_build_folder
from cadvi_hub.builder.plan import make_plan
from cadvi_hub.builder.records import stage_records
from cadvi_hub.builder.settings import BuildSettings, Config
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, captioned_source, contents, picture, report, similar_source


@pytest.fixture
def captioned(tmp_path: Path) -> SourceSettings:
    return captioned_source(tmp_path / "captioned")


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)


def test_same_recipe_gives_the_same_bytes_wherever_it_is_built(settings: BuildSettings, tmp_path: Path) -> None:
    first = contents(build(settings, FakeAnnotator()))
    assert contents(build(replace(settings, out=tmp_path / "elsewhere"), FakeAnnotator())) == first
    assert str(tmp_path) not in first["build.json"].decode()


def test_finished_build_asks_nobody_again(settings: BuildSettings) -> None:
    before = contents(build(settings, FakeAnnotator()))
    annotator = FakeAnnotator()
    assert contents(build(settings, annotator)) == before
    assert annotator.asked == []


@pytest.mark.parametrize("change", [{"seed": 1}, {"rows_per_shard": 3}, {"annotator": "other"}, {"data": "changed"}])
def test_another_recipes_output_is_refused_with_both_digests_and_replaced_on_demand(
    settings: BuildSettings, change: dict[str, Any]
) -> None:
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


def test_a_build_under_way_mixes_no_pictures_of_other_folders_into_its_shards(
    settings: BuildSettings, tmp_path: Path
) -> None:
    shutil.copytree(settings.source.path, tmp_path / "others")
    for number, file in enumerate(sorted((tmp_path / "others/images").iterdir())):
        picture(file, 200 + number)
    given = replace(settings, source=replace(settings.source, images=[settings.source.path]))
    other = replace(given, source=replace(settings.source, images=[tmp_path / "others"]))
    with pytest.raises(KeyboardInterrupt):
        build(given, FakeAnnotator(die_after=3))
    with pytest.raises(InputError, match=f"pictures of other folders .{settings.source.path}.*--overwrite true"):
        build(other, FakeAnnotator())
    folder = build(given, FakeAnnotator())
    finished = contents(folder)
    assert contents(build(other, FakeAnnotator())) == finished
    fresh = replace(other, out=tmp_path / "fresh")
    with pytest.raises(KeyboardInterrupt):
        build(replace(given, out=fresh.out), FakeAnnotator(die_after=3))
    replaced = contents(build(replace(fresh, overwrite=True), FakeAnnotator()))
    assert replaced == contents(build(replace(other, out=tmp_path / "clean"), FakeAnnotator()))
    assert replaced != finished


def test_captions_are_read_again_where_pictures_lie_in_other_folders(
    captioned: SourceSettings, tmp_path: Path
) -> None:
    (tmp_path / "few").mkdir()
    for number in (0, 1):
        shutil.copy(captioned.path / f"{number}.png", tmp_path / "few")
    source = replace(captioned, images=[captioned.path], bad_rows="drop")
    given = BuildSettings("v1", source, tmp_path / "out", PairSettings(min_shared=1))
    with pytest.raises(KeyboardInterrupt):
        build(given, FakeAnnotator(die_after=0))
    few = replace(given, source=replace(source, images=[tmp_path / "few"]))
    assert report(build(few, FakeAnnotator()))["drops"]["image file not found in the folder"]["count"] == 3


def test_folder_with_parquet_of_no_build_is_refused(settings: BuildSettings) -> None:
    (settings.out / "v2").mkdir(parents=True)
    (settings.out / "v2/train.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="parquet files of no build"):
        build(settings, FakeAnnotator())


def test_second_build_on_one_folder_is_refused_while_the_first_runs(settings: BuildSettings) -> None:
    with (
        open_build_folder(settings.out / "v2", "0123", overwrite=False),
        pytest.raises(InputError, match="another build is writing"),
    ):
        build(settings, FakeAnnotator())


def test_output_that_cannot_be_written_is_an_error_with_a_hint(settings: BuildSettings, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    for out in (tmp_path / "taken", Path("/proc/no-folder")):
        with pytest.raises(InputError, match=rf"^{out}.*: cannot be written \(.*choose another out"):
            build(replace(settings, out=out), FakeAnnotator())


def test_full_disk_is_an_error_that_says_what_stands_and_a_rerun_goes_on(
    settings: BuildSettings, tmp_path: Path
) -> None:
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=0))
    full = settings.out / "v2/_work/.part-00002.parquet.tmp"
    full.symlink_to("/dev/full")  # the device whose every write fails with ENOSPC
    with pytest.raises(InputError, match=r"No space left on device.*2 shards are whole"):
        build(settings, FakeAnnotator())
    assert not full.is_symlink()  # nothing unfinished stays
    annotator = FakeAnnotator()
    assert contents(build(settings, annotator)) == clean
    assert annotator.asked == ["p4", "p5", "p6"]


def test_build_that_dies_anywhere_goes_on_to_the_same_bytes(
    settings: BuildSettings, captioned: SourceSettings, tmp_path: Path
) -> None:
    configs: list[tuple[Config, SourceSettings]] = [("v2", settings.source), ("v1", captioned)]
    for config, source in configs:
        given = replace(settings, config=config, source=source, pairs=PairSettings(min_shared=1))
        clean = contents(build(replace(given, out=tmp_path / "clean"), FakeAnnotator()))
        for pairs in range(4):
            interrupted = replace(given, out=tmp_path / f"killed{pairs}")
            with pytest.raises(KeyboardInterrupt):
                build(interrupted, FakeAnnotator(die_after=pairs))
            assert contents(build(interrupted, FakeAnnotator())) == clean


@pytest.mark.parametrize("after", [False, True], ids=["before a rename", "after a rename"])
def test_build_that_dies_around_any_rename_goes_on_to_the_same_bytes(
    settings: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    rename = Path.replace
    deaths = 0
    while True:
        left = deaths

        def dying(self: Path, target: Path) -> Path:
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
    assert deaths == 17  # recipe, records with their facts, four shards with theirs, layout, four final names, report


def test_overwriting_that_dies_can_be_repeated(settings: BuildSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(build(settings, FakeAnnotator()))
    other = replace(settings, seed=1, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        build(other, FakeAnnotator(die_after=5))
    assert before.items() <= contents(settings.out / "v2").items()
    annotator = FakeAnnotator()
    build(settings, annotator)  # the old one is still finished
    assert annotator.asked == []
    with pytest.raises(InputError, match="another recipe"):
        build(replace(other, seed=2, overwrite=False), FakeAnnotator())
    with monkeypatch.context() as patch:
        patch.setattr("cadvi_hub.builder.folder.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(other, annotator)
    assert annotator.asked == ["p4", "p5", "p6"]
    folder = build(other, FakeAnnotator())
    assert contents(folder) == contents(build(replace(other, out=settings.out / "fresh"), FakeAnnotator()))


def test_what_a_killed_removal_left_behind_is_never_taken_for_ones_own(settings: BuildSettings) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=5))
    (settings.out / "v2/_work/recipe.json").unlink()  # files are removed in no particular order
    other = replace(settings, seed=1)
    folder = build(other, FakeAnnotator("other"))
    assert contents(folder) == contents(build(replace(other, out=settings.out / "new"), FakeAnnotator("other")))


def test_overwriting_leaves_no_file_of_another_split(settings: BuildSettings, tmp_path: Path) -> None:
    named = replace(settings, name="mine")
    build(named, FakeAnnotator())
    row = {"question_id": "1", "image": ["0.png", "1.png"], "text": "<image><image> What?", "answer": "Both."}
    (settings.source.path / "images/cad_qa.jsonl").write_text(json.dumps(row) + "\n")
    source = SourceSettings(settings.source.path / "images", "questions")
    folder = build(replace(named, config="cad_qa", source=source, overwrite=True))
    assert [file.name for file in folder.glob("*.parquet")] == ["test-00000-of-00001.parquet"]


@pytest.mark.parametrize("content", ['{"digest":', "[]", '{"rows": 1}'])
def test_a_foreign_or_torn_report_is_named(settings: BuildSettings, content: str) -> None:
    (settings.out / "v2").mkdir(parents=True)
    (settings.out / "v2/build.json").write_text(content)
    with pytest.raises(InputError, match=r"build\.json: it is no"):
        build(settings, FakeAnnotator())


def test_records_are_staged_without_holding_them_all(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "word " * 200}, {"from": "gpt", "value": "word " * 200}]
    rows = [json.dumps({"id": str(k), "conversations": talk}) + "\n" for k in range(4000)]
    (tmp_path / "instruct.jsonl").write_text("".join(rows))
    given = BuildSettings("instruct", SourceSettings(tmp_path, "mix"), tmp_path / "out", rows_per_shard=50)
    plan = make_plan(given)
    with plan.locked_folder() as folder:
        tracemalloc.start()
        try:
            counted = stage_records(plan, folder)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (counted.records, counted.blocks) == (4000, 80)
    assert peak < 3_000_000  # the rows are 8 MB


def test_other_os_errors_are_not_taken_for_a_full_disk(settings: BuildSettings) -> None:
    class Disconnected(FakeAnnotator):
        def annotate(self, pairs: Any, images: Any) -> Any:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(ConnectionResetError):
        build(settings, Disconnected())


def test_build_killed_by_the_system_goes_on_to_the_same_bytes(settings: BuildSettings, tmp_path: Path) -> None:
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.support.builds import *; from cadvi_hub.builder.build import *\n"
        "source = SourceSettings(Path(sys.argv[1]), 'similar')\n"
        "build(BuildSettings('v2', source, Path(sys.argv[2]), rows_per_shard=2), FakeAnnotator(hang_after=5))\n"
    )
    command = [sys.executable, "-c", script, str(settings.source.path), str(settings.out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
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
