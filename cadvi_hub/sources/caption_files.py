"""Rows of a caption file: JSON lines, CSV, TSV (each also as `.gz` or `.zst`), parquet, or one `.txt` per picture."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core import parquet
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files, read_file
from cadvi_hub.core.json_stream import COMPRESSED, json_lines, reading
from cadvi_hub.sources.rows import unreadable

KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LONGEST_CELL = 1_000_000  # characters
_HINT = "Put captions.jsonl, captions.csv, captions.tsv, captions.parquet or a .txt beside each picture there"


def with_compressed(folder: Path, pattern: str) -> list[Path]:
    """The files in `folder` that match `pattern`, compressed ones included, sorted."""
    return sorted(file for end in ("", *COMPRESSED) for file in folder.glob(pattern + end))


def caption_file(folder: Path, stem: str = "captions") -> Path | None:
    """The caption file of a folder; None if it has none.

    Raises:
        InputError: there are two.
    """
    found = [file for kind in KINDS for file in with_compressed(folder, stem + kind)]
    if len(found) > 1:
        raise InputError(str(folder), f"it has {found[0].name} and {found[1].name}", "Leave one of them there")
    return found[0] if found else None


def captions_digest(folder: Path) -> str:
    """Changes with the caption file, or with the names and texts of the pictures' `.txt` files.

    Raises:
        InputError: a file cannot be read.
    """
    if file := caption_file(folder):
        return digest_of_files([file])
    texts = _texts(folder)
    names = "\n".join(text.relative_to(folder).as_posix() for text in texts)
    return hashlib.sha256((names + digest_of_files(texts)).encode()).hexdigest()


def rows_of(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """`("line 2", row)` and so on; of a parquet file only `columns` are read.

    Raises:
        InputError: the file cannot be read or has no header.
    """
    kind = next(kind for kind in KINDS if kind in file.suffixes)
    if kind == ".jsonl":
        return json_lines(file)
    if kind == ".parquet":
        rows = parquet.read_rows(file, columns, hint="Check source.columns")
        return ((f"row {number}", row) for number, row in enumerate(rows, 1))
    return _cells(file, "," if kind == ".csv" else "\t")


def _cells(file: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(LONGEST_CELL)
    with reading(file) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, delimiter=delimiter)
        try:
            for row in table:
                yield f"line {table.line_num}", _whole(row)
        except (csv.Error, UnicodeDecodeError) as error:
            problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            hint = "Save it as CSV or TSV in UTF-8, with cells of several words in quotes"
            raise InputError(f"{file}, line {table.line_num + 1}", problem, hint) from error


def _whole(row: dict[str | Any, Any]) -> Any:
    """The row; an error instead if it has more cells than the header, as by a comma in an unquoted caption."""
    return unreadable(f"{len(row[None])} cells more than the header has", "Put it in quotes") if None in row else row


def pictures_with_texts(folder: Path) -> Iterator[tuple[str, Any]]:
    """`("a.txt", {"image": "a.jpg", "caption": …})` and so on, sub-folders included.

    Raises:
        InputError: the folder has no picture with a `.txt`.
    """
    texts = _texts(folder)
    if not texts:
        raise InputError(str(folder), "no caption file is there", _HINT)
    for text in texts:
        pictures = [file for file in _beside(text) if file.suffix.lower() in PICTURES]
        place = text.relative_to(folder).as_posix()
        if len(pictures) != 1:
            yield place, unreadable(f"{len(pictures)} pictures of that name, which should be 1", "Rename one")
            continue
        try:
            words = read_file(text).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            yield place, unreadable(f"it cannot be read as UTF-8 ({error})", "Fix the file")
            continue
        name = pictures[0].relative_to(folder).as_posix()
        yield place, {"image_id": pictures[0].stem, "image": name, "caption": " ".join(words.split())}


def _texts(folder: Path) -> list[Path]:
    """The `.txt` files that have a picture of their name."""
    return [text for text in sorted(folder.rglob("*.txt")) if any(f.suffix.lower() in PICTURES for f in _beside(text))]


def _beside(text: Path) -> list[Path]:
    """The possible pictures of a text: files of its name with another ending."""
    ends = [*PICTURES, *map(str.upper, PICTURES)]
    return [file for end in ends if (file := text.with_suffix(end)).is_file()]
