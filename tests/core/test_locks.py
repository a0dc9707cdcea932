"""Locks hold across processes, and end with them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import WriteError
from cadvi_hub.core.locks import locked, locked_alone, shared

Lock = Callable[[Path, Path, str], AbstractContextManager[None]]
SECOND = r"out: it is in use \(process \d+ on .+, since 20\d\d-.+:.+\)\. Wait for it"
HOLD = """
import sys
from pathlib import Path
from cadvi_hub.core import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2]), Path("out"), "it is in use"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(kind: str, lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until the block ends."""
    command = [sys.executable, "-c", HOLD, kind, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


@pytest.mark.parametrize(
    ("elsewhere", "here"),
    [("locked", locked), ("locked", locked_alone), ("locked_alone", locked_alone), ("shared", locked_alone)],
)
def test_who_comes_second_is_refused_until_the_first_is_killed(tmp_path: Path, elsewhere: str, here: Lock) -> None:
    lock, out = tmp_path / "_lock", tmp_path / "out"
    with held_elsewhere(elsewhere, lock) as holder:
        with pytest.raises(InputError, match=SECOND), here(lock, out, "it is in use"):
            pass
        holder.kill()
        holder.wait()
        with here(lock, out, "it is in use"):
            pass
    assert {path.name for path in tmp_path.iterdir()} <= {"_lock"}  # the file of a killed sharer is gone


def test_several_share_a_lock_and_leave_nothing_of_their_own(tmp_path: Path) -> None:
    lock, out = tmp_path / "_lock", tmp_path / "out"
    with held_elsewhere("shared", lock) as holder:
        with shared(lock, out, "it is in use"):
            pass
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["_lock"]
    with locked_alone(lock, out, "it is in use"):
        pass


def test_one_who_shares_is_refused_while_it_is_held_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.core.locks._SHORT", 0.1)
    with (
        held_elsewhere("locked_alone", tmp_path / "_lock"),
        pytest.raises(InputError, match=r"out: it is in use"),
        shared(tmp_path / "_lock", tmp_path / "out", "it is in use"),
    ):
        pass


def test_one_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "_lock"
    with held_elsewhere("locked", lock) as holder:
        assert holder.stdin is not None
        release = threading.Timer(0.3, holder.stdin.close)
        release.start()
        with locked(lock, tmp_path, "it is in use", timeout=-1):
            assert holder.wait() == 0
        release.join()


def test_a_lock_in_a_place_that_is_no_folder_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with (
        pytest.raises(WriteError, match=r"out: cannot be locked \("),
        locked(tmp_path / "out/_lock", tmp_path / "out", "it is in use"),
    ):
        pass
