"""The one way to write a file, to take a lock and to digest a file.

A file or folder that is written here is whole, or it is not there, even after a power cut: it gets a temporary name
beside its own, its content is forced to the disk, it is renamed, and the rename is forced to the disk, too. If it
cannot be written, the error is a WriteError that names the place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from cadvi_hub.core.errors import InputError

Json = dict[str, Any]

_CHUNK = 2**20  # bytes read at a time
_BAR_AFTER = 2.0  # seconds
_SHORT = 10.0  # seconds
_MANY = 100  # files of a folder above which the whole system is flushed once, instead of every file
# Errors that only writing causes. Others inside a block may come from what the block reads.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class WriteError(InputError):
    """A file cannot be written: the disk is full or read-only, or the folder belongs to somebody else."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file that replaces `path` when the block ends without an error; otherwise `path` stays as it was.

    Args:
        path: the file to write.
        durable: whether it must survive a power cut. Turn it off for one of many files that a later `sync_folder`
            covers, or that are easily made again.

    Raises:
        WriteError: it cannot be written.
    """
    temporary = temporary_name(path)
    with writing(path, every_error=True):
        file = temporary.open("wb")
    try:
        with writing(path), file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with writing(path, every_error=True):
        temporary.replace(path)
        if durable:
            sync(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder to fill. It replaces `path` when the block ends without an error, and is left behind otherwise.

    Raises:
        WriteError: it cannot be written.
    """
    temporary = temporary_name(path)
    with writing(path, every_error=True):
        remove(temporary)
        temporary.mkdir(parents=True)
    with writing(path):
        yield temporary
    with writing(path, every_error=True):
        sync_folder(temporary)
        remove(path)
        temporary.replace(path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and writes its list of names itself
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Force everything in `folder`, sub-folders included, to the disk."""
    entries = [folder, *folder.rglob("*")]
    if len(entries) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for entry in entries:
        if entry.is_file() or entry.is_dir():
            sync(entry)


def temporary_name(path: Path) -> Path:
    """Where `path` is written until it is whole: a hidden name beside it."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def writing(
    place: Path | str,
    hint: str = "Free some space or choose another folder, then run it again",
    *,
    every_error: bool = False,
) -> Iterator[None]:
    """Turn an OSError of the block into a WriteError that names `place`.

    Args:
        place: the file or folder that the block writes.
        hint: what the user can do.
        every_error: whether every OSError comes from writing; otherwise only those of a full or read-only disk do.
    """
    try:
        yield
    except OSError as error:
        if every_error or error.errno in _DISK_ERRORS:
            raise WriteError(str(place), f"cannot be written ({error.strerror or error})", hint) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all; WriteError if it cannot be written."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` as JSON, whole or not at all; WriteError if it cannot be written."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write `rows` to `path` as one JSON value per line, whole or not at all; WriteError if it cannot be written."""
    with replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def read_json(path: Path, hint: str = "Remove the folder, or choose another out") -> Json:
    """The JSON object in `path`.

    Raises:
        InputError: it cannot be read or does not hold a JSON object; `hint` says what to do.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"it cannot be read ({error.strerror})", hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"it is not JSON ({error})", hint) from error
    if not isinstance(content, dict):
        raise InputError(str(path), "it is not a JSON object", hint)
    return content


@contextmanager
def locked(file: Path, place: Path, problem: str, timeout: float = 0) -> Iterator[None]:
    """Hold the lock `file`. It is free again when this process ends, even by kill -9.

    Args:
        file: the lock; its folder must exist.
        place: what it protects, for the message.
        problem: what is wrong when another process holds it.
        timeout: seconds to wait for it; -1 waits for ever.

    Raises:
        InputError: another process holds it.
        WriteError: it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise InputError(str(place), problem, "Wait for it, or choose another out") from error
    except OSError as error:
        hint = "Choose a folder that you can write to"
        raise WriteError(str(place), f"cannot be locked ({error.strerror or error})", hint) from error
    try:
        yield
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


def remove(path: Path) -> None:
    """Remove a folder or a file if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest_of_files(files: Sequence[Path]) -> str:
    """SHA-256 over the contents of `files` in their order; a bar shows the progress if it takes long.

    Raises:
        InputError: a file cannot be read.
    """
    from tqdm import tqdm

    total = hashlib.sha256()
    file = None
    try:
        size = sum((file := path).stat().st_size for path in files)
        with tqdm(desc="digest", total=size, unit="B", unit_scale=True, delay=_BAR_AFTER, disable=None) as bar:
            for file in files:
                digest = hashlib.sha256()
                with file.open("rb") as content:
                    while chunk := content.read(_CHUNK):
                        digest.update(chunk)
                        bar.update(len(chunk))
                total.update(digest.digest())
    except OSError as error:
        hint = "Check source.path and source.format"
        raise InputError(str(file), f"cannot be read ({error.strerror})", hint) from error
    return total.hexdigest()
