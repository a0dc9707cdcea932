"""Settings of the drawn world, and of NLVR's boxes as captioned images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cadvi_hub.core.ranges import Count, CountOrZero, Ranged, Seed, Share


@dataclass
class WorldSettings(Ranged):
    """How much of the world to draw.

    Attributes:
        seed: Random seed; another seed draws other scenes.
        captioned: Number of captioned images, the source of V1.
        edited: Number of edited pairs with a caption of each picture, V1's hard pairs.
        similar: Number of similar pairs with difference notes, the source of V2.
        instruct: Number of single-image conversations.
        questions: Questions per benchmark (pairs of questions for EQBEN and COLA).
        boxes_share: Share of the training images that look like NLVR's boxes.
        tell: How much the captions say, from 0 to 1.
        max_groups: Largest number of groups of equal items in a sketch; fewer are easier to read.
        out: Output folder.
    """

    seed: Seed = 0
    captioned: CountOrZero = 3000
    edited: CountOrZero = 3000
    similar: CountOrZero = 1500
    instruct: CountOrZero = 3000
    questions: CountOrZero = 240
    boxes_share: Share = 0.06
    tell: Share = 0.6
    max_groups: Count = 3
    out: Path = Path("out/world")


@dataclass
class NlvrSettings(Ranged):
    """Which NLVR file to turn into captioned images.

    Attributes:
        path: Folder with the annotation file and its pictures (key `image`).
        out: Output folder for captions.jsonl, images/ and scenes.jsonl.
        annotations: Name of the annotation file.
        tell: How much the captions say, from 0 to 1.
        seed: Random seed of the captions.
    """

    path: Path
    out: Path
    annotations: str = "dev.jsonl"
    tell: Share = 0.7
    seed: Seed = 0
