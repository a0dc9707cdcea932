"""Statements and questions about two scenes."""

from __future__ import annotations

import random
from typing import NamedTuple

from cadvi_hub.world.captions import NUMBERS, SETTINGS, Phrase, describe_item, join, partial_phrase, plural
from cadvi_hub.world.scene import Scene


class PairStatement(NamedTuple):
    """A statement about two images; `kind` is `both`, `total`, `more`, `image_1` or `image_2`."""

    text: str
    is_true: bool
    kind: str


def pair_statement(rng: random.Random, scenes: tuple[Scene, Scene]) -> PairStatement:
    """A random statement about two images."""
    kinds = sorted({item.kind for scene in scenes for item in scene.items})
    kind = rng.choice(kinds)
    counts = [sum(item.kind == kind for item in scene.items) for scene in scenes]
    form = rng.randrange(4)
    if form == 0:
        return PairStatement(f"Both images show {Phrase(kind).text()}.", all(counts), "both")
    if form == 1:
        total = min(max(0, sum(counts) + rng.choice((0, 0, -1, 1))), len(NUMBERS) - 1)
        verb = "is" if total == 1 else "are"
        named = f"{NUMBERS[total]} {kind if total == 1 else plural(kind)}"
        return PairStatement(f"There {verb} {named} in total.", sum(counts) == total, "total")
    if form == 2:
        more = rng.randrange(2)
        text = f"Image {more + 1} shows more {plural(kind)} than image {2 - more}."
        return PairStatement(text, counts[more] > counts[1 - more], "more")
    which = rng.randrange(2)
    phrase = partial_phrase(rng, [rng.choice(scenes[rng.randrange(2)].items)], 0.6)
    return PairStatement(
        f"Image {which + 1} shows {phrase.text()}.", phrase.holds(scenes[which]), f"image_{which + 1}"
    )


def open_turn(rng: random.Random, scenes: tuple[Scene, Scene]) -> tuple[str, str] | None:
    """An open question about both images and its reference answer."""
    shared = sorted({i.kind for i in scenes[0].items} & {i.kind for i in scenes[1].items})
    form = rng.randrange(5)
    if form == 0:
        places = [SETTINGS[scene.backdrop] for scene in scenes]
        same = places[0] == places[1]
        answer = (
            f"Both images are set {places[0]}."
            if same
            else f"Image 1 is set {places[0]}, while image 2 is set {places[1]}."
        )
        return "Where are the two images set?", answer
    if not shared:
        return None
    kind = rng.choice(shared)
    found = [[item for item in scene.items if item.kind == kind] for scene in scenes]
    if form == 1:
        named = join([Phrase(k).text() for k in shared])
        return "Which things do both images show?", f"Both images show {named}."
    if form == 2:
        numbers = [f"{NUMBERS[len(some)]} {kind if len(some) == 1 else plural(kind)}" for some in found]
        return (
            f"How many {plural(kind)} are there in each image?",
            f"Image 1 shows {numbers[0]}, while image 2 shows {numbers[1]}.",
        )
    if len(found[0]) != 1 or len(found[1]) != 1:
        return None
    if form == 3:
        colors = [some[0].color for some in found]
        return (
            f"What color is the {kind} in each image?",
            f"The {kind} is {colors[0]} in image 1 and {colors[1]} in image 2.",
        )
    places = [describe_item(some[0]).text().split(kind, 1)[1].strip() for some in found]
    return (
        f"What do you see of the {kind} in each image?",
        f"The {kind} is {places[0]} in image 1 and {places[1]} in image 2.",
    )
