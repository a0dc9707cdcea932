"""A recipe that is fixed after an error needs no other folder; a build tells what became of its rows."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.builder.build import build, mine
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.nouns import Tagged
from cadvi_hub.pairing.settings import PairSettings
from tests.support.builds import FakeAnnotator, captioned_source, contents, report, similar_source


def test_a_build_that_its_source_ended_goes_on_as_its_error_proposes(tmp_path: Path) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)
    (tmp_path / "similar/images/0.png").unlink()
    (tmp_path / "similar/images/3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0.png' is missing.*or set source.bad_rows to drop"):
        build(settings, FakeAnnotator())
    dropping = replace(settings, source=replace(settings.source, bad_rows="drop"))
    folder = build(dropping, FakeAnnotator())
    assert report(folder)["rows"] == 4
    assert contents(folder) == contents(build(replace(dropping, out=tmp_path / "fresh"), FakeAnnotator()))


def test_a_whole_shard_bars_another_recipe_until_it_is_given_up(tmp_path: Path) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)
    with pytest.raises(KeyboardInterrupt):
        build(settings, FakeAnnotator(die_after=3))
    with pytest.raises(InputError, match="build of another recipe"):
        build(replace(settings, seed=1), FakeAnnotator())


def test_pairs_are_mined_again_with_other_limits(tmp_path: Path) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out")
    assert "=             0  pairs" in mine(replace(settings, pairs=PairSettings(min_shared=9)))
    assert "=             4  pairs" in mine(replace(settings, pairs=PairSettings(min_shared=1)))


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The captions whose nouns were looked for."""
    captions: list[str] = []

    def words(given: Iterable[str], model: str) -> Iterator[Tagged]:
        for caption in given:
            captions.append(caption)
            yield Tagged(tuple(sorted(set(caption.lower().strip(".").split()))), caption)

    monkeypatch.setattr("cadvi_hub.builder.records.tag_captions", words)
    return captions


@pytest.mark.parametrize(
    "change", [{"pairs": PairSettings(min_shared=1, seed=3)}, {"turns": "which_image"}, {"max_rows": 1}, {"seed": 1}]
)
def test_captions_are_tagged_once_whatever_is_made_of_them(
    tmp_path: Path, tagged: list[str], change: dict[str, Any]
) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(1))
    mine(settings)
    with pytest.raises(InputError, match="no row is left"):
        build(replace(settings, pairs=PairSettings(min_shared=9)), FakeAnnotator("other"))
    changed = replace(settings, **change)
    folder = build(changed, FakeAnnotator())
    assert len(tagged) == 5
    assert contents(folder) == contents(build(replace(changed, out=tmp_path / "fresh"), FakeAnnotator()))


def test_captions_of_another_source_are_tagged_anew(tmp_path: Path, tagged: list[str]) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(1))
    mine(settings)
    (tmp_path / "held_out.txt").write_text("4.png\n")
    apart = replace(settings, exclude_images=[tmp_path / "held_out.txt"])
    assert "image is held out" in mine(apart)
    assert len(tagged) == 5 + 4
    file = settings.source.path / "captions.jsonl"
    file.write_text(file.read_text().replace("boat", "ship"))
    mine(apart)
    assert tagged.count("A ship.") == 0
    mine(settings)
    assert tagged.count("A ship.") == 1


def test_a_run_killed_while_it_gives_up_captions_leaves_none_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(1))
    clean = contents(build(replace(settings, out=tmp_path / "clean"), FakeAnnotator()))
    mine(replace(settings, source=replace(settings.source, name="other")))

    def half_removed(path: Path) -> None:
        if (path / "facts.json").exists():
            (path / "00000.jsonl").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cadvi_hub.builder.folder.remove", half_removed)
        with pytest.raises(KeyboardInterrupt):
            mine(settings)
    assert contents(build(settings, FakeAnnotator())) == clean


def test_captions_that_a_killed_finish_left_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(1))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(settings, FakeAnnotator())
    (settings.out / "v1/_work/captions/00000.jsonl").unlink()
    other = replace(settings, seed=1, overwrite=True)
    folder = build(other, FakeAnnotator())
    assert contents(folder) == contents(build(replace(other, out=tmp_path / "fresh"), FakeAnnotator()))


def test_a_build_makes_its_annotator_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeAnnotator] = []  # of a local model, all weights are read for its name

    def make(*_: Any) -> FakeAnnotator:
        made.append(FakeAnnotator())
        return made[-1]

    monkeypatch.setattr("cadvi_hub.builder.authors.make_annotator", make)
    build(BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(1)))
    assert len(made) == 1
    assert len(made[0].asked) == 4


def test_a_build_tells_how_many_rows_it_has_and_why_others_were_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out")
    for _ in range(2):  # a build that is complete tells it again
        with caplog.at_level(logging.INFO, logger="cadvi_hub.builder.build"):
            folder = build(settings, FakeAnnotator(drop=["p1", "p2"]))
        assert [record.getMessage() for record in caplog.records] == [f"{folder}: 5 rows; dropped: 2 × too_short"]
        caplog.clear()


def test_pairs_without_captions_are_not_given_to_who_reads_captions(tmp_path: Path) -> None:
    source = similar_source(tmp_path / "similar")
    for annotator in (AnnotatorSettings(), AnnotatorSettings(kind="server", model="m")):
        with pytest.raises(InputError, match=r"annotator.prompt: .*no captions.* summary_from_images"):
            build(BuildSettings("v2", source, tmp_path / "out", annotator=annotator))


def test_shared_nouns_that_are_not_known_are_not_counted_as_none(tmp_path: Path) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out")
    assert "rows_with_shared_nouns" not in report(build(settings, FakeAnnotator()))["statistics"]


def test_a_file_of_somebody_else_in_the_work_of_a_build_stays(tmp_path: Path) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out", rows_per_shard=2)
    mine = settings.out / "v2/_work/records/thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.tex: no build made it"):
        build(settings, FakeAnnotator())
    mine.rename(settings.out / "thesis.tex")
    folder = build(settings, FakeAnnotator())
    taken = folder / "train-00000-of-00005.parquet"
    taken.write_text("mine")
    with pytest.raises(InputError, match=r"train-00000-of-00005\.parquet: no build made it"):
        build(replace(settings, rows_per_shard=1, overwrite=True), FakeAnnotator(drop=["p1", "p2"]))
    assert taken.read_text() == "mine"
    assert (settings.out / "thesis.tex").read_text() == "mine"
