"""Parquet files: rows in batches, names without pictures, and errors that name the file."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.parquet import count_rows, image_names, is_whole, open_parquet, read_rows

ROWS: list[dict[str, Any]] = [
    {"id": "1", "images": [{"bytes": b"x", "path": "a.png"}, {"bytes": b"y", "path": None}], "text": "one"},
    {"id": "2", "images": [], "text": "two"},
    {"id": "3", "images": None, "text": "three"},
    {"id": "4", "images": [None], "text": None},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet", row_group_size=2)
    return tmp_path / "rows.parquet"


def test_rows_have_the_columns_that_are_asked_for_and_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.core.parquet._BATCH", 3)
    assert list(read_rows(file, ["text", "id", "more"])) == [{"id": row["id"], "text": row["text"]} for row in ROWS]


def test_a_missing_column_that_is_needed_is_named(file: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.parquet: has no column more, most\. Fetch it again"):
        list(read_rows(file, ["id"], needed=["most", "id", "more"], hint="Fetch it again"))


def test_image_names_are_read_without_pictures(file: Path) -> None:
    assert list(image_names(file)) == [["a.png", None], [], [], [None]]


def test_a_file_without_images_has_no_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "rows.parquet")
    with pytest.raises(LookupError):
        list(image_names(tmp_path / "rows.parquet"))


def test_rows_are_counted_in_the_footer(file: Path) -> None:
    assert count_rows(file) == len(ROWS)
    assert is_whole(file)


@pytest.mark.parametrize("content", [None, b"", b"PAR1" * 100])
def test_a_file_that_cannot_be_read_is_named(file: Path, content: bytes | None) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert not is_whole(file)
    for read in (count_rows, lambda file: list(read_rows(file, ["id"])), lambda file: list(image_names(file))):
        with pytest.raises(InputError, match=r"rows\.parquet: does not read as parquet \(.*Build it again"):
            read(file)


def test_a_torn_column_is_found_within_the_block(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"rows\.parquet: does not read as parquet"), open_parquet(file) as opened:
        opened.read()
