"""NLVR's drawn boxes as captioned images: real pictures with ground truth, through the same path as our own scenes.

Format (github.com/lil-lab/nlvr, CC-BY-4.0): JSON lines with `identifier` and `structured_rep`, three lists of items
`{x_loc, y_loc, type, color, size}` in pixels of a 100 × 100 box, `x_loc` and `y_loc` of the top left corner; the
picture shows the boxes at x = 0, 150 and 300.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json
from cadvi_hub.core.images import image_file, read_image
from cadvi_hub.core.json_stream import json_lines, json_object
from cadvi_hub.core.output import replacing_output
from cadvi_hub.world.captions import make_caption
from cadvi_hub.world.make import SceneFolder
from cadvi_hub.world.render import BOX_PIXELS
from cadvi_hub.world.scene import Item, Scene, make_scene
from cadvi_hub.world.settings import NlvrSettings

BOX_STEP = 150  # pixels from one box to the next
COLORS = {"yellow": "yellow", "black": "black", "#0099ff": "blue"}
SIZES = {10: "small", 20: "medium", 30: "big"}


def box_scene(items: list[Json]) -> Scene:
    """The scene graph of one box of `structured_rep`.

    Raises:
        KeyError, TypeError: an item without the five keys, or with a colour or size that NLVR does not have.
    """
    return make_scene(
        [
            Item(
                y=(item["y_loc"] + item["size"] / 2) / BOX_PIXELS,
                x=(item["x_loc"] + item["size"] / 2) / BOX_PIXELS,
                kind=item["type"],
                color=COLORS[item["color"].lower()],
                size=SIZES[item["size"]],
            )
            for item in items
        ],
        "grey",
        "boxes",
    )


def read_boxes(path: Path, annotations: str) -> Iterator[tuple[str, Image.Image, Scene]]:
    """Yield (id, picture of 100 × 100 pixels, scene graph) of every box that is not empty, each picture once.

    Raises:
        InputError: a line or picture cannot be read; the error names file and line.
    """
    file = path / annotations
    seen: set[str] = set()
    for position, line in json_lines(file):
        try:
            row = json_object(line)
            name = row["image"]
            scenes = [box_scene(items) for items in row["structured_rep"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}, {position}", f"not an NLVR row ({error!r})", "Fix the line") from error
        if name in seen:  # several sentences describe one picture
            continue
        seen.add(name)
        picture = read_image(image_file(path, name))
        for index, scene in enumerate(scenes):
            if scene.items:
                left = index * BOX_STEP
                box = picture.crop((left, 0, left + BOX_PIXELS, BOX_PIXELS))
                yield f"{Path(name).stem}-box{index}", box, scene


def captioned_boxes(settings: NlvrSettings) -> int:
    """Write the boxes as a captioned folder, which `cadvi build v1` reads; returns their number."""
    if settings.out.exists():
        raise InputError(str(settings.out), "the folder exists already", "Name another folder or remove it")
    rng = random.Random(settings.seed)
    rows = []
    with replacing_output(settings.out, "cadvi nlvr") as unfinished:
        folder = SceneFolder(unfinished)
        for box_id, picture, scene in read_boxes(settings.path, settings.annotations):
            name = folder.add(f"images/{box_id}.png", scene, picture)
            caption = make_caption(rng, scene, settings.tell).text
            ids = {"dataset_id": "nlvr", "image_id": box_id, "annotator_id": 0}
            rows.append({**ids, "caption": caption, "image": name})
        folder.close()
        folder.write_lines("captions.jsonl", rows)
    return len(rows)
