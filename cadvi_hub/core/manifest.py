"""Manifests: the size and the SHA-256 of every file that a folder should have, to find damaged and missing ones."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

from cadvi_hub.core.errors import InputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Entry(TypedDict):
    """What a manifest says about one file."""

    bytes: int
    sha256: str


Manifest = dict[str, Entry]  # name of the file, relative to the folder, with / between parts


def entry_of(file: Path) -> Entry:
    """Size and digest of `file`, which is read once.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})", "Check the disk") from error


class Digesting(io.RawIOBase):
    """Writes to `file` and digests what passes, so that nobody has to read a large file again for its entry."""

    def __init__(self, file: IO[bytes]):
        self._file, self._sha256, self._bytes = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        self._sha256.update(data)
        written = self._file.write(data)
        self._bytes += written
        return written

    def entry(self) -> Entry:
        """Size and digest of what was written so far."""
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}


def manifest_of(folder: Path, files: Iterable[Path] | None = None) -> Manifest:
    """The manifest of `files` in `folder`; by default of every file in it, sub-folders included."""
    chosen = files if files is not None else (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): entry_of(path) for path in sorted(chosen)}


def damage(folder: Path, manifest: Any, *, digests: bool = False) -> Iterator[str]:
    """What is wrong with the files of `folder`, file by file; nothing if they are as `manifest` says.

    Args:
        folder: where the files are.
        manifest: a manifest that was read from a file; damage of its own is found, too.
        digests: whether to compare the contents, too, for which every file is read.
    """
    if not isinstance(manifest, Mapping):
        yield "its manifest is damaged"
        return
    for name, entry in manifest.items():
        file = folder / name
        if not (isinstance(entry, Mapping) and entry.keys() >= Entry.__annotations__.keys()):
            yield f"the manifest's entry of {name} is damaged"
        elif not file.is_file():
            yield f"{name} is missing"
        elif (size := file.stat().st_size) != entry["bytes"]:
            yield f"{name} has {size} bytes instead of {entry['bytes']}"
        elif digests and entry_of(file)["sha256"] != entry["sha256"]:
            yield f"{name} has other contents than when it was written"
