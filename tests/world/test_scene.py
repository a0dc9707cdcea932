"""Scenes: equal for equal seeds, rich in every aspect, kept apart by split, changed by an edit in one thing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadvi_hub.world import scene as graph
from cadvi_hub.world.scene import Edit, Item, Look, Scene, Split, draw_scene, edit_scene, make_scene

LOOKS = get_args(Look)
PROPERTIES = ("kind", "color", "size", "fill", "action")
seeds = st.integers(0, 2**32)


def scenes(number: int, look: Look = "sketch", seed: int = 0) -> list[Scene]:
    rng = random.Random(seed)
    return [draw_scene(rng, "train", look) for _ in range(number)]


def looks(scene: Scene) -> Counter[tuple[Any, ...]]:
    return Counter((item.cell, *(getattr(item, name) for name in PROPERTIES)) for item in scene.items)


@pytest.mark.parametrize("look", LOOKS)
def test_equal_seeds_draw_equal_scenes_and_other_seeds_others(look: Look) -> None:
    assert scenes(50, look, seed=1) == scenes(50, look, seed=1)
    assert not set(scenes(50, look, seed=1)) & set(scenes(50, look, seed=2))


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from(get_args(Split)), st.sampled_from(LOOKS))
def test_a_scene_is_of_the_split_asked_for_and_comes_back_from_its_dict(seed: int, split: Split, look: Look) -> None:
    scene = draw_scene(random.Random(seed), split, look)
    copy = Scene.from_dict(scene.to_dict())
    assert copy == scene
    assert (copy.digest, copy.split, copy.look) == (scene.digest, split, look)


@settings(max_examples=50, deadline=None)
@given(seeds, st.randoms(use_true_random=False))
def test_the_digest_tells_apart_what_a_scene_shows_but_not_jitter_or_order(seed: int, rng: random.Random) -> None:
    scene = draw_scene(random.Random(seed), "train")
    moved = [replace(i, x=(i.cell[1] + 0.45) / 3, y=(i.cell[0] + 0.55) / 3) for i in scene.items]
    assert make_scene(rng.sample(moved, len(moved)), scene.backdrop).digest == scene.digest
    other = draw_scene(rng, "train")
    shows_the_same = (looks(other), other.backdrop) == (looks(scene), scene.backdrop)
    assert (other.digest == scene.digest) == shows_the_same


def test_one_scene_in_eight_is_for_evaluation() -> None:
    rng = random.Random(0)
    drawn = {scene.digest: scene.split for _ in range(800) for scene in [make_scene([_item(rng)], "grass")]}
    share = sum(split == "eval" for split in drawn.values()) / len(drawn)
    assert 0.08 < share < 0.17


def _item(rng: random.Random) -> Item:
    return Item(rng.random(), rng.random(), rng.choice(graph.THINGS), rng.choice(graph.COLORS), "big", "striped")


def test_scenes_hold_every_kind_property_place_backdrop_and_number() -> None:
    drawn = scenes(1500)
    items = [item for scene in drawn for item in scene.items]
    seen = {name: {getattr(item, name) for item in items} for name in (*PROPERTIES, "place")}
    assert len(seen["kind"]) >= 12
    assert seen["kind"] == {*graph.ANIMATE, *graph.THINGS}
    assert seen["color"] == set(graph.COLORS)
    assert seen["size"] == {"small", "big"}
    assert seen["fill"] == {"plain", "striped", "spotted"}
    assert seen["action"] == set(graph.ACTIONS)
    assert len(seen["place"]) == 9
    assert {scene.backdrop for scene in drawn} == set(graph.BACKDROPS)
    assert {max(Counter(i.look for i in scene.items).values()) for scene in drawn} >= {1, 2, 3}
    assert {len(scene.items) for scene in drawn} == {1, 2, 3, 4, 5}
    assert all(item.action == "standing" for item in items if item.kind in graph.THINGS)


def test_a_sketch_has_one_item_a_cell_and_items_lie_in_reading_order() -> None:
    for scene in scenes(300):
        cells = [item.cell for item in scene.items]
        assert cells == sorted(set(cells))


def test_items_in_a_box_neither_overlap_nor_leave_it() -> None:
    radius = {"small": 0.05, "medium": 0.1, "big": 0.15}
    for scene in scenes(300, "boxes"):
        for index, item in enumerate(scene.items):
            assert all(radius[item.size] <= part <= 1 - radius[item.size] for part in (item.x, item.y))
            for other in scene.items[:index]:
                apart = max(abs(item.x - other.x), abs(item.y - other.y))
                assert apart > radius[item.size] + radius[other.size]


def test_places_name_the_nine_thirds_of_the_picture() -> None:
    names = [Item((row + 0.5) / 3, (column + 0.5) / 3, "cat", "red", "big").place for row, column in graph.CELLS]
    assert names == [
        *("top left", "top", "top right"),
        *("left", "center", "right"),
        *("bottom left", "bottom", "bottom right"),
    ]
    assert Item(1.0, 1.0, "cat", "red", "big").place == "bottom right"


def _edited(edit: Edit, look: Look, split: Split = "train") -> list[tuple[Scene, Scene]]:
    rng = random.Random(f"{edit} {look}")
    drawn = [draw_scene(rng, split, look) for _ in range(60)]
    return [(scene, other) for scene in drawn if (other := edit_scene(rng, scene, edit)) is not None]


def _exchanged(scene: Scene, other: Scene) -> tuple[list[Item], list[Item]]:
    """The items that are gone and those that are new, sorted by position."""
    before, after = Counter(scene.items), Counter(other.items)
    return sorted((before - after).elements()), sorted((after - before).elements())


@pytest.mark.parametrize("split", get_args(Split))
@pytest.mark.parametrize("edit", get_args(Edit))
def test_an_edited_scene_differs_and_stays_in_its_split(edit: Edit, split: Split) -> None:
    pairs = _edited(edit, "sketch", split)
    assert len(pairs) > 10
    for scene, other in pairs:
        assert (scene.split, other.split, other.look) == (split, split, scene.look)
        assert scene.digest != other.digest
        assert (scene.backdrop != other.backdrop) == (edit == "backdrop")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("edit", PROPERTIES)
def test_an_edit_of_a_property_changes_it_in_one_item_and_nothing_else(edit: Edit, look: Look) -> None:
    pairs = _edited(edit, look)
    assert bool(pairs) == (look == "sketch" or edit not in ("fill", "action"))  # a box knows neither
    for (old,), (new,) in (_exchanged(*pair) for pair in pairs):
        assert getattr(old, edit) != getattr(new, edit)
        assert replace(old, **{edit: getattr(new, edit)}) == new
        assert new.action == "standing" or new.kind in graph.ANIMATE


def test_an_edit_of_place_moves_one_item_to_a_free_cell() -> None:
    for scene, other in _edited("place", "sketch"):
        (old,), (new,) = _exchanged(scene, other)
        assert old.look == new.look
        assert new.cell not in {item.cell for item in scene.items}


def test_an_edit_of_count_adds_or_removes_one_of_several_like_items() -> None:
    steps: Counter[int] = Counter()
    for scene, other in _edited("count", "sketch"):
        gone, new = _exchanged(scene, other)
        (item,) = [*gone, *new]
        numbers = [sum(i.look == item.look for i in s.items) for s in (scene, other)]
        assert abs(numbers[0] - numbers[1]) == 1
        assert min(numbers) >= 1
        steps[numbers[1] - numbers[0]] += 1
    assert set(steps) == {1, -1}


def test_an_edit_of_backdrop_leaves_the_items_alone() -> None:
    assert all(_exchanged(*pair) == ([], []) for pair in _edited("backdrop", "sketch"))
    assert not _edited("backdrop", "boxes")


@pytest.mark.parametrize("look", LOOKS)
def test_a_swap_trades_the_colors_of_two_items_of_different_kinds(look: Look) -> None:
    pairs = _edited("swap", look)
    assert pairs
    for (first, second), new in (_exchanged(*pair) for pair in pairs):
        assert first.kind != second.kind
        assert first.color != second.color
        assert new == sorted([replace(first, color=second.color), replace(second, color=first.color)])
