"""Files of a build that are whole or not there, and locks on them."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cadvi_hub.core.errors import InputError

Json = dict[str, Any]


@contextmanager
def locked(file: Path, how: int, place: Path, fault: str) -> Iterator[None]:
    """Hold the lock `file`, as `fcntl.flock` does with `how`.

    Raises:
        InputError: somebody else holds it; it names `place` and says `fault`.
    """
    with file.open("a+") as lock:  # a shared lock on a network disk needs a file that can be read
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(str(place), fault, "Wait for it, or choose another out") from error
        yield


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` when the block has ended well."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


def write_json(path: Path, content: Json) -> None:
    """Write `content` to the file at `path`, at once."""
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def read_json(path: Path) -> Json:
    """What `write_json` wrote.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(str(path), f"it is no JSON ({error})", "Remove the folder, or choose another out") from error
    if not isinstance(content, dict):
        raise InputError(str(path), "it is no JSON object", "Remove the folder, or choose another out")
    return content


def remove(path: Path) -> None:
    """Remove a folder or a file, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
