"""MIMIC-IT "general difference" (CGD): pairs of similar COCO pictures with notes on their differences.

`source.path` holds two files:

- `CGD_instructions.json`: `{"meta": …, "data": {ID: {instruction, answer, image_ids: [2 keys], rel_ins_ids}}}`; some
  references dangle;
- `CGD.json` or `CGD_images.json`: `{key: picture in base64}`. Keys are padded with zeros in more than one way.

Pictures have to be found by key, which no file of many gigabytes allows: they are decoded once, into a folder beside
the file (`CGD` or `CGD_images`), or into the first of `source.images`. A picture is named after its key, numbers
without padding. A killed run goes on where it stood; `_decoded.json` says when all are there; then the file may go.
Format: https://github.com/Luodian/Otter/blob/main/docs/mimicit_format.md
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import locked
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.core.json_stream import entries
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources.rows import (
    NO_IMAGE,
    UNREADABLE,
    EmptyRowError,
    Row,
    RowError,
    image_name,
    items,
    read_rows,
    text,
)
from cadvi_hub.sources.settings import SourceSettings

INSTRUCTIONS, PICTURES = "CGD_instructions.json", ("CGD.json", "CGD_images.json")
DECODED, UNFINISHED = "_decoded.json", "_unfinished"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PADDING = re.compile(r"(?<![0-9])0+(?=[0-9])")
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/")  # upstream decodes both


def read_mimic_it(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[ImagePair]:
    """One record per pair of images; `context` joins the answers of all its rows, in the file's order, with spaces.

    Upstream has two rows for a pair, which name each other in `rel_ins_ids`; here their `image_ids` join them, so that
    all answers of the file are held in memory (some 30 MB). `pair_id` is the id of the first row. Empty answers are
    dropped and counted.

    Raises:
        InputError: no file, or a bad row where `settings.bad_rows` is `refuse`.
    """

    def make_note(row: Row) -> tuple[str, tuple[str, str], str]:
        keys = [text({"image_ids": key}, "image_ids") for key in items(row, "image_ids")]
        if unfit := [key for key in keys if not _KEY.fullmatch(key)]:
            raise RowError(NO_IMAGE, f"image {unfit[0][:60]!r} is no key", "Fix or remove the row")
        names = list(map(normalize, keys))
        if len(names) != 2 or names[0] == names[1]:
            raise RowError(UNREADABLE, "'image_ids' is not two different images", "Fix the row")
        first, second = (image_name({"image_ids": name}, "image_ids", images) for name in names)
        answer = text(row, "answer").strip()
        if not answer:
            raise EmptyRowError("empty answer")
        return text(row, "id"), (first, second), answer

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
    """The pictures, decoded into their folder unless an earlier run did.

    Raises:
        InputError: no file of pictures, one that is torn, an entry that is no picture in base64, or a folder that
            cannot be written or holds the pictures of another file.
    """
    files = [settings.path / name for name in PICTURES]
    file = next(filter(Path.is_file, files), None)
    folders = settings.images[:1] or [named.with_suffix("") for named in ([file] if file else files)]
    for folder in folders:
        if _is_whole(folder, file):
            return ImageFolders([folder])
    if file is None:
        raise InputError(str(settings.path), f"no {' or '.join(PICTURES)} is there", "Put the file of pictures there")
    try:
        with _locked(folder):
            if not _is_whole(folder, file):
                _decode(file, folder, settings)
    except OSError as error:
        hint = "Make room, or name a folder that can be written first in source.images"
        raise InputError(str(folder), f"pictures cannot be written there ({error.strerror})", hint) from error
    return ImageFolders([folder])


def _is_whole(folder: Path, file: Path | None) -> bool:
    """Whether all pictures are there; those of `file`, unless it is gone."""
    if not (folder / DECODED).is_file():
        return False
    known = json.loads((folder / DECODED).read_bytes())
    if file is not None and known["source"] != _source(file):
        problem = f"it holds the pictures of another file ({known['source']})"
        raise InputError(str(folder), problem, "Remove the folder, or name another first in source.images")
    return known["whole"]


def _source(file: Path) -> str:
    return f"{file.name}, {file.stat().st_size} bytes"


def _decode(file: Path, folder: Path, settings: SourceSettings) -> None:
    state = {"source": _source(file), "whole": False}
    _write(folder / DECODED, json.dumps(state).encode())

    def decode(row: Row) -> None:
        if not _KEY.fullmatch(row["key"]):
            raise RowError(UNREADABLE, "its key is no name for a file", "Fix or remove the entry")
        picture = folder / normalize(row["key"])
        if picture.is_file():
            return
        encoded = text(row, "picture").translate(_TO_STANDARD_ALPHABET)
        try:
            _write(picture, base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise RowError(UNREADABLE, f"no base64 text ({error})", "Fix or remove the entry") from error

    rows = ((f"{position} ({key[:60]})", {"key": key, "picture": value}) for position, key, value in entries(file))
    # What is dropped here is missing to a pair, and counted there.
    for _ in read_rows(file, rows, decode, settings, Drops()):
        pass
    _write(folder / DECODED, json.dumps({**state, "whole": True}).encode())


def _write(file: Path, data: bytes) -> None:
    """Write `file` so that it is whole where it is there; the lock keeps the temporary name to one writer."""
    unfinished = file.with_name(UNFINISHED)
    unfinished.write_bytes(data)
    unfinished.replace(file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write to `folder`; another waits, and then finds the pictures there."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "_lock", folder, "another process decodes pictures there", timeout=-1):
        yield
