"""A recipe that is mended after an error needs no other folder; a build tells what became of its rows."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from builds import FakeAnnotator, captioned_source, contents, report, similar_source

from cadvi_hub.annotation import AnnotatorSettings
from cadvi_hub.build import BuildSettings, build, mine
from cadvi_hub.errors import InputError
from cadvi_hub.pairing.pairs import PairSettings


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


def test_a_build_tells_how_many_rows_it_has_and_why_others_were_dropped(tmp_path: Path, caplog) -> None:
    settings = BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out")
    for _ in range(2):  # a build that is complete tells it again
        with caplog.at_level(logging.INFO, logger="cadvi_hub.build"):
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
