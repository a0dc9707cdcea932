"""The drawn world as files, in the formats of the upstream sources that it replaces.

    captioned/   captions.jsonl + images/   Localized Narratives' light files           → V1
    edited/      pairs/train.jsonl + images/  VisMin's edited pairs                     → V1's hard pairs
    similar/     pairs.jsonl + images/      MIMIC-IT's difference pairs (mimic_cgd)      → V2
    instruct/    instruct.jsonl + images/   the LLaVA mix                                → single-image data
    questions/   <task>.jsonl + images/     the benchmarks' question files               → evaluation

Each folder also has `scenes.jsonl`: the scene graph behind every image.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core import files
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.output import open_output
from cadvi_hub.world.captions import make_caption
from cadvi_hub.world.edited import draw_edited_pair
from cadvi_hub.world.instruct import image_conversation
from cadvi_hub.world.questions import MAKERS
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import Look, Scene, draw_scene
from cadvi_hub.world.settings import WorldSettings
from cadvi_hub.world.similar import QUESTIONS, draw_similar_pair

if TYPE_CHECKING:
    from PIL import Image


class SceneFolder:
    """A folder of drawn images and their scene graphs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._graphs: list[dict[str, Any]] = []

    def add(self, name: str, scene: Scene, picture: Image.Image | None = None) -> str:
        """Write `picture`, or a drawing of `scene`, to `name` (below the folder) and return the name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(picture or render(scene)))
        self._graphs.append({"image": name, "scene": scene.to_dict()})
        return name

    def write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write `rows` to `name` as JSON lines."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json_lines(path, rows)

    def close(self) -> None:
        """Write the scene graphs."""
        self.write_lines("scenes.jsonl", self._graphs)


def _rng(settings: WorldSettings, part: str) -> random.Random:
    return random.Random(f"{settings.seed} {part}")


def _train_scenes(
    folder: SceneFolder, settings: WorldSettings, part: str, number: int
) -> Iterator[tuple[random.Random, str, Scene, str]]:
    """Draw `number` training images; yields the part's random generator, the image's id, its scene and its name."""
    rng = _rng(settings, part)
    for index in range(number):
        look: Look = "boxes" if rng.random() < settings.boxes_share else "sketch"
        scene = draw_scene(rng, "train", look, settings.max_groups)
        yield rng, f"{index:06d}", scene, folder.add(f"images/{part}_{index:06d}.png", scene)


def _captioned(folder: SceneFolder, settings: WorldSettings) -> None:
    rows = []
    for rng, image_id, scene, image in _train_scenes(folder, settings, "captioned", settings.captioned):
        caption = make_caption(rng, scene, settings.tell).text
        ids = {"dataset_id": "scenes", "image_id": image_id, "annotator_id": 0}
        rows.append({**ids, "caption": caption, "image": image})
    folder.write_lines("captions.jsonl", rows)


def _edited(folder: SceneFolder, settings: WorldSettings) -> None:
    rng = _rng(settings, "edited")
    rows = []
    for index in range(settings.edited):
        pair = draw_edited_pair(rng, "train", settings.max_groups)
        row = {"id": f"{index:06d}"}
        for side, (scene, caption) in enumerate(zip(pair.scenes, pair.captions, strict=True)):
            row[f"image_{side}"] = folder.add(f"images/edited_{index:06d}_{side}.png", scene)
            row[f"text_{side}"] = caption
        rows.append(row)
    folder.write_lines("pairs/train.jsonl", rows)


def _similar(folder: SceneFolder, settings: WorldSettings) -> None:
    rng = _rng(settings, "similar")
    rows = []
    for index in range(settings.similar):
        pair = draw_similar_pair(rng, "train", settings.max_groups)
        images = [folder.add(f"images/similar_{index:06d}_{k}.png", scene) for k, scene in enumerate(pair.scenes)]
        texts = [
            {"user": QUESTIONS[min(k, 1)], "assistant": note, "source": "scenes"} for k, note in enumerate(pair.notes)
        ]
        rows.append({"id": f"{index:06d}", "images": images, "texts": texts})
    folder.write_lines("pairs.jsonl", rows)


def _instruct(folder: SceneFolder, settings: WorldSettings) -> None:
    rows = []
    for rng, row_id, scene, image in _train_scenes(folder, settings, "instruct", settings.instruct):
        conversations = []
        for turn, (question, answer) in enumerate(image_conversation(rng, scene)):
            conversations.append({"from": "human", "value": ("" if turn else "<image>\n") + question})
            conversations.append({"from": "gpt", "value": answer})
        rows.append({"id": row_id, "image": image, "conversations": conversations})
    folder.write_lines("instruct.jsonl", rows)


def _questions(folder: SceneFolder, settings: WorldSettings) -> None:
    for task, make in MAKERS.items():
        rows: list[dict[str, Any]] = []
        drawn: dict[Scene, str] = {}  # both questions of a pair show the same two files
        for question in make(_rng(settings, task), settings.questions, settings.max_groups):
            for scene in question.scenes:
                if scene not in drawn:
                    below = f"{question.folder}/" if question.folder else ""
                    drawn[scene] = folder.add(f"{below}{task}_{len(drawn):05d}.png", scene)
            row = {
                "image": [drawn[scene] for scene in question.scenes],
                "text": question.text,
                "answer": question.answer,
                "question_id": question.question_id,
            }
            rows.append(row | ({"category": question.category} if question.category else {}))
        folder.write_lines(f"{task}.jsonl", rows)


PARTS = {
    "captioned": _captioned,
    "edited": _edited,
    "similar": _similar,
    "instruct": _instruct,
    "questions": _questions,
}


MARKER = "world.json"


def make_world(settings: WorldSettings) -> Path:
    """Draw the world in `settings.out`; parts that exist with the same settings are kept.

    Raises:
        InputError: the folder holds a world of other settings or files of others, cannot be written, or is written by
            another process; or a setting is out of range.
    """
    from tqdm import tqdm

    out = settings.out
    if settings.max_groups < 2:  # COLA's questions need two things that swap colours
        raise InputError("world.max_groups", f"{settings.max_groups} is below 2", "Give 2 or 3")
    chosen = {name: value for name, value in asdict(settings).items() if name != "out"}
    marker, names = out / MARKER, [MARKER, *PARTS]
    with open_output(out, "cadvi scenes", lambda _: names if marker.is_file() else []) as output:
        if marker.is_file() and MARKER in output.made:
            if (found := files.read_json(marker, "Name another folder")) != chosen:
                problem = f"the folder holds a world of other settings: {found}"
                raise InputError(str(out), problem, "Name another folder")
        else:  # written before the first part, so that two worlds never mix
            output.claim(names)
            files.write_text(marker, json.dumps(chosen, indent=1) + "\n")
        missing = [name for name in PARTS if not (out / name).exists()]
        for name in tqdm(missing, desc="draw the world", unit="part", disable=None):
            with files.replacing_folder(out / name) as unfinished:
                folder = SceneFolder(unfinished)
                PARTS[name](folder, settings)
                folder.close()
    return out
