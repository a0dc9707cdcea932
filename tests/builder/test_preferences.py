"""Preference pairs are built from the summaries of a finished data set, with their pictures and kinds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Image, List

from cadvi_hub.annotation.preferences import REJECTIONS
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.scene_graph import SceneGraph
from cadvi_hub.core.schema import preferences_features
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.hub.dataset_card import dataset_card
from cadvi_hub.hub.dataset_contents import read_configs
from cadvi_hub.hub.samples import draw_sample
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.ground_truth import read_scenes
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings
from tests.support.builds import load, report


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    return make_world(WorldSettings(captioned=60, similar=1, instruct=1, questions=1, out=out))


@pytest.fixture(scope="module")
def v1(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = SourceSettings(world / "captioned", "scenes")
    out = tmp_path_factory.mktemp("data")
    return build(BuildSettings("v1", source, out, PairSettings(min_shared=1), max_rows=40))


@pytest.fixture(scope="module")
def settings(world: Path, v1: Path) -> BuildSettings:
    source = SourceSettings(v1, "scenes")
    return BuildSettings("preferences", source, v1.parent, graphs=world / "captioned", name="v1_preferences")


@pytest.fixture(scope="module")
def built(settings: BuildSettings) -> Path:
    return build(settings)


def encoded(folder: Path) -> Any:
    """The rows with their pictures as they are stored."""
    return load(folder).cast_column("images", List(Image(decode=False)))


def test_every_summary_becomes_a_pair_of_unequal_answers(v1: Path, built: Path) -> None:
    assert load(built).features == preferences_features()
    rows, summaries = encoded(built), encoded(v1)
    assert len(rows) == len(summaries) == 40
    assert built.name == "v1_preferences"
    for row, of_v1 in zip(rows, summaries, strict=True):
        assert row["id"] == of_v1["id"]
        assert [image["bytes"] for image in row["images"]] == [image["bytes"] for image in of_v1["images"]]
        assert [Path(image["path"]).name for image in of_v1["images"]] == [image["path"] for image in row["images"]]
        assert row["prompt"] == of_v1["messages"][:1]
        assert row["chosen"] == of_v1["messages"][1:2]
        assert row["rejected"] != row["chosen"]
        parse_summary(row["rejected"][0]["content"][0]["text"])
    kinds = Counter(rows["rejection"])
    assert set(kinds) == set(REJECTIONS)
    assert report(built)["statistics"]["rows_with_rejection"] == dict(sorted(kinds.items()))


def test_a_statement_that_the_scene_graphs_contradict_is_really_wrong(world: Path, built: Path) -> None:
    rows = [row for row in encoded(built) if row["rejection"] == "contradicted"]
    assert rows
    for row in rows:
        names = [image["path"] for image in row["images"]]
        graphs = read_scenes(world / "captioned", {Path(name).name for name in names})
        pair: tuple[SceneGraph, SceneGraph] = (graphs[Path(names[0]).name], graphs[Path(names[1]).name])
        better, worse = (
            check_grounding(parse_summary(row[name][0]["content"][0]["text"]), pair).share(Verdict.CONTRADICTED)
            for name in ("chosen", "rejected")
        )
        assert worse > better


def test_without_graphs_and_verifier_nothing_is_called_contradicted(settings: BuildSettings, tmp_path: Path) -> None:
    rows = load(build(replace(settings, graphs=None, out=tmp_path)))
    assert set(rows["rejection"]) == {"swapped_sides", "missing_aspect", "other_pair"}


def test_only_the_wanted_kinds_are_made(settings: BuildSettings, tmp_path: Path) -> None:
    rows = load(build(replace(settings, rejections=["swapped_sides"], out=tmp_path)))
    assert set(rows["rejection"]) == {"swapped_sides"}


def test_a_data_set_without_summaries_is_refused(built: Path, settings: BuildSettings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it has no messages, commonalities, differences"):
        build(replace(settings, source=SourceSettings(built, "scenes"), out=tmp_path))


def test_the_card_counts_the_kinds_and_shows_both_answers(built: Path) -> None:
    configs = [config for config in read_configs(built.parent) if config.name == "v1_preferences"]
    sample = draw_sample("v1_preferences", configs[0].files)
    assert sample is not None
    assert [title for title, _ in sample.texts] == ["Chosen", "Rejected"]
    card = dataset_card(configs, "me/cad", "mit", samples={"v1_preferences": ("sample.jpg", sample)})
    kinds = Counter(load(built)["rejection"])
    assert all(f"| v1_preferences | {kind} | {rows} |" in card for kind, rows in kinds.items())
