"""The best annotator: what it writes about drawn scenes is true of them."""

from __future__ import annotations

import json
from pathlib import Path

from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import CadSummary, ImagePair
from cadvi_hub.demo.variants import PerfectAnnotator
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.world.ground_truth import read_scenes
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings


def test_a_perfect_summary_is_true_of_both_scenes(tmp_path: Path) -> None:
    settings = WorldSettings(captioned=2, edited=2, similar=30, instruct=2, questions=2, out=tmp_path / "world")
    folder = make_world(settings) / "similar"
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    pairs = [ImagePair(row["id"], tuple(row["images"]), "scenes") for row in rows]
    graphs = read_scenes(folder, {Path(name).name for pair in pairs for name in pair.images})
    written = list(PerfectAnnotator(folder).annotate(pairs, ImageFolders([folder])))
    assert [pair for pair, _ in written] == pairs
    verdicts = []
    for pair, summary in written:
        if isinstance(summary, CadSummary):
            first, second = (graphs[Path(name).name] for name in pair.images)
            verdicts += [each.verdict for each in check_grounding(summary, (first, second)).statements]
    assert verdicts.count(Verdict.CONTRADICTED) == 0
    assert verdicts.count(Verdict.SUPPORTED) > 100
