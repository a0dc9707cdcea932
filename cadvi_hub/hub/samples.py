"""A sample row of a config for the card: its two pictures side by side in one small file, and its texts."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.core.parquet import count_rows, open_parquet

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 512  # pixels of the picture pair
GAP = 16  # pixels of white between the two
_ANSWERS = ("chosen", "rejected")
_TEXTS = ("question", "answer", "context", "commonalities")


@dataclass(frozen=True)
class Sample:
    """A row: its id, its two pictures as one JPEG, and its texts as `(name, text)`."""

    row_id: str
    picture: bytes
    texts: tuple[tuple[str, str], ...]


def draw_sample(config: str, shards: Sequence[Path], seed: int = 0) -> Sample | None:
    """A row drawn at random. The same files and seed give the same bytes.

    None if the row is not a pair of pictures in the file: in a config of single images or text, or one whose rows only
    name their pictures.

    Raises:
        InputError: the row's pictures cannot be decoded.
    """
    rows = [count_rows(path) for path in shards]
    if not sum(rows):
        return None
    number = random.Random(f"{seed}/{config}").randrange(sum(rows))
    for path, count in zip(shards, rows, strict=True):
        if number < count:
            row = _read_row(path, number)
            images = row.get("images") or []
            if len(images) != 2 or not all(image and image["bytes"] for image in images):
                return None
            place = f"{path}, row {number + 1}"
            pair = [_decode(image, f"{place}, image {side}") for side, image in enumerate(images, 1)]
            return Sample(str(row.get("id", "")), picture_pair(*pair), tuple(_texts(row)))
        number -= count
    raise AssertionError("the number is below the sum of all rows")


def picture_pair(left: Image.Image, right: Image.Image) -> bytes:
    """JPEG of both pictures on white, reduced if needed, at most `LONGEST_SIDE` pixels wide and high."""
    from PIL import Image

    parts = [left.copy(), right.copy()]
    for part in parts:
        part.thumbnail(((LONGEST_SIDE - GAP) // 2, LONGEST_SIDE), Image.Resampling.LANCZOS)
    height = max(part.height for part in parts)
    pair = Image.new("RGB", (sum(part.width for part in parts) + GAP, height), "white")
    pair.paste(parts[0], (0, (height - parts[0].height) // 2))
    pair.paste(parts[1], (parts[0].width + GAP, (height - parts[1].height) // 2))
    buffer = io.BytesIO()
    pair.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _decode(image: dict[str, Any], place: str) -> Image.Image:
    try:
        return open_image(image["bytes"], place)
    except InputError as error:
        raise InputError(error.where, error.problem, "Build the config again") from error


def _read_row(path: Path, number: int) -> dict[str, Any]:
    with open_parquet(path) as file:
        columns = [
            name for name in ("id", "images", *_TEXTS, "differences", *_ANSWERS) if name in file.schema_arrow.names
        ]
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if number < rows:
                batches = file.iter_batches(batch_size=1, row_groups=[group], columns=columns)
                found: dict[str, Any] = next(islice(batches, number, None)).to_pylist()[0]
                return found
            number -= rows
    raise AssertionError("the number is below the file's rows")


def _texts(row: dict[str, Any]) -> list[tuple[str, str]]:
    texts = [(name.capitalize(), row[name]) for name in _TEXTS if row.get(name)]
    for name in _ANSWERS:
        parts = [part["text"] or "" for turn in row.get(name) or [] for part in turn["content"]]
        texts += [(name.capitalize(), " ".join(parts))] if parts else []
    differences = row.get("differences") or []
    return texts + [(f"Difference, {item['aspect'].lower()}", item["text"]) for item in differences]
