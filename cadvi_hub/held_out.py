"""Images that stay out of a data set, because another one is measured or trained on them.

Images are compared by file name without folder and suffix (`images.image_id`): collections are unpacked into folders
of many names. That leaves out one too many rather than one too few, but a copy under another name passes: half of
Visual Genome's images are COCO's, and `coco_id` in its `image_data.json` tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cadvi_hub.errors import InputError
from cadvi_hub.images import image_id, names_in_parquet
from cadvi_hub.sources import Drops

HELD_OUT = "image is held out"

Record = TypeVar("Record")


def read_held_out(places: Iterable[Path]) -> frozenset[str]:
    """The ids of held-out images.

    Args:
        places: text files with one image name per line, and folders of built data sets, all of whose images count.

    Raises:
        InputError: a place that cannot be read, or names no image.
    """
    held_out: set[str] = set()
    for place in places:
        names = set(map(image_id, _names_of_rows(place) if place.is_dir() else _lines(place)))
        if not names:
            raise InputError(str(place), "it names no image", "Give one image name per line, or a built folder")
        held_out |= names
    return frozenset(held_out)


def leave_out(
    records: Iterable[Record], images_of: Callable[[Record], Iterable[str]], held_out: frozenset[str], drops: Drops
) -> Iterator[Record]:
    """The records none of whose images is held out, in order; the others are counted in `drops`."""
    for record in records:
        taken = next((name for name in images_of(record) if image_id(name) in held_out), None)
        if taken is None:
            yield record
        else:
            drops.add(HELD_OUT, taken)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(str(file), "it is not UTF-8 text", "Give one image name per line, in UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names_of_rows(folder: Path) -> Iterator[str]:
    """The names of all images of a built data set."""
    for file in sorted(folder.glob("*.parquet")):
        try:
            for name in chain.from_iterable(names_in_parquet(file)):
                if not name:
                    raise InputError(str(file), "an image has no file name", "Give a list of image names instead")
                yield name
        except LookupError as error:
            mend = "Give the folder of a built data set"
            raise InputError(str(file), "it has no column of images", mend) from error
