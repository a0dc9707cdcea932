"""Pictures of scenes: equal pixels for equal scenes, and whatever differs in a scene can be seen."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations, product
from typing import Any, get_args

import numpy as np
import pytest

from cadvi_hub.core.images import encode_png
from cadvi_hub.world import scene as graph
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import Item, Look, Scene, draw_scene, make_scene

MIDDLE = Item(0.5, 0.5, "cat", "red", "big")
VISIBLE = 40  # a difference in a channel, of 255, that an eye sees


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene)).astype(int)


def sketch(*items: Item, backdrop: str = "grass") -> np.ndarray:
    return pixels(make_scene(list(items), backdrop))


def box(item: Item) -> np.ndarray:
    return pixels(make_scene([item], "grey", "boxes"))


def seen(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which pixels clearly differ, rows × columns."""
    differ: np.ndarray = np.abs(first - second).max(axis=2) > VISIBLE
    return differ


@pytest.mark.parametrize("look", get_args(Look))
def test_equal_seeds_give_equal_bytes_and_other_seeds_others(look: Look) -> None:
    first, again, other = (
        [encode_png(render(draw_scene(rng, "train", look))) for _ in range(10)]
        for rng in map(random.Random, (5, 5, 6))
    )
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize(("look", "pixels_a_side"), [("sketch", 144), ("boxes", 100)])
def test_pictures_are_rgb_and_of_one_size(look: Look, pixels_a_side: int) -> None:
    image = render(draw_scene(random.Random(0), "train", look))
    assert (image.mode, image.size) == ("RGB", (pixels_a_side, pixels_a_side))


def test_a_scene_read_back_from_its_dict_has_the_same_pixels() -> None:
    scene = draw_scene(random.Random(3), "train")
    assert render(Scene.from_dict(scene.to_dict())).tobytes() == render(scene).tobytes()


def test_jitter_changes_the_pixels_but_not_the_digest() -> None:
    scenes = [make_scene([replace(MIDDLE, x=x)], "grass") for x in (0.49, 0.5, 0.51)]
    assert len({scene.digest for scene in scenes}) == 1
    assert len({render(scene).tobytes() for scene in scenes}) == 3


@pytest.mark.parametrize("size", graph.SKETCH_SIZES)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("kind", graph.ANIMATE + graph.THINGS),
        ("color", graph.COLORS),
        ("fill", graph.FILLS),
        ("action", graph.ACTIONS),
    ],
)
def test_every_value_of_a_property_looks_different_from_every_other(
    name: str, values: tuple[str, ...], size: str
) -> None:
    changes: list[dict[str, Any]] = [{name: value} for value in values]
    drawn = {change[name]: sketch(replace(MIDDLE, size=size, **change)) for change in changes}
    for first, second in combinations(values, 2):
        assert seen(drawn[first], drawn[second]).sum() >= 15, (first, second)


def test_sizes_look_different_for_every_kind() -> None:
    for kind in graph.ANIMATE + graph.THINGS:
        big, small = (seen(sketch(replace(MIDDLE, kind=kind, size=size)), sketch()).sum() for size in ("big", "small"))
        assert big > 1.8 * small, kind


def test_no_two_looks_share_their_pixels_even_on_snow() -> None:
    kinds = [(kind, action) for kind in graph.ANIMATE for action in graph.ACTIONS]
    kinds += [(kind, "standing") for kind in graph.THINGS]
    looks = [
        (kind, color, size, fill, action)
        for (kind, action), color, size, fill in product(kinds, graph.COLORS, graph.SKETCH_SIZES, graph.FILLS)
    ]
    assert len({sketch(Item(0.5, 0.5, *look), backdrop="snow").tobytes() for look in looks}) == len(looks)


def test_backdrops_look_different_and_every_item_stands_out_from_each() -> None:
    empty = {backdrop: sketch(backdrop=backdrop) for backdrop in graph.BACKDROPS}
    for first, second in combinations(graph.BACKDROPS, 2):
        assert np.abs(empty[first] - empty[second]).max(axis=2).mean() > 15, (first, second)
    for backdrop, color in product(graph.BACKDROPS, graph.COLORS):
        item = sketch(replace(MIDDLE, color=color, size="small"), backdrop=backdrop)
        assert seen(item, empty[backdrop]).sum() > 40, (backdrop, color)


def test_boxes_show_shape_color_and_size() -> None:
    items = [Item(0.5, 0.5, *look) for look in product(graph.SHAPES, graph.BOX_COLORS, graph.BOX_SIZES)]
    drawn = [box(item) for item in items]
    for (first, one), (second, other) in combinations(zip(items, drawn, strict=True), 2):
        assert seen(one, other).sum() >= 15, (first, second)


def test_an_item_paints_only_the_ninth_that_it_stands_in() -> None:
    empty = sketch()
    for (row, column), action in product(graph.CELLS, graph.ACTIONS):
        item = replace(MIDDLE, y=(row + 0.55) / 3, x=(column + 0.45) / 3, action=action)
        rows, columns = np.nonzero((sketch(item) != empty).any(axis=2))
        assert {*(rows // 48)} == {row}
        assert {*(columns // 48)} == {column}


def test_a_big_item_stays_whole_wherever_jitter_puts_it() -> None:
    empty = sketch()

    def painted(item: Item) -> int:
        return int((sketch(item) != empty).any(axis=2).sum())

    actors = [(kind, action) for kind in graph.ANIMATE for action in graph.ACTIONS]
    for kind, action in actors + [(kind, "standing") for kind in graph.THINGS]:
        item = replace(MIDDLE, kind=kind, action=action)
        whole = painted(item)
        for dy, dx in product((-0.05 / 3, 0.05 / 3), repeat=2):
            assert painted(replace(item, y=item.y + dy, x=item.x + dx)) > 0.85 * whole, (kind, action)


def test_box_items_stay_inside_the_picture() -> None:
    rng = random.Random(0)
    for _ in range(100):
        scene = draw_scene(rng, "train", "boxes")
        for item in scene.items:
            radius = {"small": 5, "medium": 10, "big": 15}[item.size]
            rows, columns = np.nonzero(seen(box(item), pixels(Scene((), "grey", "boxes"))))
            for found, center in ((rows, item.y * 100), (columns, item.x * 100)):
                assert abs(found.min() - (center - radius)) <= 2  # nothing is cut off
                assert abs(found.max() - (center + radius)) <= 2
