"""Settings of the drawn world, and of NLVR's boxes as captioned images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class WorldSettings:
    """How much of the world is drawn.

    Attributes:
        seed: Of everything drawn; another seed draws other scenes.
        captioned: Captioned images, the source of V1.
        similar: Similar pairs with difference notes, the source of V2.
        instruct: Single-image conversations.
        questions: Questions per benchmark (pairs of questions for EQBEN and COLA).
        boxes_share: Share of the training images in the look of NLVR's boxes.
        tell: How much the captions tell, from 0 to 1.
        max_groups: Groups of like items in a sketch at most: the fewer, the easier a picture is to read.
        out: Output folder.
    """

    seed: int = 0
    captioned: int = 3000
    similar: int = 1500
    instruct: int = 3000
    questions: int = 240
    boxes_share: float = 0.06
    tell: float = 0.6
    max_groups: int = 3
    out: Path = Path("out/world")


@dataclass
class NlvrSettings:
    """Which NLVR file becomes captioned images.

    Attributes:
        path: Folder with the annotation file and the pictures that it names (key `image`).
        out: Folder to write: captions.jsonl, images/, scenes.jsonl.
        annotations: Name of the annotation file.
        tell: How much the captions tell, from 0 to 1.
        seed: Of the captions.
    """

    path: Path
    out: Path
    annotations: str = "dev.jsonl"
    tell: float = 0.7
    seed: int = 0
