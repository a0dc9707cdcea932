"""JSON files of many gigabytes, also compressed ones (`.gz`, `.zst`), read value by value; a bar shows the progress.

Memory is bounded whatever a file holds: by `MAX_DEPTH` and by `MAX_VALUE` for one value.

The parser (yajl, by ijson) reads a lone surrogate, which JSON can escape and UTF-8 cannot hold, as "?".
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, check_regular

MAX_DEPTH = 100  # lists and objects within each other
MAX_VALUE = (
    2**25
)  # bytes of one value or line: a picture of 24 MB in base64; Python objects take up to 20 times as much
_TOO_DEEP = f"more than {MAX_DEPTH} lists and objects within each other"
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_OPENING = re.compile(rb"\s*(.)", re.DOTALL)
_STARTS, _ENDS = ("start_array", "start_map"), ("end_array", "end_map")
_CHECK = "Check source.path and source.format"


def list_rows(file: Path, key: str | None = None) -> Iterator[tuple[str, Any]]:
    """`("row 1", …)` and so on: the entries of a file that is one list, or of the list at `key` of an object.

    Raises:
        InputError: the file cannot be read, is not a list or has none at `key`, is not valid JSON, or holds a value
            that is too large; the error names the last good row.
    """
    for position, _, row in _rows(file, "list", key):
        yield position, row


def entries(file: Path, key: str | None = None) -> Iterator[tuple[str, str, Any]]:
    """`("row 1", its key, its value)` and so on: a file that is one object, or the object at its `key`.

    Raises:
        InputError: as `list_rows`, of an object.
    """
    return _rows(file, "object", key)


def json_lines(file: Path, skip_blank: bool = True) -> Iterator[tuple[str, bytes]]:
    """`("line 1", b"…")` and so on; `json_object` reads a line.

    Args:
        file: one JSON value per line.
        skip_blank: whether blank lines are left out.

    Raises:
        InputError: the file cannot be read, or a line has more than `MAX_VALUE` bytes.
    """
    with reading(file) as lines:
        number = 0
        while line := lines.readline(MAX_VALUE + 1):
            number += 1
            if len(line) > MAX_VALUE:
                raise InputError(f"{file}, line {number}", f"it has more than {MAX_VALUE:,} bytes", "Shorten the line")
            if line.strip() or not skip_blank:
                yield f"line {number}", line


def json_object(line: bytes) -> Json:
    """The JSON object that a line holds.

    Raises:
        ValueError: it holds something else; the text of the error says what is wrong.
    """
    try:
        value = parse_json(line.decode("utf-8-sig"))  # Windows begins a file with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except ValueError as error:
        raise ValueError(f"not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def parse_json(text: str | bytes) -> Any:
    """The JSON value `text`, at most `MAX_DEPTH` deep: more would end whoever walks through it.

    Raises:
        ValueError: it is not JSON, or too deep.
    """
    openings = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    try:
        value = json.loads(text)
        if sum(map(text.count, openings)) > MAX_DEPTH:  # type: ignore[arg-type]
            _check_depth(value)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [each for each in level if isinstance(each, list | dict)]
        if not containers:
            return
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(_TOO_DEEP)


def _rows(file: Path, kind: str, key: str | None) -> Iterator[tuple[str, str, Any]]:
    """Position, key and value of each member of the list or object that the file is or has at `key`."""
    with _parsing(file, kind if key is None else "object") as stream:
        if key is not None and not stream.find(key, "start_array" if kind == "list" else "start_map"):
            raise InputError(str(file), f"it has no {kind} {key!r}", "Check the file")
        for name, event, value in stream.members():
            built = stream.build(event, value)
            stream.row += 1
            yield f"row {stream.row}", name, built
        if key is not None:
            stream.find()  # checks the rest of the file


class _Stream:
    """A parser's events in one file. `read` is what the parser calls; it refuses to read too far for one value."""

    def __init__(self, read: Callable[[int], bytes]):
        import ijson

        self.row, self._ended = 0, False  # the last row that was read
        self._read, self._position, self._limit = read, 0, MAX_VALUE
        self._events = iter(ijson.basic_parse(self, use_float=True))
        next(self._events)

    def read(self, size: int) -> bytes:
        if self._position > self._limit:
            raise _TooLargeError(f"a value of more than {MAX_VALUE:,} bytes")
        data = self._read(size)
        self._position += len(data)
        return data

    def members(self) -> Iterator[tuple[str, str, Any]]:
        """Key and first event of each member of the list or object that has begun; the caller reads the others."""
        key = ""
        while True:
            self._limit = self._position + MAX_VALUE
            event, value = next(self._events)
            if event in _ENDS:
                return
            if event == "map_key":
                key = value
            else:
                yield key, event, value

    def build(self, event: str, value: Any) -> Any:
        """The value that begins with `event`."""
        import ijson

        builder = ijson.ObjectBuilder()
        self._consume(event, value, builder.event)
        return builder.value

    def find(self, key: str | None = None, start: str = "") -> bool:
        """Skip members up to the one at `key` that begins with `start`, or to the end; whether it was found."""
        for name, event, value in self.members():
            if name == key and event == start:
                return True
            self._consume(event, value, self._skip)
        return False

    @property
    def place(self) -> str:
        """Where the parser is, in words."""
        return "after its end" if self._ended else f"after row {self.row}"

    def close(self) -> None:
        """Check that nothing follows; the parser raises where something does."""
        self._ended = True
        next(self._events, None)

    def _skip(self, event: str, value: Any) -> None:
        self._limit = self._position + MAX_VALUE  # nothing of a skipped value is kept, so only its parts are limited

    def _consume(self, event: str, value: Any, take: Callable[[str, Any], None]) -> None:
        """Give `take` all events of the value that begins with this one."""
        depth = 0
        while True:
            take(event, value)
            if event in _STARTS:
                depth += 1
                if depth > MAX_DEPTH:
                    raise _TooLargeError(_TOO_DEEP)
            elif event in _ENDS:
                depth -= 1
            if not depth:
                return
            event, value = next(self._events)


class _TooLargeError(ValueError):
    """A value that would fill the memory."""


@contextmanager
def _parsing(file: Path, kind: str) -> Iterator[_Stream]:
    """The parser's events after the start of the one list or object that `file` is."""
    import ijson
    from tqdm import tqdm

    opening = {"list": b"[", "object": b"{"}[kind]
    with reading(file) as content:
        first = _OPENING.match(content.peek(1024))
        if first is None or first[1] != opening:
            raise InputError(str(file), f"not a JSON {kind} in UTF-8", f"Save it as one JSON {kind} in UTF-8")
        size = None if file.suffix in COMPRESSED else file.stat().st_size
        with tqdm.wrapattr(content, "read", total=size, desc=file.name, disable=None) as shown:
            stream = _Stream(shown.read)
            try:
                yield stream
                stream.close()
            except (ijson.JSONError, _TooLargeError) as error:
                reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
                problem = f"not valid JSON {stream.place} ({reason.strip().splitlines()[0]})"
                raise InputError(str(file), problem, "Fix the file, or fetch it again") from error


@contextmanager
def reading(file: Path) -> Iterator[io.BufferedReader]:
    """The content of a file, decompressed if its name ends in one of `COMPRESSED`.

    Raises:
        InputError: it cannot be read.
    """
    check_regular(file, _CHECK)
    try:
        with _opened(file) as content:
            yield content
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror or error})", _CHECK) from error
    except EOFError as error:
        raise InputError(str(file), "it is cut short", "Fetch it again") from error


def _opened(file: Path) -> io.BufferedReader:
    if file.suffix not in COMPRESSED:
        return file.open("rb")
    import pyarrow as pa

    return io.BufferedReader(_Raw(pa.CompressedInputStream(pa.OSFile(str(file)), COMPRESSED[file.suffix])))


class _Raw(io.RawIOBase):
    """What `BufferedReader` needs of an Arrow file."""

    def __init__(self, stream: Any):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
