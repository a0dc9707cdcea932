"""What each variant is tuned on, and the best annotator: what it writes about drawn scenes is true of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.annotation.annotators import Annotator
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import CadSummary, ImagePair
from cadvi_hub.demo import variants
from cadvi_hub.demo.run import V1_SOURCES, V2_SOURCES, Demo
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.demo.variants import VARIANTS, DrawnAnnotator, Variant, tune_variant
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.world.ground_truth import read_scenes
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings


def _written(folder: Path, tell: float | None) -> tuple[list[CadSummary], Counter[Verdict]]:
    """The summaries of a world's similar pairs, and how many of their statements are true."""
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    pairs = [ImagePair(row["id"], tuple(row["images"]), "scenes") for row in rows]
    graphs = read_scenes(folder, {Path(name).name for pair in pairs for name in pair.images})
    written = list(DrawnAnnotator(folder, tell).annotate(pairs, ImageFolders([folder])))
    assert [pair for pair, _ in written] == pairs
    summaries, verdicts = [], Counter[Verdict]()
    for pair, summary in written:
        if isinstance(summary, CadSummary):
            first, second = (graphs[Path(name).name] for name in pair.images)
            verdicts.update(each.verdict for each in check_grounding(summary, (first, second)).statements)
            summaries.append(summary)
    return summaries, verdicts


def _words_of_differences(summaries: list[CadSummary]) -> int:
    return sum(len(difference.text.split()) for summary in summaries for difference in summary.differences)


def test_summaries_of_complete_captions_are_true_and_those_of_usual_ones_see_more_differences(tmp_path: Path) -> None:
    settings = WorldSettings(captioned=2, edited=2, similar=30, instruct=2, questions=2, out=tmp_path / "world")
    folder = make_world(settings) / "similar"
    complete, verdicts = _written(folder, None)
    assert verdicts[Verdict.CONTRADICTED] == 0
    assert verdicts[Verdict.SUPPORTED] > 100
    usual, verdicts = _written(folder, settings.tell)
    assert verdicts[Verdict.SUPPORTED] > 100
    assert usual == _written(folder, settings.tell)[0]
    # What only one of two captions mentions counts as a difference.
    assert _words_of_differences(usual) / len(usual) > 1.2 * _words_of_differences(complete) / len(complete)


class Tuned(Demo):
    """A demo whose data sets have 80 rows each, and that says how a model would be tuned."""

    def tune(self, name: str, sources: dict[str, dict[str, Any]], **keys: Any) -> Path:
        self.sources, self.keys = sources, keys
        return self.out / "models" / name / "merged"


@pytest.fixture
def run(tmp_path: Path) -> Tuned:
    settings = parse_settings("demo", ["--config", "demo", "--out", str(tmp_path), "--mixture_rows.v1", "40"])
    assert isinstance(settings, DemoSettings)
    run = Tuned(settings, Path("base"))
    for source in (*V1_SOURCES, *V2_SOURCES):
        folder = (run.turns if "/" in source else run.data) / source.partition("/")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "build.json").write_text('{"rows": 80}')
    return run


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[BuildSettings, Annotator | None]]:
    builds: list[tuple[BuildSettings, Annotator | None]] = []
    monkeypatch.setattr(variants, "build", lambda settings, annotator=None: builds.append((settings, annotator)))
    return builds


def test_each_variant_has_the_sources_and_steps_of_its_phase(
    run: Tuned, built: list[tuple[BuildSettings, Annotator | None]]
) -> None:
    for name in VARIANTS:
        assert tune_variant(run, name) == run.out / "models" / name / "merged"
        assert run.keys == (run.settings.v2_training if name.startswith("v2") else {})
        of_v2 = {"v2"} if name in ("v2_unverified", "v2_summaries") else set(V2_SOURCES)
        wanted = {*V1_SOURCES, *of_v2} if name.startswith("v2") else set(V1_SOURCES)
        if name == "which_image":
            wanted = {"instruct", "v1/which_image", "v1_edited/which_image"}
        if name == "difference_notes":
            wanted = {"instruct", "notes"}
        assert set(run.sources) == wanted


def test_variants_build_only_what_they_need(run: Tuned, built: list[tuple[BuildSettings, Annotator | None]]) -> None:
    tune_variant(run, "which_image")
    tune_variant(run, "v2_1_of_8")
    assert not built
    tune_variant(run, "v2_unverified")
    tune_variant(run, "difference_notes")
    (unverified, _), (notes, _) = built
    assert (unverified.verifier.model, run.settings.v2_verifier.model) == ("", "base")
    assert (notes.turns, notes.verifier.model) == ("difference_note", str(run.base))
    tune_variant(run, "v2_perfect")
    assert [(settings.turns, type(annotator)) for settings, annotator in built[2:]] == [
        ("full", DrawnAnnotator),
        ("which_image", DrawnAnnotator),
    ]
    folders = [settings.out for settings, _ in built]
    assert len(set(folders)) == 4
    assert run.data not in folders
    assert run.turns not in folders
    assert [run.sources[name]["path"] for name in V2_SOURCES] == list(map(str, folders[2:]))


def test_other_summaries_are_as_many_at_most_as_those_of_the_demo(
    run: Tuned, built: list[tuple[BuildSettings, Annotator | None]]
) -> None:
    run.settings.mixture_rows["v2"] = 7
    for name in ("v2_unverified", "v2_perfect", "v2_mentions"):
        tune_variant(run, name)
        assert run.sources["v2"]["max_rows"] == 7


@pytest.mark.parametrize(
    ("name", "fewer", "rows"),
    [
        ("v1_1_of_8", V1_SOURCES[1:], {"v1": 5, "v1_edited": 10}),
        ("v2_1_of_4", V2_SOURCES, {"v2": 20, "v2/which_image": 20}),
    ],
)
def test_a_share_is_of_the_rows_that_the_demo_uses(
    run: Tuned, name: Variant, fewer: tuple[str, ...], rows: dict[str, int]
) -> None:
    tune_variant(run, name)
    used = {source: run.sources[source]["max_rows"] for source in run.sources}
    assert {source: used[source] for source in rows} == rows
    assert all(used[source] == run.source(source)["max_rows"] for source in run.sources if source not in fewer)
