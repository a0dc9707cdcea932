"""The one way to write a file and to digest a file. Locks are in `locks.py`.

A file or folder that is written here is whole, or it is not there, even after a power cut: it gets a temporary name
beside its own, its content is forced to the disk, it is renamed, and the rename is forced to the disk, too. If it
cannot be written, the error is a WriteError that names the place.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cadvi_hub.core.errors import InputError

Json = dict[str, Any]

_CHUNK = 2**20  # bytes read at a time
_BAR_AFTER = 2.0  # seconds
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
    rename(temporary, path, durable=durable)


def rename(old: Path, new: Path, *, durable: bool = True) -> None:
    """Give a file or folder another name on its disk, in one step; a file that has the name is replaced.

    Args:
        old: its name so far.
        new: its new name.
        durable: whether the names must survive a power cut. Turn it off for one of many that a later `sync` covers.

    Raises:
        WriteError: it cannot be renamed.
    """
    with writing(new, every_error=True):
        old.replace(new)
        if durable:
            for folder in {old.parent, new.parent}:
                sync(folder)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder to fill. It replaces `path` when the block ends without an error, and is left behind otherwise.

    `path` is always whole: it is the old folder until the new one takes its place.

    Raises:
        WriteError: it cannot be written.
    """
    temporary, aside = temporary_name(path), _aside(path)
    with writing(path, every_error=True):
        if aside.exists() and not path.exists():
            rename(aside, path)
        remove(temporary)
        temporary.mkdir(parents=True)
    try:
        with writing(path):
            yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.rmdir()  # if nothing was written yet, there is nothing to inspect
        raise
    with writing(path, every_error=True):
        sync_folder(temporary)
        if path.exists():
            exchange(temporary, path)
            sync(path.parent)
        else:
            rename(temporary, path)
        remove(temporary)  # what was there before


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


def exchange(new: Path, old: Path) -> None:
    """Let two folders swap their names; in one step, except on disks that cannot (NFS).

    There, a process that is killed in between leaves the old folder aside, and `replacing_folder` puts it back.
    """
    if sys.platform == "linux":
        here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        libc = ctypes.CDLL(None, use_errno=True)
        if not libc.renameat2(here, os.fsencode(new), here, os.fsencode(old), swap):
            return
        if (number := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number), str(old))
    old.replace(_aside(old))
    new.replace(old)
    _aside(old).replace(new)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


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


def check_regular(file: Path, hint: str = "Give a file on a disk") -> None:
    """Refuse a pipe, a device or a folder in the place of a file: reading it could wait for ever, or never end.

    Raises:
        InputError: it is there, and not a file; a missing file is left to whoever opens it.
    """
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise InputError(str(file), f"it is {kind}, not a file", hint)


def read_file(path: Path) -> bytes:
    """What is in the file.

    Raises:
        OSError: it cannot be read. So is a pipe or a device, where reading could wait for ever, or never end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a file on a disk", str(path))
    return path.read_bytes()


def read_json(path: Path, hint: str = "Remove the folder, or choose another out") -> Json:
    """The JSON object in `path`.

    Raises:
        InputError: it cannot be read or does not hold a JSON object; `hint` says what to do.
    """
    check_regular(path, hint)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"it cannot be read ({error.strerror})", hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), f"it is not JSON ({error})", hint) from error
    if not isinstance(content, dict):
        raise InputError(str(path), "it is not a JSON object", hint)
    return content


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
                check_regular(file, "Check source.path and source.format")
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
