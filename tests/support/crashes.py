"""A process that dies before it changes a name on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core import files

CHANGES = [(Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (os, "rename"), (os, "rmdir"), (os, "unlink")]


class DiedError(BaseException):
    """The process is killed here."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, after: int, below: Path) -> Iterator[None]:
    """Die before change number `after` of a name below the folder `below` or beside it, and before every later one."""
    left = after

    def fatal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            counts = kwargs.get("dir_fd") is not None or str(args[0]).startswith(str(below.parent))
            if counts and left <= 0:
                raise DiedError(f"{function.__name__}{args}")
            left -= counts
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for owner, name in CHANGES:
            patch.setattr(owner, name, fatal(getattr(owner, name)))
        patch.setattr(files, "exchange", fatal(files.exchange))
        yield


def shown(folder: Path) -> dict[str, bytes]:
    """Name → content of the files below a folder, without the hidden ones."""
    found = [file for file in folder.rglob("*") if file.is_file()]
    names = {file.relative_to(folder): file for file in found}
    return {
        name.as_posix(): file.read_bytes()
        for name, file in sorted(names.items())
        if not any(part.startswith(".") for part in name.parts)
    }
