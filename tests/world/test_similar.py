"""Similar pairs: a scene, its edit, and notes that tell what changed."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest

from cadvi_hub.world.captions import SETTINGS
from cadvi_hub.world.instruct import NEAR_EDITS
from cadvi_hub.world.scene import Scene, Split, draw_scene, edit_scene
from cadvi_hub.world.similar import SimilarPair, difference_notes, draw_similar_pair


def drawn(number: int, split: Split = "train", seed: int = 0) -> list[SimilarPair]:
    rng = random.Random(seed)
    return [draw_similar_pair(rng, split) for _ in range(number)]


def changes(first: Scene, second: Scene) -> int:
    """Changes to be noted: the backdrop, each item that looks otherwise where it is, comes, goes, or moves."""
    cells = [{item.cell: item.look for item in scene.items} for scene in (first, second)]
    gone = [look for cell, look in cells[0].items() if cell not in cells[1]]
    new = [look for cell, look in cells[1].items() if cell not in cells[0]]
    moved = sum(min(gone.count(look), new.count(look)) for look in set(gone))
    changed = sum(cells[0][cell] != cells[1][cell] for cell in cells[0].keys() & cells[1].keys())
    return (first.backdrop != second.backdrop) + changed + len(gone) + len(new) - moved


def test_equal_seeds_give_equal_pairs_and_other_seeds_others() -> None:
    assert drawn(30) == drawn(30)
    assert not set(drawn(30)) & set(drawn(30, seed=1))


@pytest.mark.parametrize("split", get_args(Split))
def test_both_scenes_are_of_the_split_and_differ(split: Split) -> None:
    for pair in drawn(100, split):
        assert [scene.split for scene in pair.scenes] == [split, split]
        assert pair.scenes[0].digest != pair.scenes[1].digest


def test_notes_tell_every_change_or_all_but_one() -> None:
    missed = []
    for pair in drawn(500):
        number = changes(*pair.scenes)
        assert pair.notes
        assert number - len(pair.notes) in (0, 1)
        missed.append(number - len(pair.notes))
    assert 0 < sum(missed) < 0.2 * len(missed)


@pytest.mark.parametrize("edit", NEAR_EDITS)
def test_the_note_on_one_edit_tells_the_new_value(edit: Any) -> None:
    rng = random.Random(edit)
    noted = 0
    for _ in range(80):
        first = draw_scene(rng, "train")
        second = edit_scene(rng, first, edit)
        if second is None:
            continue
        notes = difference_notes(rng, first, second)
        assert len(notes) == changes(first, second) == (2 if edit == "swap" else 1)
        new = [item for item in second.items if item not in first.items]
        noted += 1
        if edit == "backdrop":
            assert all(SETTINGS[scene.backdrop] in notes[0] for scene in (first, second))
        elif edit == "count":
            assert ("only in the second image" in notes[0]) == bool(new)
            assert ("is gone in the second image" in notes[0]) == (not new)
        elif edit == "place":
            assert notes[0].endswith(f"to {new[0].place}.")
        elif edit == "swap":
            assert all(
                any(f" is {item.color} instead of " in note and item.kind in note for note in notes) for item in new
            )
        else:
            assert f" {getattr(new[0], edit)}" in notes[0]
    assert noted > 15
