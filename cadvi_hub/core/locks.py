"""Locks between processes. A lock is free again when its process ends, even by kill -9.

They work on network disks, too: where a disk has no locks, filelock leaves a file with host and process instead.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import WriteError, read_file, writing

_SHORT = 10.0  # seconds


@contextmanager
def locked(
    file: Path, place: Path, problem: str, timeout: float = 0, hint: str = "Wait for it, or choose another out"
) -> Iterator[None]:
    """Hold the lock `file`. Host, process and start time are written beside it, for whoever comes second.

    Args:
        file: the lock; its folder must exist.
        place: what it protects, for the message.
        problem: what is wrong when another process holds it.
        timeout: seconds to wait for it; -1 waits for ever.
        hint: what the user can do when another process holds it.

    Raises:
        InputError: another process holds it.
        WriteError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock, holder = FileLock(file), _holder(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise InputError(str(place), f"{problem} ({_who(holder)})", hint) from error
    except OSError as error:
        hint = "Choose a folder that you can write to"
        raise WriteError(str(place), f"cannot be locked ({error.strerror or error})", hint) from error
    try:
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        held = {"host": socket.gethostname(), "pid": os.getpid(), "started": started}
        with writing(place):
            holder.write_text(json.dumps(held) + "\n", encoding="utf-8")
        yield
    finally:
        try:
            holder.unlink(missing_ok=True)
        finally:
            lock.release()


@contextmanager
def shared(file: Path, place: Path, problem: str) -> Iterator[None]:
    """Share the lock `file` with others that share it; meanwhile `locked_alone` fails.

    Each holder locks a file of its own beside `file`, because not every network disk has shared locks.

    Raises:
        InputError: another process holds it alone.
    """
    own = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    with ExitStack() as stack:
        with locked(file, place, problem, timeout=_SHORT):  # others that begin to share hold it for a moment
            stack.callback(own.unlink, missing_ok=True)  # after its release: Windows does not remove an open file
            stack.enter_context(locked(own, place, problem))
        yield


@contextmanager
def locked_alone(file: Path, place: Path, problem: str) -> Iterator[None]:
    """Hold the lock `file` that others can share.

    Raises:
        InputError: another process holds or shares it.
    """
    with locked(file, place, problem):
        for other in file.parent.glob(f"{file.name}.*"):
            with locked(other, place, problem):
                pass
            other.unlink(missing_ok=True)  # its process was killed
        yield


def _holder(lock: Path) -> Path:
    """The file that says who holds `lock`. Not in the lock itself: opening that may empty it."""
    return lock.with_name(f".held-{lock.name.lstrip('.')}")


def _who(holder: Path) -> str:
    try:
        held = json.loads(read_file(holder))
        return f"process {held['pid']} on {held['host']}, since {held['started']}"
    except (OSError, ValueError, KeyError, TypeError):  # it took the lock in this moment, or has released it
        return "a process that has just begun or ended"
