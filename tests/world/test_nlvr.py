"""NLVR's boxes as captioned images: real pictures, graphs that match them, captions that are true of them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.world.nlvr import box_scene, captioned_boxes, read_boxes
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import BOX_COLORS, BOX_SIZES, SHAPES, Item, Scene
from cadvi_hub.world.settings import NlvrSettings
from tests.support.scene_reader import true_of

REAL = Path(__file__).parents[3] / "shared/data/nlvr"
needs_nlvr = pytest.mark.skipif(not REAL.is_dir(), reason="the NLVR sample is not beside this checkout")
TRIANGLE = {"x_loc": 80, "y_loc": 10, "size": 20, "type": "triangle", "color": "#0099ff"}


def written(folder: Path, *lines: str) -> Path:
    (folder / "images").mkdir()
    Image.new("RGB", (400, 100), "grey").save(folder / "images/a.png")
    (folder / "dev.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def row(image: str = "images/a.png", *boxes: list[dict[str, Any]]) -> str:
    return json.dumps({"identifier": "1-0", "image": image, "structured_rep": boxes or [[TRIANGLE], [], [TRIANGLE]]})


def test_items_become_the_graph_that_their_corner_and_size_tell() -> None:
    scene = box_scene(
        [TRIANGLE, {**TRIANGLE, "x_loc": 0, "y_loc": 70, "size": 30, "color": "Yellow", "type": "circle"}]
    )
    assert scene == Scene(
        (Item(0.2, 0.9, "triangle", "blue", "medium"), Item(0.85, 0.15, "circle", "yellow", "big")), "grey", "boxes"
    )


def test_every_box_that_is_not_empty_is_read_once_though_two_sentences_speak_of_it(tmp_path: Path) -> None:
    found = list(read_boxes(written(tmp_path, row(), row()), "dev.jsonl"))
    assert [box_id for box_id, _, _ in found] == ["a-box0", "a-box2"]
    assert {picture.size for _, picture, _ in found} == {(100, 100)}


@pytest.mark.parametrize(
    "torn",
    [
        '{"identifier": "1-0", "image": "ima',
        '{"identifier": "1-0", "structured_rep": []}',
        "[1, 2]",
        row("images/a.png", [{**TRIANGLE, "color": "pink"}]),
        row("images/a.png", [{**TRIANGLE, "size": 12}]),
        row("images/a.png", [{"type": "circle"}]),
    ],
)
def test_a_torn_line_is_an_error_that_names_file_and_line(tmp_path: Path, torn: str) -> None:
    with pytest.raises(InputError) as error:
        list(read_boxes(written(tmp_path, row(), torn), "dev.jsonl"))
    assert error.value.where == f"{tmp_path / 'dev.jsonl'}, line 2"


@pytest.mark.parametrize("name", ["../a.png", "/etc/hostname", "images/none.png"])
def test_a_picture_that_is_missing_or_outside_the_folder_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        list(read_boxes(written(tmp_path, row(name)), "dev.jsonl"))
    assert name in str(error.value)


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        captioned_boxes(NlvrSettings(written(tmp_path, row()), tmp_path / "out"))
    assert not list((tmp_path / "out").iterdir())


@needs_nlvr
def test_real_boxes_look_as_our_drawing_of_their_graphs() -> None:
    differing = []
    found = list(islice(read_boxes(REAL, "dev.jsonl"), 300))
    for _, picture, scene in found:
        apart = np.abs(np.asarray(picture).astype(int) - np.asarray(render(scene)).astype(int)).max(axis=2) > 64
        differing.append(apart.mean())
    assert np.mean(differing) < 0.03
    items = [item for _, _, scene in found for item in scene.items]
    assert {item.kind for item in items} == set(SHAPES)
    assert {item.color for item in items} == set(BOX_COLORS)
    assert {item.size for item in items} == set(BOX_SIZES)


@needs_nlvr
def test_real_boxes_become_a_captioned_folder_with_true_captions_and_equal_bytes_for_equal_seeds(
    tmp_path: Path,
) -> None:
    lines = (REAL / "dev.jsonl").read_text("utf-8").splitlines()[:60]
    source = tmp_path / "nlvr"
    source.mkdir()
    (source / "dev.jsonl").write_text("\n".join(lines), "utf-8")
    (source / "images").mkdir()
    for name in {json.loads(line)["image"] for line in lines}:
        (source / name).write_bytes((REAL / name).read_bytes())

    number = captioned_boxes(NlvrSettings(source, tmp_path / "out"))
    captioned_boxes(NlvrSettings(source, tmp_path / "again"))
    files = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert all((tmp_path / "out" / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)

    captions, graphs = (
        [json.loads(line) for line in (tmp_path / "out" / name).read_text("utf-8").splitlines()]
        for name in ("captions.jsonl", "scenes.jsonl")
    )
    assert len(captions) == len(graphs) == number > 100
    scenes = {graph["image"]: Scene.from_dict(graph["scene"]) for graph in graphs}
    for caption in captions:
        assert true_of(caption["caption"], scenes[caption["image"]]), caption
        assert (tmp_path / "out" / caption["image"]).is_file()
    assert len({caption["image_id"] for caption in captions}) == number
