"""Questions about one of two labelled scenes, of which one at most is a picture: the other is told in words.

A language model that has read much looks up what "image 2" is before it answers. One that has not answers about
whichever of the two fits the question.
"""

from __future__ import annotations

import random

from cadvi_hub.world.captions import describe, groups, partial_phrase
from cadvi_hub.world.instruct import (
    Turn,
    claim_turn,
    count_turn,
    describe_turn,
    kind_turn,
    phrase_turn,
    property_turn,
    setting_turn,
)
from cadvi_hub.world.near_turns import HARD_CLAIMS, bound_claim_turn, draw_near_scene, near_caption_turn
from cadvi_hub.world.scene import Scene, draw_scene

Pair = tuple[Scene, Scene]


def labelled_conversation(rng: random.Random) -> tuple[Scene | None, list[Turn]]:
    """The scene that is shown (None: both are told), and questions that each name the scene that is meant."""
    turns: list[Turn] = []
    while not turns:
        first = _draw(rng)
        second = (draw_near_scene(rng, first) if rng.random() < 0.5 else None) or _draw(rng)
        scenes = (first, second) if rng.random() < 0.5 else (second, first)
        for _ in range(rng.randint(2, 5)):
            which = rng.randrange(2)
            if (turn := _question(rng, scenes, which)) is not None:
                turns.append((f"About image {which + 1}: {turn[0]}", turn[1]))
    shown = rng.choice((0, 0, 0, 1, 1, 1, None))
    texts = ["<image>" if k == shown else describe(scene).text for k, scene in enumerate(scenes)]
    turns[0] = f"Image 1: {texts[0]}\nImage 2: {texts[1]}\n{turns[0][0]}", turns[0][1]
    return None if shown is None else scenes[shown], turns


def _draw(rng: random.Random) -> Scene:
    return draw_scene(rng, "train", "sketch", rng.choice((1, 2, 2)))


def told_apart_turn(rng: random.Random, scenes: Pair, which: int) -> Turn | None:
    """Whether a claim is true of the scene `which`; it is true of one of the two alone. None if none was found."""
    true = rng.random() < 0.5
    own, other = scenes if (which == 0) == true else scenes[::-1]
    for _ in range(10):
        phrase = partial_phrase(rng, rng.choice(groups(own)), rng.choice((0.25, 0.5, 0.8)))
        if phrase.holds(own) and not phrase.holds(other):
            turn = phrase_turn(rng, scenes[which], phrase, true)
            if turn is not None:
                return turn
    return None


def _question(rng: random.Random, scenes: Pair, which: int) -> Turn | None:
    kind, scene = rng.random(), scenes[which]
    if kind < 0.4:
        return told_apart_turn(rng, scenes, which)
    if kind < 0.5:
        return bound_claim_turn(rng, scene)
    if kind < 0.6:
        return claim_turn(rng, scene, HARD_CLAIMS)
    if kind < 0.7:
        return near_caption_turn(rng, scene)
    if kind < 0.75:
        return describe_turn(rng, scene)
    return rng.choice((kind_turn, property_turn, property_turn, count_turn, setting_turn))(rng, scene)
