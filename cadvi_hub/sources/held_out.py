"""Images that stay out of a data set, because another one is measured or trained on them.

Images are compared by file name without folder and suffix (`images.image_id`), because collections are unpacked into
folders of many names. This can leave out an image too many. A copy under another name is not found: half of Visual
Genome's images are COCO's, and `coco_id` in its `image_data.json` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular
from cadvi_hub.core.images import image_id
from cadvi_hub.core.json_stream import json_lines, json_object, list_rows
from cadvi_hub.core.parquet import image_names

HELD_OUT = "image is held out"

Names = Sequence[str | None]  # of the images of one row

Record = TypeVar("Record")


def read_held_out(places: Iterable[Path]) -> frozenset[str]:
    """The ids of held-out images: of all images that `places` name, see `names_of_rows`.

    Raises:
        InputError: a place cannot be read or names no image.
    """
    held_out: set[str] = set()
    for place in places:
        names = set(chain.from_iterable(names_of_rows(place)))
        if not names:
            raise InputError(str(place), "it names no image", "Give one image name per line, or a built folder")
        if None in names:
            raise InputError(str(place), "an image has no file name", "Give a list of image names instead")
        held_out |= {image_id(name) for name in names if name}
    return frozenset(held_out)


def leave_out(
    records: Iterable[Record], images_of: Callable[[Record], Iterable[str]], held_out: frozenset[str], drops: Drops
) -> Iterator[Record]:
    """The records without a held-out image, in order; the others are counted in `drops`."""
    for record in records:
        taken = next((name for name in images_of(record) if image_id(name) in held_out), None)
        if taken is None:
            yield record
        else:
            drops.add(HELD_OUT, taken)


def names_of_rows(place: Path) -> Iterator[Names]:
    """The image names of each row of another set; an empty list for a row of text.

    Args:
        place: a folder of a built data set; JSON lines (`.jsonl`) or one JSON list (`.json`) of rows whose `image` or
            `images` is a file name or a list of file names (the paper's question files, the LLaVA mix); or a text file
            with one image name per line.

    Raises:
        InputError: the place or a row of it cannot be read.
    """
    if place.is_dir():
        return _names_in_folder(place)
    if not place.is_file():
        raise InputError(str(place), "no such file or folder", "Check the path")
    return _names_in_json(place) if place.suffix in (".json", ".jsonl") else _names_in_text(place)


def _names_in_folder(folder: Path) -> Iterator[Names]:
    from tqdm import tqdm

    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(str(folder), "no parquet file is there", "Give the folder of one config, or a file")
    for file in tqdm(files, desc=f"images of {folder.name}", unit="file", disable=None):
        try:
            yield from image_names(file)
        except LookupError as error:
            hint = "Give the folder of a built data set"
            raise InputError(str(file), "it has no column of images", hint) from error


def _names_in_json(file: Path) -> Iterator[Names]:
    from tqdm import tqdm

    rows = list_rows(file) if file.suffix == ".json" else json_lines(file)
    for position, row in tqdm(rows, desc=f"images of {file.name}", unit="row", disable=None):
        if isinstance(row, bytes):
            try:
                row = json_object(row)
            except ValueError as error:
                raise InputError(f"{file}, {position}", str(error), "Fix the line") from error
        names = row.get("image", row.get("images")) if isinstance(row, dict) else False
        names = [] if names is None else [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            problem = "'image' or 'images' is not a file name or a list of file names"
            raise InputError(f"{file}, {position}", problem, "Fix the row")
        yield names


def _names_in_text(file: Path) -> Iterator[Names]:
    try:
        check_regular(file)
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(str(file), "it is not UTF-8 text", "Give one image name per line, in UTF-8") from error
    yield from ([line.strip()] for line in text.splitlines() if line.strip())
