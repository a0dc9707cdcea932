"""Large JSON files: streamed, shallow, and refused with the row after which they break."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.json_stream import MAX_DEPTH, entries, list_rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.json"


def test_list_is_read_row_by_row_with_their_numbers(file: Path) -> None:
    rows = [{"id": 1, "value": ["é", 0.5, None, True]}, [], "x", {"a": {"b": []}}]
    file.write_text(json.dumps(rows, ensure_ascii=False))
    assert list(list_rows(file)) == [(f"row {number}", row) for number, row in enumerate(rows, 1)]


def test_rows_before_a_tear_are_yielded(file: Path) -> None:
    file.write_text("[" + json.dumps({"text": "x" * 100_000}) + ', {"id": 2}, {"id"')
    rows = list_rows(file)
    assert [position for position, _ in islice(rows, 2)] == ["row 1", "row 2"]
    with pytest.raises(InputError, match=r"rows\.json: not valid JSON after row 2 \(parse error: premature EOF\)"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a JSON list in UTF-8"),
        (b'{"item": [1]}', "not a JSON list in UTF-8"),
        (b"\xef\xbb\xbf[1]", "not a JSON list in UTF-8"),
        ("[1]".encode("utf-16"), "not a JSON list in UTF-8"),
        ('[1, "é"]'.encode("latin-1"), "after row 1 (lexical error: invalid bytes in UTF8 string.)"),
        (b"[1, NaN]", "after row 1 (lexical error"),
        (b"[1, 2", "after row 2 (parse error: premature EOF)"),
        (b"[1] [2]", "after its end (parse error: trailing garbage)"),
        (b"[" * 1_000_000, f"after row 0 (more than {MAX_DEPTH} lists and objects within each other)"),
        (b'[1, {"a":' + b'{"a":' * 100_000, "after row 1 (more than"),
    ],
)
def test_file_that_is_no_list_is_refused(file: Path, content: Any, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(list_rows(file))
    assert caught.value.where == str(file)
    assert problem in caught.value.problem


def test_entries_of_an_object_are_read_in_order(file: Path) -> None:
    file.write_text('{"b": "x", "a.c": {"b": 1}, "": []}')
    assert list(entries(file)) == [("row 1", "b", "x"), ("row 2", "a.c", {"b": 1}), ("row 3", "", [])]


def test_entries_below_a_key_leave_the_rest_out(file: Path) -> None:
    file.write_text('{"meta": {"data": {"x": 1}}, "data": {"a": 1, "data": {"z": 2}}, "end": [[1]]}')
    assert list(entries(file, "data")) == [("row 1", "a", 1), ("row 2", "data", {"z": 2})]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"meta": 1}', "no object 'data'"),
        ('{"data": [1]}', "no object 'data'"),
        ("[1]", "not a JSON object in UTF-8"),
        ('{"data": {"a": 1, "b": [', "after row 1 (parse error: premature EOF)"),
        ('{"data": {"a": 1}, "end', "after row 1 (parse error: premature EOF)"),
    ],
)
def test_file_without_the_object_is_refused(file: Path, content: str, problem: str) -> None:
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        list(entries(file, "data"))
    assert problem in caught.value.problem


def test_missing_file_is_named(file: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.json: cannot be read \(No such file or directory\)"):
        list(list_rows(file))
