"""A command's output folder: locked, with a record of what the command made there, and never half replaced.

    out/.lock            held while the command runs
    out/.cadvi.json      command → the files that it made; nothing else in the folder is replaced or removed
    out/.cadvi.new/      a new result until all its files are whole

A result takes the place of the last one file by file when it is complete. If that is interrupted, whoever opens the
folder next finishes it first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import (
    Json,
    read_file,
    read_json,
    remove,
    rename,
    replacing_folder,
    sync,
    sync_folder,
    write_json,
    writing,
)
from cadvi_hub.core.locks import locked

RECORD = ".cadvi.json"
NEW = ".cadvi.new"
LOCK = ".lock"
_MOVE = "Choose another folder, or move it away"


class OutputFolder:
    """What one command made in the folder `path`.

    Args:
        path: the folder, which exists.
        command: the name that the files are recorded under.
        former: the files that this command made there before there were records; called if it has none.
    """

    def __init__(self, path: Path, command: str, former: Callable[[Path], Iterable[str]] = lambda _: ()):
        self.path, self.command = path, command
        self._record = path / RECORD
        with writing(path, every_error=True):
            self._finish()
        made = self._read()["made"].get(command)
        self.made = set(former(path) if made is None else made)

    def check(self, patterns: Iterable[str]) -> None:
        """Make sure that the command may write files and folders of these names; `*` in a name is anything.

        Raises:
            InputError: one is there, and this command did not make it.
        """
        for pattern in patterns:
            for found in sorted(self.path.glob(pattern)) if "*" in pattern else [self.path / pattern]:
                name = found.relative_to(self.path).as_posix()
                folders = [self.path / above for above in PurePosixPath(name).parents]
                in_the_way = [found] if os.path.lexists(found) and name not in self.made else []
                if in_the_way := in_the_way or [above for above in folders if above.exists() and not above.is_dir()]:
                    problem = f"`{self.command}` did not make it, and would replace it"
                    raise InputError(str(in_the_way[0]), problem, _MOVE)

    def claim(self, names: Iterable[str]) -> None:
        """`check`, and record that what has these names from now on is made by the command."""
        names = set(names)
        self.check(sorted(names))
        if names - self.made or not self._record.is_file():
            self.made |= names
            self._write()

    @contextmanager
    def replacing(self, last: str = "", keep_others: bool = False) -> Iterator[Path]:
        """A folder to fill. Its files take the place of those that the command made here, when the block ends well.

        Args:
            last: the file that says that the others belong together. While they are replaced, it is not there.
            keep_others: whether to leave the files that the command made earlier and that are not new.

        Raises:
            InputError: a file is in the way that the command did not make. The new ones wait beside it.
        """
        new = self.path / NEW
        with writing(self.path, every_error=True):
            remove(new)
            new.mkdir()
        yield new
        names = sorted(file.relative_to(new).as_posix() for file in new.rglob("*") if not file.is_dir())
        self.check(names)
        stale = [] if keep_others else sorted(self.made - set(names))
        self.made |= set(names)
        with writing(self.path, every_error=True):
            sync_folder(new)
            self._write({"names": names, "last": last, "stale": stale})
            self._finish()
        self.made -= set(stale)

    def _finish(self) -> None:
        """Move the files of a complete result to their names; goes on where a killed run stopped."""
        new, record = self.path / NEW, self._read()
        if (ready := record.get("ready")) is None:
            return
        last = ready["last"]
        if last and (new / last).exists():
            (self.path / last).unlink(missing_ok=True)
        for name in sorted(ready["names"], key=lambda name: name == last):
            if name == last:
                self._unlink(ready["stale"])
            if (new / name).exists():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                rename(new / name, self.path / name, durable=False)
        self._unlink(ready["stale"])
        for folder in {(self.path / name).parent for name in ready["names"]}:
            sync(folder)
        remove(new)
        record["made"][ready["command"]] = sorted(set(record["made"][ready["command"]]) - set(ready["stale"]))
        write_json(self._record, {"made": record["made"]})

    def _unlink(self, names: Iterable[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _read(self) -> Json:
        return _read_record(self._record)

    def _write(self, ready: Json | None = None) -> None:
        made = {**self._read()["made"], self.command: sorted(self.made)}
        write_json(self._record, {"made": made} | ({"ready": {"command": self.command, **ready}} if ready else {}))


def _read_record(file: Path) -> Json:
    """A record, with names below its folder alone; InputError if it is no record."""
    record: Json = {"made": {}} | (read_json(file, _MOVE) if file.is_file() else {})
    try:
        ready = record.get("ready") or {"names": [], "stale": [], "last": "", "command": ""}
        names = [
            *ready["names"],
            *ready["stale"],
            ready["last"],
            *(n for made in record["made"].values() for n in made),
        ]
        if all(isinstance(name, str) and ".." not in PurePosixPath(name).parts and name[:1] != "/" for name in names):
            return record
    except (AttributeError, KeyError, TypeError):
        pass
    raise InputError(str(file), "it is not the record of a folder's files", _MOVE)


@contextmanager
def open_output(
    path: Path, command: str, former: Callable[[Path], Iterable[str]] = lambda _: (), timeout: float = 0
) -> Iterator[OutputFolder]:
    """Make `path` if it is not there, and lock it for `command`; for `former` see `OutputFolder`.

    Args:
        timeout: seconds to wait for another process.

    Raises:
        InputError: another process holds it; the error says which.
        WriteError: it cannot be written.
    """
    with writing(path, "Choose another folder", every_error=True):
        path.mkdir(parents=True, exist_ok=True)
    with locked(path / LOCK, path, "another process is writing to this folder", timeout):
        yield OutputFolder(path, command, former)


@contextmanager
def replacing_output(
    path: Path, command: str, former: Callable[[Path], Iterable[str]] = lambda _: ()
) -> Iterator[Path]:
    """A folder to fill. It replaces the whole folder `path` in one step when the block ends well.

    `path` must be new, empty, or hold nothing but what `command` made there; for `former` see `OutputFolder`.

    Raises:
        InputError: it holds something else, is the current folder or above it, or another process writes it.
    """
    path = path.resolve()
    if Path.cwd().is_relative_to(path):
        raise InputError(str(path), "it is the current folder, or holds it", "Name a new folder")
    with writing(path, "Choose another folder", every_error=True):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}{LOCK}")
    with locked(lock, path, "another process is writing this folder"):
        try:
            _check_whole(path, command, former)
            with replacing_folder(path) as new:
                yield new
                names = sorted(file.relative_to(new).as_posix() for file in new.rglob("*") if not file.is_dir())
                write_json(new / RECORD, {"made": {command: names}})
                _check_whole(path, command, former)  # a file may have come meanwhile
        finally:
            lock.unlink(missing_ok=True)  # it lies among files of others


def _check_whole(path: Path, command: str, former: Callable[[Path], Iterable[str]]) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise InputError(str(path), "it is a file", "Name a folder")
    made = _read_record(path / RECORD)["made"].get(command)
    names = {RECORD, LOCK, *(former(path) if made is None else made)}
    names |= {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    for found in sorted(path.rglob("*")):
        if found.relative_to(path).as_posix() not in names:
            raise InputError(str(found), f"`{command}` did not make it, and would remove it", _MOVE)


@contextmanager
def open_result(file: Path, keys: Iterable[str]) -> Iterator[None]:
    """Keep `file` for a command that writes it in the block. It is new, or holds an earlier result.

    Args:
        file: what the command writes; its folder is made.
        keys: of a result; a file may also have a list of results.

    Raises:
        InputError: the file holds something else, or another process is writing it.
        WriteError: its folder cannot be written.
    """
    with writing(file, "Name another file", every_error=True):
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f".{file.name}{LOCK}")
    with locked(lock, file, "another process is writing this file"):
        try:
            _check_result(file, set(keys))
            yield
        finally:
            lock.unlink(missing_ok=True)  # it lies among files of others


def _check_result(file: Path, keys: set[str]) -> None:
    if not os.path.lexists(file):
        return
    try:
        found = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        found = None
    results = found if isinstance(found, list) else [found]
    if not all(isinstance(result, dict) and keys <= result.keys() for result in results):
        raise InputError(str(file), "it is no earlier result, and would be replaced", "Name another, or move it away")
