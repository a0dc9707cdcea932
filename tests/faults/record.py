"""Counts what fault tests tried and what came of it, and makes one table of it.

A test takes the fixture `faults` and names the kind of its faults:

    def test_a_bad_number_is_refused(faults: Faults) -> None:
        count = faults("bad settings")
        count.cadvi("demo", "--seed", "-1")

When the test ends, rows lost, rows duplicated, tracebacks and hangs must be 0, and at least one fault must be tried.
The counts travel with the report of the test, so a run in several processes gives the same table.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub import cli
from cadvi_hub.core.errors import InputError

COLUMNS = ("tried", "refused", "lost", "duplicated", "tracebacks", "hangs")
MUST_BE_ZERO = COLUMNS[2:]
PROPERTY = "faults"
SECONDS = 300.0  # a fault that takes longer than this hangs; a busy machine needs a minute to import torch
LONGEST_LINE = 2_000  # characters of an error that still reads as one line
_TRACEBACK = "Traceback (most recent call last)"


class _HangError(BaseException):
    """A call did not end in time. Not an Exception, so that no handler of the code under test catches it."""


class Count:
    """The faults of one kind that a test tries."""

    def __init__(self, kind: str):
        self.kind = kind
        self.numbers = dict.fromkeys(COLUMNS, 0)
        self.seen: list[str] = []  # what must not happen, in words

    def add(self, column: str, number: int = 1, seen: str = "") -> None:
        """Add to a column of the table; `seen` explains a number that must be zero."""
        self.numbers[column] += number
        if column in MUST_BE_ZERO and number:
            self.seen.append(f"{column}: {seen}")

    def rows(self, expected: Iterable[Any], found: Iterable[Any]) -> None:
        """Compare the ids of the rows that should be there with those that are there."""
        wanted, there = collections.Counter(expected), collections.Counter(found)
        lost, more = wanted - there, there - wanted
        self.add("lost", lost.total(), f"rows {sorted(map(str, lost))[:5]}")
        self.add("duplicated", more.total(), f"rows {sorted(map(str, more))[:5]}")

    def call(self, function: Callable[..., Any], *args: Any, seconds: float = SECONDS, **kwargs: Any) -> Any:
        """Try a fault in this process. Returns what `function` returns, or the error that refuses the fault.

        An InputError refuses it; so does a SystemExit with one line of text. Every other error is a traceback.
        """
        self.add("tried")
        shown = f"{getattr(function, '__name__', function)}{args} {kwargs or ''}"[:300]
        try:
            with _alarm(seconds):
                return function(*args, **kwargs)
        except InputError as error:
            self._refused(str(error), shown)
            return error
        except SystemExit as error:
            if error.code not in (0, None):
                self._refused(str(error.code), shown)
            return error
        except _HangError:
            self.add("hangs", seen=shown)
        except Exception as error:
            where = "".join(traceback.format_exception(error)[-3:])
            self.add("tracebacks", seen=f"{shown}\n{where}")
        return None

    def cadvi(self, *arguments: str, seconds: float = SECONDS) -> str:
        """Try a command in this process. Returns what it prints on stderr, its last line included.

        With `--debug`, so that an error that no check foresaw counts as a traceback.
        """
        output = io.StringIO()
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(io.StringIO()):
            stopped = self.call(cli.main, [*map(str, arguments), "--debug"], seconds=seconds)
        if isinstance(stopped, InputError):
            return output.getvalue() + str(stopped)
        said = output.getvalue()
        if isinstance(stopped, SystemExit) and isinstance(stopped.code, str):
            said += stopped.code
        if _TRACEBACK in said:
            self.add("tracebacks", seen=f"{arguments}\n{said[-1000:]}")
        return said

    def process(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> subprocess.CompletedProcess[str] | None:
        """Try a command in a process of its own; None if it hangs. A status other than 0 refuses the fault.

        `command` without a program is a command of `cadvi`: `["build", "v1", …]`.
        """
        self.add("tried")
        program = [] if Path(command[0]).is_absolute() else [sys.executable, "-m", "cadvi_hub.cli"]
        started = subprocess.Popen(
            [*program, *map(str, command)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = started.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            self.add("hangs", seen=str(command)[:300])
            return None
        if started.returncode:
            self.add("refused")
        if _TRACEBACK in err:
            self.add("tracebacks", seen=f"{command}\n{err[-2000:]}")
        return subprocess.CompletedProcess(command, started.returncode, out, err)

    def check(self) -> None:
        """Fail if anything is lost, duplicated, hangs or ends in a traceback, or if nothing was tried."""
        assert not self.seen, f"{self.kind}: {len(self.seen)} broken promises\n" + "\n".join(self.seen[:20])
        assert self.numbers["tried"], f"{self.kind}: the test tried no fault"

    def _refused(self, said: str, shown: str) -> None:
        self.add("refused")
        lines = said.strip().splitlines()
        if len(lines) > 1 or len(said) > LONGEST_LINE:
            self.add("tracebacks", seen=f"{shown}\nis refused in {len(lines)} lines: {said[:500]}")


Faults = Callable[[str], Count]


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Makes the count of a kind of fault; see this module."""
    counts: list[Count] = []

    def start(kind: str) -> Count:
        counts.append(Count(kind))
        request.node.user_properties.append((PROPERTY, {"kind": kind, "numbers": counts[-1].numbers}))
        return counts[-1]

    yield start
    for count in counts:
        count.check()


def collect(reports: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Kind → column → number over the reports of tests, each test once."""
    table: dict[str, dict[str, int]] = {}
    for report in reports:
        if getattr(report, "when", "") != "call":
            continue
        for name, value in report.user_properties:
            if name == PROPERTY:
                numbers = table.setdefault(value["kind"], {"tests": 0, **dict.fromkeys(COLUMNS, 0)})
                numbers["tests"] += 1
                for column in COLUMNS:
                    numbers[column] += value["numbers"][column]
    return dict(sorted(table.items()))


def lines(table: Mapping[str, Mapping[str, int]], markdown: bool = False) -> list[str]:
    """The table with a line of sums, as plain text or Markdown."""
    heads = ("kind of fault", "tests", *COLUMNS)
    numbers = {**table, "all": {head: sum(row[head] for row in table.values()) for head in heads[1:]}}
    rows = [heads, *((kind, *(str(row[head]) for head in heads[1:])) for kind, row in numbers.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    edge, between = ("| ", " | ") if markdown else ("", "  ")
    cells = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    shown = [(edge + between.join(row) + edge[::-1]).rstrip() for row in cells]
    if markdown:
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        shown.insert(1, edge + between.join(rule) + edge[::-1])
    return [line.rstrip() for line in shown]


_REPORT = """# Promises, and how often they were tried

No row is lost or there twice, whatever stops a command; no file of yours is removed; an error is one line. The tests
try these promises on the real commands, and `make faults` writes this page. Each row is a kind of fault. The first two
numbers say how many tests there are and how many faults they try. *Refused* faults end a command with one line that
says what is wrong; the command deals with the others and goes on. The last four columns must be 0: rows that are lost
or there twice, errors that end in a traceback, and commands that do not end.
"""


def report(table: Mapping[str, Mapping[str, int]]) -> str:
    """The page with the table, in Markdown."""
    return "\n".join([_REPORT, *lines(table, markdown=True), ""])


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
