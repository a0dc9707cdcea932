"""The method with a part left out, with other summaries, or with fewer pairs: one training each, beside V1 and V2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cadvi_hub.annotation.annotators import MentionsAnnotator, Summarized
from cadvi_hub.annotation.settings import VerifierSettings
from cadvi_hub.builder.build import build
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.demo.run import V1_SOURCES, V2_SOURCES, Demo
from cadvi_hub.world.captions import describe
from cadvi_hub.world.ground_truth import read_drawn

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


def tune_variants(run: Demo, v1: Path) -> Iterator[tuple[str, Path]]:
    """Name and merged model of each variant. All have the steps of V1, or of V2 if they have V2's rows.

    Args:
        run: a demo whose V1 and V2 are made.
        v1: its V1 model.
    """
    build_v2 = run.v2_build(v1)
    build(replace(build_v2, out=run.out / "unverified", verifier=VerifierSettings()))
    build(replace(build_v2, out=run.out / "notes", turns="difference_note"))
    perfect = PerfectAnnotator(run.world / "similar")
    build(replace(build_v2, out=run.out / "perfect"), perfect)
    build(replace(build_v2, out=run.out / "perfect_turns", turns="which_image"), perfect)

    v1_rows = {name: run.source(name) for name in V1_SOURCES}
    v2_keys = run.settings.v2_training

    def v2(folder: str) -> dict[str, object]:
        return {"path": str(run.out / folder), "config": "v2"}

    which = ("instruct", "v1/which_image", "v1_edited/which_image")
    yield "which_image", run.tune("which_image", {name: v1_rows[name] for name in which})
    notes = {"instruct": v1_rows["instruct"], "notes": v2("notes")}
    yield "difference_notes", run.tune("difference_notes", notes)
    yield "v2_unverified", run.tune("v2_unverified", {**v1_rows, "v2": v2("unverified")}, **v2_keys)
    yield "v2_summaries", run.tune("v2_summaries", {**v1_rows, "v2": run.source("v2")}, **v2_keys)
    best = {"v2": v2("perfect"), "v2/which_image": v2("perfect_turns")}
    yield "v2_perfect", run.tune("v2_perfect", {**v1_rows, **best}, **v2_keys)
    for name, share in SHARES.items():
        fewer = {source: run.source(source, share) for source in V1_SOURCES if source != "instruct"}
        yield f"v1_{name}", run.tune(f"v1_{name}", {"instruct": v1_rows["instruct"], **fewer})
        fewer = {source: run.source(source, share) for source in V2_SOURCES}
        yield f"v2_{name}", run.tune(f"v2_{name}", {**v1_rows, **fewer}, **v2_keys)
