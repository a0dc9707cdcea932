"""Rows of data sets as a reader pages through them: only what is shown is read, whatever the size of the set.

A set is a folder of parquet files, or such a folder of a repository on the Hub, of which ranges are fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular
from cadvi_hub.core.json_stream import parse_json

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

BATCH = 10  # rows with pictures that are held at once; with photographs some 5 MB
TEXTS = ("id", "captions", "context", "commonalities", "differences", "question", "answer")
SHOWN = {"messages", "question", "conversations"}  # a set with none of these columns is not shown

Row = dict[str, Any]


@dataclass(frozen=True)
class RowFilter:
    """Which rows are shown; an empty field takes all.

    `text` is looked for in all texts and `noun` among the shared nouns, in any case; `aspect` must differ.
    """

    text: str = ""
    aspect: str = ""
    source: str = ""
    noun: str = ""

    def fits(self, row: Row) -> bool:
        """Whether `row`, without its pictures, is to be shown."""
        if self.source and self.source.casefold() != (row.get("source") or "").casefold():
            return False
        if self.aspect and all(each["aspect"] != self.aspect for each in row.get("differences") or ()):
            return False
        if self.noun and self.noun.casefold() not in map(str.casefold, row.get("shared_nouns") or ()):
            return False
        return not self.text or self.text.casefold() in "\n".join(_strings(row)).casefold()


class _Group(NamedTuple):
    """A row group: its file, its number there, and which rows of the set it holds."""

    file: str
    number: int
    start: int
    stop: int


class DataRows:
    """The rows of one set by number, from 0. Footers are read only as far as rows are asked for; threads may share it.

    Args:
        place: the folder of the set, where `file_system` has it; what messages call it.
        files: parquet files, in order.
        file_system: of fsspec, where `files` lie; None for this machine's.

    Raises:
        InputError: (from every method) a file that cannot be read.
    """

    def __init__(self, place: str, files: list[str], file_system: Any = None):
        self.place = place
        self._files, self._file_system = files, file_system
        self._groups: list[_Group] = []
        self._unread = list(reversed(files))
        self._opened: tuple[str, ParquetFile] | None = None
        self._batch: tuple[_Group, int, list[Row]] | None = None
        self._following: tuple[_Group, Iterator[Any], int] | None = None
        self._lock = RLock()

    @cached_property
    def report(self) -> dict[str, Any]:
        """What its build counted; empty if there is no record of it."""
        file = f"{self.place}/build.json"
        with _reading(file):
            if self._file_system is None:
                content = Path(file).read_bytes() if Path(file).is_file() else b"{}"
            else:
                content = self._file_system.cat_file(file) if self._file_system.exists(file) else b"{}"
        try:
            report = parse_json(content)
        except ValueError as error:
            raise InputError(file, f"cannot be read ({error})", "Build the data set again") from error
        if not isinstance(report, dict):
            raise InputError(file, "it is not a report of a build", "Build the data set again")
        return report

    @property
    def total(self) -> int | None:
        """How many rows there are; None if it is not known (a set on the Hub is not read to its end to find out)."""
        if self._file_system is None or not self._unread:
            return sum(group.stop - group.start for group in self._all_groups())
        rows = self.report.get("rows")
        return rows if isinstance(rows, int) else None

    def columns(self) -> list[str]:
        """Names of the columns; none if there are no files."""
        with self._lock:
            return self._open(self._files[0]).schema_arrow.names if self._files else []

    def row(self, number: int) -> Row | None:
        """Row `number` with its encoded pictures; None if there are fewer."""
        with self._lock:
            group = next((each for each in self._all_groups() if each.start <= number < each.stop), None)
            if group is None or number < 0:
                return None
            batch, place = divmod(number - group.start, BATCH)
            if self._batch is None or self._batch[:2] != (group, batch):
                self._batch = group, batch, self._read(group, batch)
            return self._batch[2][place]

    def find(self, wanted: RowFilter, start: int = 0, backwards: bool = False) -> int | None:
        """The first row from `start` on (or before and at it, `backwards`) that fits; None if no other does."""
        with self._lock:
            if wanted == RowFilter():
                known = self._groups[-1].stop if self._groups and not self._unread else None
                beyond = start < 0 or (start >= known if known is not None else self.row(start) is None)
                return None if beyond else start
            columns = [name for name in (*TEXTS, "source", "shared_nouns") if name in self.columns()]
            if "commonalities" not in columns and "question" not in columns:
                columns += [name for name in ("messages",) if name in self.columns()]
            groups = self._all_groups()
            for group in reversed(list(_before(groups, start))) if backwards else groups:
                if not backwards and group.stop <= start:
                    continue
                rows = self._columns(group, columns)
                order = range(len(rows))
                for place in reversed(order) if backwards else order:
                    number = group.start + place
                    if (number <= start if backwards else number >= start) and wanted.fits(rows[place]):
                        return number
            return None

    def number_of(self, row_id: str) -> int | None:
        """The number of the row of that id."""
        with self._lock:
            for group in self._all_groups():
                for place, row in enumerate(self._columns(group, ["id"])):
                    if row["id"] == row_id:
                        return group.start + place
            return None

    def sources(self) -> list[str]:
        """Sources that the first rows name."""
        with self._lock:
            first = next(self._all_groups(), None)
            if first is None or "source" not in self.columns():
                return []
            return sorted({row["source"] for row in self._columns(first, ["source"]) if row["source"]})

    def _all_groups(self) -> Iterator[_Group]:
        """The groups in order; a file is opened when the loop gets there."""
        index = 0
        while True:
            while index >= len(self._groups):
                if not self._unread:
                    return
                file = self._unread[-1]
                metadata = self._open(file).metadata
                start = self._groups[-1].stop if self._groups else 0
                for number in range(metadata.num_row_groups):
                    stop = start + metadata.row_group(number).num_rows
                    self._groups.append(_Group(file, number, start, stop))
                    start = stop
                self._unread.pop()
            yield self._groups[index]
            index += 1

    def _read(self, group: _Group, batch: int) -> list[Row]:
        """A batch of a group; batches before it are not read again if the reader just goes on."""
        with _reading(group.file):
            if not self._following or self._following[0] != group or self._following[2] > batch:
                batches = self._open(group.file).iter_batches(batch_size=BATCH, row_groups=[group.number])
                self._following = group, batches, 0
            _, batches, position = self._following
            rows: list[Row] = next(islice(batches, batch - position, None)).to_pylist()
            self._following = group, batches, batch + 1
            return rows

    def _columns(self, group: _Group, columns: list[str]) -> list[Row]:
        with _reading(group.file):
            rows: list[Row] = self._open(group.file).read_row_group(group.number, columns=columns).to_pylist()
            return rows

    def _open(self, file: str) -> ParquetFile:
        import pyarrow.parquet as pq

        if self._opened is None or self._opened[0] != file:
            self._following = None
            if self._file_system is None:
                check_regular(Path(file), "Build the data set again")
            with _reading(file):
                content = file if self._file_system is None else self._file_system.open(file, "rb")
                self._opened = file, pq.ParquetFile(content)
        return self._opened[1]


def open_sets(place: str) -> dict[str, DataRows]:
    """Name → set, of the parquet files in `place` itself and in its folders: one set, or all of a data set.

    Args:
        place: a folder, or a repository on the Hub as `owner/name`.

    Raises:
        InputError: no such place, or nothing to look at in it.
    """
    local = Path(place).is_dir()
    if local:
        files = sorted(str(file) for file in (*Path(place).glob("*.parquet"), *Path(place).glob("*/*.parquet")))
    else:
        system, files = _on_the_hub(place)
    folders: dict[str, list[str]] = {}
    for file in files:
        folder = PurePosixPath(file).parent
        if not folder.name.startswith(("_", ".")):  # a build under way
            folders.setdefault(str(folder), []).append(file)
    if local:  # an empty build has a report and no files
        for report in (*Path(place).glob("build.json"), *Path(place).glob("*/build.json")):
            folders.setdefault(str(report.parent), [])
    sets = {
        PurePosixPath(folder).name: DataRows(folder, names, None if local else system)
        for folder, names in sorted(folders.items(), key=_order)
    }
    sets = {name: rows for name, rows in sets.items() if not rows.columns() or SHOWN & set(rows.columns())}
    if not sets:
        raise InputError(place, "it holds no parquet files of a data set", "Build one with `cadvi build`")
    return sets


def _order(folder: tuple[str, list[str]]) -> tuple[bool, str]:
    """The sets of comparisons first, then by name."""
    return PurePosixPath(folder[0]).name not in ("v1", "v2"), folder[0]


def _on_the_hub(place: str) -> tuple[Any, list[str]]:
    from httpx import HTTPError
    from huggingface_hub import HfFileSystem

    system = HfFileSystem()
    try:
        patterns = (f"datasets/{place}/*.parquet", f"datasets/{place}/*/*.parquet")
        return system, sorted(file for pattern in patterns for file in system.glob(pattern))
    except (OSError, ValueError, HTTPError) as error:
        hint = "Name a folder, or a data set on the Hub that you may read"
        raise InputError(place, f"no such folder, and no such repository ({type(error).__name__})", hint) from error


def _before(groups: Iterator[_Group], start: int) -> Iterator[_Group]:
    for group in groups:
        if group.start > start:
            return
        yield group


def _strings(value: Any) -> Iterator[str]:
    """All strings in a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@contextmanager
def _reading(file: str) -> Iterator[None]:
    import pyarrow as pa
    from httpx import HTTPError

    try:
        yield
    except (OSError, pa.ArrowException, HTTPError) as error:
        raise InputError(file, f"cannot be read ({str(error).strip()})", "Make the data set again") from error
