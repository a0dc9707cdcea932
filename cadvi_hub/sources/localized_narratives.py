"""Localized Narratives: captions of Open Images, COCO, Flickr30k and ADE20K, in full or light files.

`source.path` is a folder with any of the upstream files (`open_images_train_v6_captions.jsonl`,
`coco_train_localized_narratives-00000-of-00004.jsonl` …), also as `.gz` or `.zst`: one JSON object per line with
`dataset_id`, `image_id`, `annotator_id` and `caption`; the full files' `timed_caption`, `traces` and `voice_recording`
are not read. Each collection derives the names of its pictures from the ids in its own way; `source.images` lists
their folders.
Format: https://google.github.io/localized-narratives/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.caption_files import with_compressed
from cadvi_hub.sources.rows import EmptyRowError, Row, caption, found, identifier, read_rows, text, unreadable
from cadvi_hub.sources.settings import SourceSettings

FILES = "*.jsonl"
SEEN = "narrative that is in another file or line, too"
# `dataset_id` has many spellings ("mscoco_train2017", "Flicker30k", "open_images_train" …); the first match counts.
COLLECTIONS = {
    "open_images": re.compile(r"open_?images", re.IGNORECASE),
    "coco": re.compile(r"coco", re.IGNORECASE),
    "flickr30k": re.compile(r"flick(?:e?r)?_?30k", re.IGNORECASE),
    "ade20k": re.compile(r"ade_?20k", re.IGNORECASE),
}


def image_of(collection: str, image_id: str) -> str:
    """The file name of a picture: COCO pads its ids to twelve digits, the other collections use theirs unchanged.

    Raises:
        ValueError: a COCO id that is not a number.
    """
    if collection != "coco":
        return f"{image_id}.jpg"
    if not (image_id.isascii() and image_id.isdigit()):  # `int` would also take "1_3" and "+13"
        raise ValueError(image_id)
    return f"{image_id.lstrip('0'):0>12}.jpg"


def read_localized_narratives(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[CaptionedImage]:
    """Yield one record per narrative, files in the order of their names; empty captions are dropped.

    A narrative that was read before is dropped, too: a folder can hold a collection's full and light files. `source`
    includes the collection (`localized_narratives/coco`), because each has its own licence.

    Raises:
        InputError: no caption file, or a bad row if `settings.bad_rows` is `refuse`.
    """
    from tqdm import tqdm

    known = set[bytes]()  # digests: 873K take about 80 MB

    def make_record(row: Row) -> CaptionedImage:
        dataset, image_id = text(row, "dataset_id"), identifier(row, "image_id")
        collection = next((name for name, spelling in COLLECTIONS.items() if spelling.search(dataset)), None)
        if collection is None:
            raise unreadable(f"unknown dataset_id {dataset[:60]!r}")
        words = caption(row)
        try:
            name = image_of(collection, image_id)
        except ValueError as error:
            raise unreadable(f"image_id {image_id[:60]!r} is not a number") from error
        narrative = repr((name, row.get("annotator_id"), words)).encode()
        if (digest := blake2b(narrative, digest_size=8).digest()) in known:
            raise EmptyRowError(SEEN)
        known.add(digest)
        return CaptionedImage(image_id, found(name, images), words, f"{settings.name}/{collection}")

    files = with_compressed(settings.path, FILES)
    if not files:
        raise InputError(str(settings.path), f"no {FILES} file is there", "Put the caption files there")
    for file in files:
        lines = tqdm(json_lines(file), file.name, unit=" lines", disable=None)
        yield from read_rows(file, lines, make_record, settings, drops)
