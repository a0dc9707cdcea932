"""Large JSON files: streamed, shallow, and refused with the row after which they break."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core import json_stream
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.json_stream import MAX_DEPTH, entries, json_lines, json_object, list_rows


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


BRACKETS = b"[" * 200_000  # a parser without limits took 17.7 GB for it


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (BRACKETS, lambda file: list_rows(file)),
        (BRACKETS, lambda file: list_rows(file, "data")),
        (b'{"data": ' + BRACKETS, lambda file: list_rows(file, "data")),
        (b'{"other": ' + BRACKETS, lambda file: list_rows(file, "data")),
        (b'{"a": ' + BRACKETS, lambda file: entries(file)),
        (b'{"data": {"a": ' + BRACKETS, lambda file: entries(file, "data")),
    ],
)
def test_brackets_do_not_fill_the_memory(file: Path, content: bytes, read: Callable[[Path], Iterator[Any]]) -> None:
    file.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"more than 100 lists and objects|not a JSON object in UTF-8"):
            list(read(file))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", ['"' + "x" * 900_000 + '"', "[" + "0, " * 300_000 + "0]"])
def test_a_value_that_is_too_large_is_refused_and_many_small_ones_are_not(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 200_000)
    file.write_text('{"a": 1, "b": ' + value + "}")
    rows = entries(file)
    with pytest.raises(InputError, match=r"rows\.json: not valid JSON after row 1 \(a value of more than 200,000"):
        list(rows)
    file.write_text("[" + ", ".join(["[0, 1, 2]"] * 100_000) + "]")
    assert len(list(list_rows(file))) == 100_000


def test_what_is_skipped_may_be_large_in_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 200_000)
    file.write_text(json.dumps({"before": [0] * 300_000, "data": [7], "after": [0] * 300_000}))
    assert list(list_rows(file, "data")) == [("row 1", 7)]


def test_lines_have_numbers_and_blank_ones_are_left_out(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n \n\n{"a": "\xc3\xa9"}')
    assert [(place, json_object(line)) for place, line in json_lines(file)] == [
        ("line 1", {"a": 1}),
        ("line 4", {"a": "é"}),
    ]


def test_a_line_that_is_too_long_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 100)
    file.write_bytes(b"x" * 99 + b"\n" + b"x" * 100 + b"\n")
    lines = json_lines(file)
    assert next(lines)[0] == "line 1"
    with pytest.raises(InputError, match=r"rows\.json, line 2: it has more than 100 bytes"):
        next(lines)


@pytest.mark.parametrize(
    ("line", "problem"),
    [(b"[]", "not a JSON object"), (b'{"a', "not valid JSON"), (b'"\xe9"', "not UTF-8"), (BRACKETS, "not valid JSON")],
)
def test_a_line_that_is_no_object_is_refused(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        json_object(line)


def test_missing_file_of_lines_is_named(file: Path) -> None:
    with pytest.raises(InputError, match=r"rows\.json: cannot be read \(No such file or directory\)"):
        list(json_lines(file))
