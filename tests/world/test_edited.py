"""Edited pairs: one edit apart, and each caption true of its own picture alone."""

import random
from collections import Counter

from cadvi_hub.world.edited import draw_edited_pair


def test_the_scenes_are_of_the_split_and_differ() -> None:
    rng = random.Random(0)
    for split in ("train", "eval"):
        for _ in range(30):
            pair = draw_edited_pair(rng, split, max_groups=2)
            assert {scene.split for scene in pair.scenes} == {split}
            assert pair.scenes[0].digest != pair.scenes[1].digest
            assert pair.captions[0] != pair.captions[1]


def test_the_edit_is_as_often_in_the_first_picture_as_in_the_second() -> None:
    rng = random.Random(1)
    more = Counter[int]()
    for _ in range(1000):
        first, second = draw_edited_pair(rng, "train").scenes
        if len(first.items) != len(second.items):
            more[len(first.items) > len(second.items)] += 1
    assert 0.4 < more[True] / more.total() < 0.6


def test_numbers_and_places_are_among_the_edits() -> None:
    rng = random.Random(2)
    kinds = Counter[str]()
    for _ in range(400):
        first, second = draw_edited_pair(rng, "train").scenes
        looks = [sorted(item.look for item in scene.items) for scene in (first, second)]
        kinds["place" if looks[0] == looks[1] and first.backdrop == second.backdrop else "other"] += 1
        kinds["number"] += len(first.items) != len(second.items)
    assert kinds["place"] > 25
    assert kinds["number"] > 25
