"""The demo's recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.annotation.settings import AnnotatorSettings, VerifierSettings
from cadvi_hub.core.ranges import Count, Ranged, Seed
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.world.settings import WorldSettings


@dataclass
class DemoSettings(Ranged):
    """The demo's recipe.

    Attributes:
        out: Output folder.
        seed: Of scenes, pairs, conversations and training.
        base: `shipped` takes the base model of the package, `from-scratch` trains it first (about two hours on two
            cores).
        world: How much of the world is drawn.
        pairs: How V1's pairs are mined.
        v1_annotator: Who writes V1's summaries.
        v2_annotator: How the V1 model writes V2's summaries.
        v2_verifier: How V2's summaries are checked; the model `base` is the demo's base, which reads one picture well.
        training: Keys of the training script for every run.
        v2_training: Keys that V2's training has instead: more steps, since it has more rows.
        mixture_rows: Rows at most of a mixture's sources: `instruct`, `v1`, `v1_edited`, `v2`, and the same with
            `/which_image`.
    """

    out: Path = Path("out/demo")
    seed: Seed = 0
    base: Literal["shipped", "from-scratch"] = "shipped"
    world: WorldSettings = field(default_factory=WorldSettings)
    pairs: PairSettings = field(default_factory=PairSettings)
    v1_annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    v2_annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    v2_verifier: VerifierSettings = field(default_factory=VerifierSettings)
    training: dict[str, Any] = field(default_factory=dict)
    v2_training: dict[str, Any] = field(default_factory=dict)
    mixture_rows: dict[str, Count] = field(default_factory=dict)
