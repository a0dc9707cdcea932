"""The recorder itself: what it counts, and that a broken promise fails the test and reaches the table."""

import sys
import time
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from tests.faults.record import COLUMNS, Count, lines

pytest_plugins = ["pytester"]

CONFTEST = """
from tests.conftest import pytest_addoption, pytest_terminal_summary
from tests.faults.record import faults
"""
TESTS = """
def test_refused(faults):
    faults("bad numbers").cadvi("biuld")

def test_also_refused(faults):
    faults("bad numbers").cadvi("no such command")

def test_loses_a_row(faults):
    count = faults("kills")
    count.add("tried")
    count.rows(["a", "b"], ["a", "a"])

def test_tries_nothing(faults):
    faults("empty")
"""


def test_calls_are_sorted_into_refusals_tracebacks_and_hangs() -> None:
    def refuse() -> None:
        raise InputError("row 7", "it is broken", "Fix it")

    def long() -> None:
        sys.exit("one line\nand another")

    count = Count("calls")
    assert isinstance(count.call(refuse), InputError)
    assert count.call(lambda: 5) == 5
    assert count.numbers == dict.fromkeys(COLUMNS, 0) | {"tried": 2, "refused": 1}
    count.check()
    count.call(lambda: [][0])
    count.call(long)
    count.call(time.sleep, 5, seconds=0.05)
    assert (count.numbers["tracebacks"], count.numbers["hangs"]) == (2, 1)
    with pytest.raises(AssertionError, match="3 broken promises"):
        count.check()


def test_processes_are_sorted_the_same_way() -> None:
    count = Count("processes")
    python = [sys.executable, "-c"]
    assert count.process([*python, "pass"])
    assert count.process(["biuld"])
    assert (count.numbers["refused"], count.seen) == (1, [])
    count.process([*python, "[][0]"])
    count.process([*python, "import time; time.sleep(60)"], seconds=0.2)
    assert [text.partition(":")[0] for text in count.seen] == ["tracebacks", "hangs"]


def test_the_table_adds_up_over_tests_and_processes(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))  # where `tests` is
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    table = Path(pytester.path) / "table.md"
    result = pytester.runpytest_subprocess("-n2", f"--faults_table={table}", "-p", "xdist")
    result.assert_outcomes(passed=4, errors=2)  # a broken promise is found when the test has ended
    result.stdout.fnmatch_lines(["*kind of fault*tests*tried*refused*lost*", "bad numbers *2 *2 *2 *0 *0 *0 *0"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.read_text().splitlines()]
    assert ["kills", "1", "1", "0", "1", "1", "0", "0"] in rows
    assert rows[-1] == ["all", "4", "3", "2", "1", "1", "0", "0"]


def test_the_markdown_table_has_one_width() -> None:
    numbers = {"tests": 1, **dict.fromkeys(COLUMNS, 0), "tried": 1234}
    shown = lines({"kills": numbers}, markdown=True)
    assert len({len(line) for line in shown}) == 1
    assert shown[1].count(":") == len(COLUMNS) + 1
