"""JSON files of many gigabytes, read value by value; a bar shows how much of a file is read.

The parser (yajl, by ijson) reads a lone surrogate, which JSON can escape and UTF-8 cannot hold, as "?".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError

MAX_DEPTH = 100  # lists and objects within each other; a file of nothing but `[` would else fill the memory
_OPENING = re.compile(rb"\s*(.)", re.DOTALL)
_STARTS, _ENDS = ("start_map", "start_array"), ("end_map", "end_array")

Events = Iterator[tuple[str, Any]]


def list_rows(file: Path, key: str | None = None) -> Iterator[tuple[str, Any]]:
    """`("row 1", …)` and so on: the entries of a file that is one list, or of the list at `key` of an object.

    Raises:
        InputError: it cannot be read, is no list or has none at `key`, or is torn or no JSON; the error names the row
            after which.
    """
    if key is None:
        with _events(file, b"[", "list") as events:
            for number, _, row in _members(file, events):
                yield f"row {number}", row
        return
    found = False
    with _events(file, b"{", "object") as events:
        for _, name, value in _members(file, events, whole_but=key):
            if name == key and value == "start_array":
                found = True
                for number, _, row in _members(file, events):
                    yield f"row {number}", row
    if not found:
        raise InputError(str(file), f"it has no list {key!r}", "Check the file")


def entries(file: Path, key: str | None = None) -> Iterator[tuple[str, str, Any]]:
    """`("row 1", its key, its value)` and so on: a file that is one object, or the object at its `key`.

    Raises:
        InputError: it cannot be read, is no object, has none at `key`, or is torn or no JSON; the error names the row
            after which.
    """
    found = key is None
    with _events(file, b"{", "object") as events:
        for number, name, value in _members(file, events, whole_but=key):
            if key is None:
                yield f"row {number}", name, value
            elif name == key and value == "start_map":
                found = True
                for within, inner, content in _members(file, events):
                    yield f"row {within}", inner, content
    if not found:
        raise InputError(str(file), f"it has no object {key!r}", "Check the file")


def _members(file: Path, events: Events, whole_but: str | None = None) -> Iterator[tuple[int, str, Any]]:
    """Number, key and value of each member of the list or object that has begun; for `whole_but`, its first event."""
    import ijson

    number, key = 0, ""
    try:
        for event, value in events:
            if event in _ENDS:
                break
            if event == "map_key":
                key = value
                continue
            member = event if key == whole_but else _built(event, value, events)
            number += 1
            yield number, key, member
    except (ijson.JSONError, RecursionError) as error:
        raise _broken(file, f"after row {number}", error) from error


def _built(event: str, value: Any, events: Events) -> Any:
    """The value that begins with `event`."""
    import ijson

    if event not in _STARTS:
        return value
    builder = ijson.ObjectBuilder()
    builder.event(event, value)
    depth = 1
    while depth:
        event, value = next(events)
        builder.event(event, value)
        if event in _STARTS:
            depth += 1
            if depth > MAX_DEPTH:
                raise RecursionError(f"more than {MAX_DEPTH} lists and objects within each other")
        elif event in _ENDS:
            depth -= 1
    return builder.value


@contextmanager
def _events(file: Path, opening: bytes, kind: str) -> Iterator[Events]:
    """What the parser finds after the start of the one list or object that `file` is."""
    import ijson
    from tqdm import tqdm

    try:
        with file.open("rb") as content:
            first = _OPENING.match(content.read(1024))
            if first is None or first[1] != opening:
                raise InputError(str(file), f"not a JSON {kind} in UTF-8", f"Save it as one JSON {kind} in UTF-8")
            content.seek(0)
            size = file.stat().st_size
            with tqdm.wrapattr(content, "read", total=size, desc=file.name, disable=None) as shown:
                events = ijson.basic_parse(shown, use_float=True)
                next(events)
                yield events
                next(events, None)  # there is one, or an error, where something follows
    except ijson.JSONError as error:
        raise _broken(file, "after its end", error) from error
    except OSError as error:
        raise InputError(
            str(file), f"cannot be read ({error.strerror})", "Check source.path and source.format"
        ) from error


def _broken(file: Path, where: str, error: Exception) -> InputError:
    reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error.args[0])
    problem = f"not valid JSON {where} ({reason.strip().splitlines()[0]})"
    return InputError(str(file), problem, "Fix the file, or fetch it again")
