"""The rows of benchmark files, each with its place. A bad row is an error, so that no set shrinks unnoticed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from cadvi_hub.core import json_stream
from cadvi_hub.core.errors import InputError
from cadvi_hub.sources.rows import Row, RowError

Made = TypeVar("Made")
Rows = Iterator[tuple[str, Row]]


def make_all(file: Path, rows: Iterable[tuple[str, Row]], make: Callable[[Row, str], Made]) -> Iterator[Made]:
    """`make(row, place)` of every row.

    Raises:
        InputError: `make` raised a RowError; the error names file and row.
    """
    for position, row in rows:
        place = f"{file}, {position}"
        try:
            made = make(row, place)
        except RowError as bad:
            raise InputError(place, bad.problem, bad.hint or "Fix the row") from bad
        yield made


def json_lines(file: Path) -> Rows:
    """`("line 1", {…})` and so on: a file of one JSON object per line, none blank."""
    for position, line in json_stream.json_lines(_opened(file), skip_blank=False):
        try:
            yield position, json_stream.json_object(line)
        except ValueError as error:
            raise InputError(f"{file}, {position}", f"not one JSON object ({error})", "Fix the line") from error


def csv_rows(file: Path, columns: Iterable[str]) -> Rows:
    """`("line 2", {…})` and so on: a CSV file whose first line names its columns."""
    with _opened(file).open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            if lacking := sorted({*columns} - {*(reader.fieldnames or ())}):
                raise InputError(str(file), f"no column {', '.join(lacking)}", "Take the file as it was published")
            for row in reader:
                if None in row or None in row.values():
                    problem = f"it does not have {len(reader.fieldnames or ())} fields"
                    raise InputError(f"{file}, line {reader.line_num}", problem, "Fix the line")
                yield f"line {reader.line_num}", row
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{file}, after line {reader.line_num}", f"no CSV ({error})", "Fix the file") from error


def rows_at(file: Path, key: str) -> Rows:
    """`("row 1", {…})` and so on: the list at `key` of a file that is one JSON object, streamed."""
    for position, row in json_stream.list_rows(_opened(file), key):
        if not isinstance(row, dict):
            raise InputError(f"{file}, {position}", "not a JSON object", "Fix the row")
        yield position, row


def _opened(file: Path) -> Path:
    if not file.is_file():
        raise InputError(str(file), "no such question file", "Name a file that is there")
    return file
