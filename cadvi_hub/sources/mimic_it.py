"""MIMIC-IT "general difference" (CGD): pairs of similar COCO pictures with notes on their differences.

`source.path` holds two files:

- `CGD_instructions.json`: `{"meta": …, "data": {ID: {instruction, answer, image_ids: [2 keys], rel_ins_ids}}}`; some
  references dangle;
- `CGD.json` or `CGD_images.json`: `{key: picture in base64}`, or the same as `.parquet`: the rows of a pandas data
  frame with a column `base64`, whose index is the key. Keys are padded with zeros in more than one way.

The pictures are decoded once, because a JSON file of many gigabytes cannot be searched by key. They go into a folder
beside the file (`CGD` or `CGD_images`), or into the first of `source.images`. A picture is named after its key, with
numbers unpadded. The next run continues where a killed one stopped. `_decoded.json` says when all pictures are there;
then the file can be removed.
Format: https://github.com/Luodian/Otter/blob/main/docs/mimicit_format.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cadvi_hub.core import files, parquet
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.core.json_stream import entries
from cadvi_hub.core.locks import locked
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources.rows import (
    NO_IMAGE,
    EmptyRowError,
    Row,
    RowError,
    items,
    read_rows,
    text,
    two_images,
    unreadable,
)
from cadvi_hub.sources.settings import SourceSettings

INSTRUCTIONS = "CGD_instructions.json"
PICTURES = ("CGD.json", "CGD_images.json", "CGD.parquet", "CGD_images.parquet")
DECODED = "_decoded.json"
_BASE64, _FETCH = "base64", "Fetch the file again"
_BATCH = 32  # pictures in memory
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PADDING = re.compile(r"(?<![0-9])0+(?=[0-9])")
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/")  # upstream decodes both


def read_mimic_it(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[ImagePair]:
    """Yield one record per pair of images; `context` joins the answers of all its rows with spaces, in file order.

    Upstream has two rows for a pair, which name each other in `rel_ins_ids`; here rows with the same `image_ids` are
    joined, so all answers of the file are in memory (about 30 MB). `pair_id` is the id of the first row. Empty answers
    are dropped and counted.

    Raises:
        InputError: no file, or a bad row if `settings.bad_rows` is `refuse`.
    """

    def make_note(row: Row) -> tuple[str, tuple[str, str], str]:
        keys = [text({"image_ids": key}, "image_ids") for key in items(row, "image_ids")]
        if unfit := [key for key in keys if not _KEY.fullmatch(key)]:
            raise RowError(NO_IMAGE, f"image {unfit[0][:60]!r} is not a valid key", "Fix or remove the row")
        names = two_images(list(map(normalize, keys)), images, different=True)
        answer = text(row, "answer").strip()
        if not answer:
            raise EmptyRowError("empty answer")
        return text(row, "id"), names, answer

    file = settings.path / INSTRUCTIONS
    rows = (
        (f"{position} ({key[:60]})", {**row, "id": key} if isinstance(row, dict) else row)
        for position, key, row in entries(file, "data")
    )
    pairs: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for row_id, names, answer in read_rows(file, rows, make_note, settings, drops):
        pairs.setdefault(names, (row_id, []))[1].append(answer)
    for names, (pair_id, answers) in pairs.items():
        yield ImagePair(pair_id, names, settings.name, context=" ".join(answers))


def normalize(key: str) -> str:
    """An image key with its numbers unpadded: `CGD_IMG_000000000139` → `CGD_IMG_139`."""
    return _PADDING.sub("", key)


def decoded_images(settings: SourceSettings) -> ImageFolders:
    """The pictures, decoded into their folder unless an earlier run did that.

    Raises:
        InputError: no file of pictures, one that is torn, an entry that is not a picture in base64, or a folder that
            cannot be written or holds the pictures of another file.
    """
    sources = [settings.path / name for name in PICTURES]
    source = next(filter(Path.is_file, sources), None)
    folders = settings.images[:1] or [file.with_suffix("") for file in ([source] if source else sources)]
    for folder in folders:
        if _is_whole(folder, source):
            return ImageFolders([folder])
    if source is None:
        raise InputError(str(settings.path), f"no {' or '.join(PICTURES)} is there", "Put the file of pictures there")
    with files.writing(folder, "Name another folder first in source.images", every_error=True):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "_lock", folder, "another process decodes pictures there", timeout=-1):
        if not _is_whole(folder, source):
            _decode(source, folder, settings)
    return ImageFolders([folder])


def _is_whole(folder: Path, source: Path | None) -> bool:
    """Whether the folder holds all pictures, and those of `source` if it still exists."""
    if not (folder / DECODED).is_file():
        return False
    hint = "Remove the folder, or name another first in source.images"
    state = files.read_json(folder / DECODED, hint)
    if source is not None and state.get("source") != _identity(source):
        raise InputError(str(folder), f"it holds the pictures of another file ({state.get('source')})", hint)
    return state.get("whole") is True


def _identity(source: Path) -> str:
    return f"{source.name}, {source.stat().st_size} bytes"


def _decode(source: Path, folder: Path, settings: SourceSettings) -> None:
    state = {"source": _identity(source), "whole": False}
    files.write_json(folder / DECODED, state)

    def decode(row: Row) -> None:
        if not _KEY.fullmatch(row["key"]):
            raise unreadable("its key cannot be a file name", "Fix or remove the entry")
        picture = folder / normalize(row["key"])
        encoded = text(row, "picture").translate(_TO_STANDARD_ALPHABET)
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise unreadable(f"not base64 text ({error})", "Fix or remove the entry") from error
        if picture.is_file() and picture.stat().st_size == len(data):  # a power cut may have left an empty one
            return
        with files.replacing(picture, durable=False) as file:  # `sync_folder` covers all of them
            file.write(data)

    encoded = _frame(source) if source.suffix == ".parquet" else entries(source)
    rows = ((f"{position} ({key[:60]})", {"key": key, "picture": value}) for position, key, value in encoded)
    # A picture that is dropped here is missing from its pair, and the pair is counted there.
    for _ in read_rows(source, rows, decode, settings, Drops()):
        pass
    files.sync_folder(folder)
    files.write_json(folder / DECODED, {**state, "whole": True})


def _frame(source: Path) -> Iterator[tuple[str, str, Any]]:
    """`("row 1", key, picture)` and so on, of a data frame as pandas writes it."""
    with parquet.open_parquet(source, _FETCH) as opened:
        names = opened.schema_arrow.names
        index = (opened.schema_arrow.pandas_metadata or {}).get("index_columns", [])
    key = next((name for name in names if name in index), "key")
    if not {key, _BASE64} <= set(names):
        raise InputError(str(source), f"it has no index of keys or no column {_BASE64!r}", _FETCH)
    for number, row in enumerate(parquet.read_rows(source, [key, _BASE64], hint=_FETCH, batch_size=_BATCH), 1):
        yield f"row {number}", str(row[key]), row[_BASE64]
