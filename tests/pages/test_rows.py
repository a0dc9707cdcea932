"""Rows by number, id and filter: only what is shown is read, from a folder or from the Hub."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import v1_features
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.pages.rows import DataRows, RowFilter, open_sets
from tests.support.hub_folders import publish_data, write_data
from tests.support.report_parts import data_set, pair_row, write_json


@pytest.fixture
def rows(tmp_path: Path) -> DataRows:
    """57 rows in two files of several row groups."""
    captions = ["A dog runs." if number % 10 else "A zebra eats." for number in range(57)]
    made = [
        pair_row(number, "v1", caption, 8) | {"shared_nouns": ["dog"] if number % 10 else ["zebra"]}
        for number, caption in enumerate(captions)
    ]
    for row in made[50:]:
        row["differences"] = [{"aspect": "Actions", "text": "One runs."}]
        row["source"] = "late"
    folder = tmp_path / "v1"
    folder.mkdir()
    schema = v1_features().arrow_schema
    pq.write_table(pa.Table.from_pylist(made[:31], schema), folder / "a.parquet", row_group_size=12)
    pq.write_table(pa.Table.from_pylist(made[31:], schema), folder / "b.parquet", row_group_size=12)
    return open_sets(str(folder))["v1"]


@pytest.mark.parametrize("order", [range(57), reversed(range(57)), (30, 31, 2, 56, 12, 11, 0)])
def test_rows_come_by_their_number_in_any_order(rows: DataRows, order: range) -> None:
    assert all(rows.row(number)["id"] == f"pair-{number}" for number in order)  # type: ignore[index]
    assert rows.row(57) is None
    assert rows.row(-1) is None
    assert rows.total == 57


def test_the_first_row_needs_one_footer(rows: DataRows, tmp_path: Path) -> None:
    (tmp_path / "v1" / "b.parquet").write_bytes(b"broken")
    assert rows.row(0)
    with pytest.raises(InputError, match=r"b\.parquet.*cannot be read"):
        rows.row(40)


def test_a_row_is_found_by_its_id(rows: DataRows) -> None:
    assert rows.number_of("pair-44") == 44
    assert rows.number_of("pair-99") is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RowFilter(text="ZEBRA eats"), [0, 10, 20, 30, 40, 50]),
        (RowFilter(noun="Zebra"), [0, 10, 20, 30, 40, 50]),
        (RowFilter(aspect="Actions"), list(range(50, 57))),
        (RowFilter(source="late", text="zebra"), [50]),
        (RowFilter(text="unicorn"), []),
    ],
)
def test_filters_are_followed_forwards_and_backwards(rows: DataRows, wanted: RowFilter, found: list[int]) -> None:
    forwards, number = [], rows.find(wanted)
    while number is not None:
        forwards.append(number)
        number = rows.find(wanted, number + 1)
    assert forwards == found
    backwards, number = [], rows.find(wanted, 56, backwards=True)
    while number is not None:
        backwards.append(number)
        number = rows.find(wanted, number - 1, backwards=True)
    assert backwards == found[::-1]


def test_without_filters_the_ends_are_the_ends(rows: DataRows) -> None:
    assert rows.find(RowFilter(), 57) is None
    assert rows.find(RowFilter(), -1, backwards=True) is None
    assert rows.find(RowFilter(), 56) == 56


def test_all_sets_of_a_folder_are_opened_comparisons_first(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        data_set(tmp_path, name)
    (tmp_path / "cad_qa").mkdir()
    (tmp_path / "cad_qa" / "test.parquet").write_bytes((tmp_path / "v1" / "train-00000-of-00002.parquet").read_bytes())
    (tmp_path / "_work").mkdir()
    (tmp_path / "_work" / "part.parquet").write_bytes(b"half written")
    sets = open_sets(str(tmp_path))
    assert list(sets) == ["v1", "v2", "cad_qa"]
    assert sets["v1"].report["drops"]["summary too short"]["count"] == 1234
    assert sets["v1"].sources() == ["test"]


def test_a_set_without_rows_is_a_set(tmp_path: Path) -> None:
    write_json(tmp_path / "v2" / "build.json", {"rows": 0, "files": [], "drops": {}})
    rows = open_sets(str(tmp_path))["v2"]
    assert (rows.row(0), rows.total, rows.sources(), rows.find(RowFilter(text="a"))) == (None, 0, [], None)


def test_a_folder_without_data_names_the_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no parquet files of a data set"):
        open_sets(str(tmp_path))


def test_a_repository_is_read_without_being_downloaded(hub: LoopbackHub, tmp_path: Path) -> None:
    publish_data(write_data(tmp_path / "data"))
    sets = open_sets("tester/cad-inst")
    assert "v1" in sets
    row = sets["v1"].row(0)
    assert row is not None
    assert sets["v1"].number_of(row["id"]) == 0
    assert sets["v1"].report == {"rows": 6, "drops": {"refusal": {"count": 2}, "too_short": {"count": 7}}}
    with pytest.raises(InputError, match="nobody/nothing"):
        open_sets("nobody/nothing")
