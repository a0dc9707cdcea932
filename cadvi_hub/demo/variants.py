"""The method with a part left out, with other summaries, or with fewer pairs: one training each, beside V1 and V2."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from cadvi_hub.annotation.annotators import Annotator, MentionsAnnotator, Summarized
from cadvi_hub.annotation.settings import VerifierSettings
from cadvi_hub.builder.build import build
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.demo.run import V1_SOURCES, V2_SOURCES, Demo
from cadvi_hub.world.captions import describe, make_caption
from cadvi_hub.world.ground_truth import read_drawn
from cadvi_hub.world.scene import Scene

Variant = Literal[
    "which_image",
    "difference_notes",
    "v2_unverified",
    "v2_perfect",
    "v2_mentions",
    "v2_summaries",
    "v1_1_of_8",
    "v1_1_of_4",
    "v1_1_of_2",
    "v2_1_of_8",
    "v2_1_of_4",
    "v2_1_of_2",
]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
SHARES = {"1_of_8": 1 / 8, "1_of_4": 1 / 4, "1_of_2": 1 / 2}


class DrawnAnnotator:
    """Writes V2's summaries from captions of the drawn scenes, as V1's are written from the captions of its pairs.

    Args:
        drawn: folder of the pictures and their scenes.
        tell: how much the captions say, from 0 to 1; None for complete ones, whose summaries have no error.
    """

    def __init__(self, drawn: Path, tell: float | None = None):
        self._drawn, self._tell = drawn, tell
        self._mentions = MentionsAnnotator(min_words=1, max_words=400)
        name = "drawn scenes" if tell is None else "captions of drawn scenes"
        self.provenance = replace(self._mentions.provenance, annotator=name)

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        scenes = read_drawn(self._drawn, {Path(name).name for pair in pairs for name in pair.images})

        def captioned(pair: ImagePair) -> ImagePair:
            first, second = (self._caption(scenes[Path(name).name], name) for name in pair.images)
            return replace(pair, captions=(first, second))

        summaries = self._mentions.annotate(list(map(captioned, pairs)), images)
        return ((pair, summary) for pair, (_, summary) in zip(pairs, summaries, strict=True))

    def _caption(self, scene: Scene, name: str) -> str:
        if self._tell is None:
            return describe(scene).text
        return make_caption(random.Random(name), scene, self._tell).text


def tune_variant(run: Demo, name: Variant) -> Path:
    """The merged model of a variant, which has the steps of V1, or of V2 where it has V2's rows.

    Args:
        run: a demo whose V1 and V2 are made.
        name: of the variant.
    """
    steps = run.settings.v2_training if name.startswith("v2") else {}
    return run.tune(name, _rows(run, name), **steps)


def _rows(run: Demo, name: Variant) -> dict[str, dict[str, Any]]:
    """The sources of a variant's mixture; data sets that only it needs are built."""
    v1 = {source: run.source(source) for source in V1_SOURCES}
    build_v2 = run.v2_build(run.out / "models/v1/merged")

    def built(folder: str, annotator: Annotator | None = None, **changes: Any) -> dict[str, Any]:
        build(replace(build_v2, out=run.out / folder, **changes), annotator)
        return {"path": str(run.out / folder)}

    match name:
        case "which_image":
            return {source: v1[source] for source in ("instruct", "v1/which_image", "v1_edited/which_image")}
        case "difference_notes":
            return {"instruct": v1["instruct"], "notes": {"config": "v2", **built("notes", turns="difference_note")}}
        case "v2_unverified":
            return {**v1, "v2": run.source("v2") | built("unverified", verifier=VerifierSettings())}
        case "v2_summaries":
            return {**v1, "v2": run.source("v2")}
        case "v2_perfect" | "v2_mentions":
            tell = None if name == "v2_perfect" else run.settings.world.tell
            writer = DrawnAnnotator(run.world / "similar", tell)
            folder = name.removeprefix("v2_")
            summaries = run.source("v2") | built(folder, writer)
            turns = run.source("v2/which_image") | built(f"{folder}_turns", writer, turns="which_image")
            return {**v1, "v2": summaries, "v2/which_image": turns}
    phase, _, of = name.partition("_")
    share = SHARES[of]
    if phase == "v2":
        return {**v1, **{source: run.source(source, share) for source in V2_SOURCES}}
    return {source: v1[source] if source == "instruct" else run.source(source, share) for source in v1}
