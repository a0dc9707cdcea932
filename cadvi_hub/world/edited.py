"""Edited pairs: a picture, the same after one edit, and a caption of each in the same wording.

They have the form of VisMin's rows (`image_0`, `text_0`, `image_1`, `text_1`) and differ in what mined pairs never
need: a number, a place, who has which color. Neither caption is true of the other picture.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cadvi_hub.world.near_turns import EDIT_WEIGHTS, draw_near_scene, near_captions
from cadvi_hub.world.scene import Edit, Scene, Split, draw_scene

# Many captions do not say what these edits changed, and are drawn again: without more of them, few are left.
WEIGHTS: dict[Edit, float] = {**EDIT_WEIGHTS, "count": 6, "place": 4}


@dataclass(frozen=True, slots=True)
class EditedPair:
    """Two scenes, one edit apart, and a caption of each."""

    scenes: tuple[Scene, Scene]
    captions: tuple[str, str]


def draw_edited_pair(rng: random.Random, split: Split, max_groups: int = 3) -> EditedPair:
    """An edited pair of `split`; its first scene has up to `max_groups` groups of equal items."""
    while True:
        scene = draw_scene(rng, split, max_groups=max_groups)
        other = draw_near_scene(rng, scene, WEIGHTS)
        captions = other and near_captions(rng, (scene, other), rng.choice((0.5, 0.7, 0.9)))
        if other and captions:
            pair = EditedPair((scene, other), (captions[0].text, captions[1].text))
            return pair if rng.random() < 0.5 else EditedPair(pair.scenes[::-1], pair.captions[::-1])
