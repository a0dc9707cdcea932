"""The rows of benchmark files, each with its place. A bad row is an error, so that no set shrinks unnoticed.

Data sets are read without `datasets` decoding a picture: a picture is `{"bytes", "path"}`, as parquet holds it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from cadvi_hub.core import json_stream
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.parquet import open_parquet
from cadvi_hub.sources.rows import Row, RowError

Made = TypeVar("Made")
Rows = Iterator[tuple[str, Row]]

_ROWS_IN_MEMORY = 16  # of a data set with pictures
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_SAVED = ("dataset_dict.json", "dataset_info.json")  # of `save_to_disk`
_SUFFIXES = (".parquet", ".jsonl", ".csv", ".json")


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


def rows_at(file: Path, key: str | None) -> Rows:
    """`("row 1", {…})` and so on: the list at `key` of a file that is one JSON object (None: a list), streamed."""
    for position, row in json_stream.list_rows(_opened(file), key):
        if not isinstance(row, dict):
            raise InputError(f"{file}, {position}", "not a JSON object", "Fix the row")
        yield position, row


def local_copy(place: Path) -> Path:
    """`place` if it is there; otherwise the data set of that name, downloaded from the Hub.

    Raises:
        InputError: neither a file, a folder nor a data set that the Hub gives out.
    """
    if place.exists() or place.suffix in _SUFFIXES or not _REPO.fullmatch(str(place)):
        return place
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(str(place), repo_type="dataset"))
    except (OSError, ValueError, HfHubHTTPError, httpx.HTTPError) as error:
        problem = f"neither here nor on the Hub ({str(error).strip().partition(chr(10))[0]})"
        raise InputError(f"questions {place}", problem, "Name a file, a folder, or a data set of the Hub") from error


def source_rows(place: Path, split: str = "") -> Iterator[tuple[Path, Rows]]:
    """The files of a data set (`data_files`), each with its rows; of what `save_to_disk` wrote, the folder."""
    if place.is_dir() and any((place / name).is_file() for name in _SAVED):
        yield place, _saved_rows(place)
    else:
        for file in data_files(place, split):
            yield file, _file_rows(file)


def data_files(place: Path, split: str = "") -> list[Path]:
    """The files of a data set: the file `place`, or all of one kind below that folder, in the order of their names.

    Args:
        place: a file, or a folder as it is published: parquet, JSON lines or CSV.
        split: only files of this split, as in `val-00000-of-00001.parquet` or `val/0.parquet`; "" takes all.

    Raises:
        InputError: there is none.
    """
    if not place.is_dir():
        return [_opened(place)]
    of_split = re.compile(rf"(?:^|[/_]){re.escape(split)}(?:[-_./]|$)") if split else re.compile("")
    for suffix in _SUFFIXES:
        files = sorted(file for file in place.rglob(f"*{suffix}") if of_split.search(str(file.relative_to(place))))
        if files:
            return files
    wanted = f"no file of the split {split!r}" if split else f"no {', '.join(_SUFFIXES)}"
    raise InputError(str(place), f"{wanted} is there", "Name the folder as it was published, or one of its files")


def _file_rows(file: Path) -> Rows:
    """The rows of one file: parquet, CSV, a JSON list, or JSON lines."""
    kind = file.suffix.lower()
    if kind == ".parquet":
        return _parquet_rows(file)
    if kind == ".json":
        return rows_at(file, None)
    return csv_rows(file, ()) if kind == ".csv" else json_lines(file)


def _saved_rows(folder: Path) -> Rows:
    """The rows of a folder that `save_to_disk` wrote, with all its splits.

    Raises:
        InputError: it cannot be loaded.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise InputError(str(folder), f"cannot be loaded ({error})", "Name what `save_to_disk` wrote") from error
    for split, rows in loaded.items() if isinstance(loaded, DatasetDict) else [("", loaded)]:
        for number, table in enumerate(rows.with_format("arrow").iter(1), 1):
            (row,) = table.to_pylist()
            yield f"{split} row {number}".strip(), row


def _parquet_rows(file: Path) -> Rows:
    number = 0
    with open_parquet(file, "Take the file as it was published") as opened:
        for batch in opened.iter_batches(_ROWS_IN_MEMORY):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def _opened(file: Path) -> Path:
    if not file.is_file():
        raise InputError(str(file), "no such question file", "Name a file that is there")
    return file
