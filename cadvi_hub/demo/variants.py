"""The method with a part left out, with other summaries, or with fewer pairs: one training each, beside V1 and V2."""

from __future__ import annotations

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
from cadvi_hub.world.captions import describe
from cadvi_hub.world.ground_truth import read_drawn

Variant = Literal[
    "which_image",
    "difference_notes",
    "v2_unverified",
    "v2_perfect",
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


class PerfectAnnotator:
    """Writes V2's summaries from complete descriptions of the drawn scenes, as a writer without errors would."""

    def __init__(self, drawn: Path):
        self._drawn = drawn
        self._mentions = MentionsAnnotator(min_words=1, max_words=400)
        self.provenance = replace(self._mentions.provenance, annotator="drawn scenes")

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        scenes = read_drawn(self._drawn, {Path(name).name for pair in pairs for name in pair.images})

        def described(pair: ImagePair) -> ImagePair:
            first, second = (describe(scenes[Path(name).name]).text for name in pair.images)
            return replace(pair, captions=(first, second))

        summaries = self._mentions.annotate(list(map(described, pairs)), images)
        return ((pair, summary) for pair, (_, summary) in zip(pairs, summaries, strict=True))


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
    perfect = PerfectAnnotator(run.world / "similar")

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
        case "v2_perfect":
            summaries = run.source("v2") | built("perfect", perfect)
            turns = run.source("v2/which_image") | built("perfect_turns", perfect, turns="which_image")
            return {**v1, "v2": summaries, "v2/which_image": turns}
    phase, _, of = name.partition("_")
    share = SHARES[of]
    if phase == "v2":
        return {**v1, **{source: run.source(source, share) for source in V2_SOURCES}}
    return {source: v1[source] if source == "instruct" else run.source(source, share) for source in v1}
