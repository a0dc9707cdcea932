"""SVIT's detail descriptions of Visual Genome pictures (about 106K), and Visual Genome's list of its pictures.

`source.path` holds both: `detail*.json` (SVIT's `detail_description.json`), a list of `{image_id, conversations:
[{content: [{from: user|gpt, value}]}]}`, and Visual Genome's `image_data.json`, a list of `{image_id, url, …}`. A URL
says whether the picture is in folder `VG_100K` or `VG_100K_2`.
Formats: https://huggingface.co/datasets/BAAI/SVIT, https://homes.cs.washington.edu/~ranjay/visualgenome/api.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import list_rows
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.rows import (
    Row,
    RowError,
    caption,
    found,
    identifier,
    items,
    mapping,
    read_rows,
    text,
    unreadable,
)
from cadvi_hub.sources.settings import SourceSettings

DESCRIPTIONS, PICTURES = "detail*.json", "image_data.json"
NOT_LISTED = f"image not listed in {PICTURES}"
_URL = re.compile(r"/(VG_100K(?:_2)?/[0-9]{1,12}\.jpg)$")


def read_svit(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[CaptionedImage]:
    """Yield one record per description in file order; empty ones are dropped and counted.

    Pictures are named `VG_100K/2.jpg` and so on. The texts of `gpt` in a row (upstream: one) are joined with spaces.

    Raises:
        InputError: a file is missing, or a bad row if `settings.bad_rows` is `refuse`.
    """
    listed = settings.path / PICTURES
    names = dict(read_rows(listed, list_rows(listed), _listed_name, settings, drops))

    def make_record(row: Row) -> CaptionedImage:
        number = identifier(row, "image_id")
        turns = [
            mapping(turn, "an entry of 'content'")
            for conversation in items(row, "conversations")
            for turn in items(mapping(conversation, "an entry of 'conversations'"), "content")
        ]
        description = " ".join(text(turn, "value").strip() for turn in turns if turn.get("from") == "gpt").strip()
        description = caption({"description": description}, "description")
        if number not in names:
            raise RowError(NOT_LISTED, f"image {number[:60]!r} is not in {PICTURES}", "Remove the row")
        return CaptionedImage(number, found(names[number], images), description, settings.name)

    files = sorted(settings.path.glob(DESCRIPTIONS))
    if not files:
        raise InputError(str(settings.path), f"no {DESCRIPTIONS} file is there", "Put the descriptions there")
    for file in files:
        yield from read_rows(file, list_rows(file), make_record, settings, drops)


def _listed_name(row: Row) -> tuple[str, str]:
    """Image id and file name."""
    url = _URL.search(text(row, "url"))
    if url is None:
        raise unreadable("'url' does not name a picture in VG_100K or VG_100K_2")
    return identifier(row, "image_id"), url[1]
