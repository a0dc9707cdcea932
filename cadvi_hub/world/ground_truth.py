"""The scene graph of a drawn picture, in the form that summaries are checked against."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.json_stream import json_lines, json_object
from cadvi_hub.core.scene_graph import GraphObject, SceneGraph
from cadvi_hub.world.captions import SETTINGS, relations
from cadvi_hub.world.scene import Scene

FILE = "scenes.jsonl"


def graph_of(scene: Scene) -> SceneGraph:
    """The complete graph of `scene`: its items, its backdrop as another object, and all relations."""
    objects = [
        GraphObject((item.kind,), (item.color, item.size, item.fill, item.action), item.place) for item in scene.items
    ]
    *attributes, backdrop = SETTINGS[scene.backdrop].split()[2:]  # "on a grey ground"
    objects.append(GraphObject((backdrop,), tuple(attributes)))
    stand = [
        (k, relation, j)
        for k, first in enumerate(scene.items)
        for j, second in enumerate(scene.items)
        if k != j
        for relation in relations(first, second)
    ]
    return SceneGraph(tuple(objects), tuple(stand), complete=True)


def read_scenes(folder: Path, wanted: Collection[str]) -> dict[str, SceneGraph]:
    """The graphs of the `wanted` pictures, by file name, from a world's `scenes.jsonl`.

    Raises:
        InputError: as `read_drawn`.
    """
    return {name: graph_of(scene) for name, scene in read_drawn(folder, wanted).items()}


def read_drawn(folder: Path, wanted: Collection[str]) -> dict[str, Scene]:
    """The scenes of the `wanted` pictures, by file name, from a world's `scenes.jsonl`.

    Raises:
        InputError: no such file, a line without a scene, or two pictures of the same name.
    """
    scenes: dict[str, Scene] = {}
    file = folder / FILE
    for place, line in json_lines(file):
        try:
            row = json_object(line)
            name = PurePosixPath(row["image"]).name
            scene = Scene.from_dict(row["scene"]) if name in wanted else None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}, {place}", f"not a drawn scene ({error!r})", "Draw the world again") from error
        if scene is not None:
            if name in scenes:
                raise InputError(f"{file}, {place}", f"a second picture named {name}", "Name the folder of one part")
            scenes[name] = scene
    return scenes
