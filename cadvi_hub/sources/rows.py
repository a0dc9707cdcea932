"""What all readers do with a row: decode it, check it, and refuse or drop it if it is bad."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_object
from cadvi_hub.core.non_answers import refusal
from cadvi_hub.core.schema import LONGEST_CAPTION
from cadvi_hub.sources.settings import SourceSettings

Record = TypeVar("Record")
Row = dict[str, Any]

UNREADABLE = "unreadable row"
REFUSED = "caption that refuses to describe the picture"
NO_IMAGE = "image file not found in the folder"
_ABSOLUTE = re.compile(r"/[^/]+/|[A-Za-z]:[\\/]|\\\\|file://")


class RowError(Exception):
    """A row that a reader cannot use.

    Attributes:
        reason: the reason under which the row is counted.
        problem: the details.
        hint: what the user can do.
    """

    def __init__(self, reason: str, problem: str, hint: str):
        self.reason, self.problem, self.hint = reason, problem, hint
        super().__init__(reason, problem, hint)


class EmptyRowError(RowError):
    """A row without content; it is dropped and counted even where bad rows are refused."""

    def __init__(self, reason: str):
        super().__init__(reason, reason, "")


def unreadable(problem: str, hint: str = "Fix the row") -> RowError:
    """The error of a row that does not have the format's form."""
    return RowError(UNREADABLE, problem, hint)


def read_rows(
    file: Path,
    rows: Iterable[tuple[str, Any]],
    make_record: Callable[[Row], Record],
    settings: SourceSettings,
    drops: Drops,
) -> Iterator[Record]:
    """Yield the record of each `(position, row)`; a row is a dict, the bytes of a JSON line, or a bad row's error.

    Raises:
        InputError: a bad row, where `settings.bad_rows` is `refuse`.
    """
    for position, row in rows:
        try:
            record = make_record(_parse(row))
        except RowError as bad:
            if settings.bad_rows == "refuse" and not isinstance(bad, EmptyRowError):
                hint = f"{bad.hint}, or set source.bad_rows to drop"
                raise InputError(f"{file}, {position}", bad.problem, hint) from bad
            place = f"{file.name}, {position}"
            drops.add(bad.reason, place if bad.problem == bad.reason else f"{place}: {bad.problem}")
        else:
            yield record


def text(row: Row, key: str) -> str:
    """The string at `key`."""
    value = row.get(key)
    if not isinstance(value, str):
        raise unreadable(f"key {key!r} is missing or not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a lone surrogate, which JSON can escape and UTF-8 cannot hold
        raise unreadable(f"{key!r} is not Unicode text") from error
    return value


def caption(row: Row, key: str = "caption") -> str:
    """The caption at `key`, checked to be neither empty nor longer than `LONGEST_CAPTION` characters."""
    value = text(row, key).strip()
    if not value:
        raise EmptyRowError("empty caption")
    if refusal(value):  # of a model that was asked to describe the picture
        raise EmptyRowError(REFUSED)
    if len(value) > LONGEST_CAPTION:
        problem = f"{len(value)} characters in {key!r}, more than {LONGEST_CAPTION}"
        raise RowError("caption is too long", problem, "Shorten it")
    return value


def identifier(row: Row, key: str) -> str:
    """The id at `key`; some files write it as a number, and of an absolute path only the file name is kept."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    value = text(row, key)
    return PureWindowsPath(value).name if _ABSOLUTE.match(value) else value  # takes both kinds of slashes


def items(row: Row, key: str) -> list[Any]:
    """The list at `key`."""
    value = row.get(key)
    if not isinstance(value, list):
        raise unreadable(f"key {key!r} is missing or not a list")
    return value


def mapping(value: Any, name: str) -> Row:
    """`value`, checked to be a JSON object."""
    if not isinstance(value, dict):
        raise unreadable(f"{name} is not a JSON object")
    return value


def found(name: str, images: ImageStore) -> str:
    """`name` as `images` knows it; the picture is decoded later, when it is embedded."""
    try:
        return images.find(name)
    except InputError as error:
        raise RowError(NO_IMAGE, error.problem, error.hint) from error


def two_images(names: list[Any], images: ImageStore, *, different: bool = False) -> tuple[str, str]:
    """The two `names` as `images` knows them."""
    if len(names) != 2:
        raise unreadable(f"{len(names)} images, which should be 2")
    first, second = (found(text({"image": name}, "image"), images) for name in names)
    if different and first == second:
        raise unreadable("the two images are the same")
    return first, second


def _parse(row: Any) -> Row:
    if isinstance(row, RowError):
        raise row
    if isinstance(row, bytes):
        try:
            return json_object(row)
        except ValueError as error:
            raise unreadable(str(error), "Fix or remove the line") from error
    return mapping(row, "the row")
