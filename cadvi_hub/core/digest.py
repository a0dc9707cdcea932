"""The digest of a source's files, by which a build knows whether they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cadvi_hub.core.errors import InputError

_CHUNK = 1 << 20  # bytes read at a time
_BAR_AFTER = 2.0  # seconds


def digest_of_files(files: Sequence[Path]) -> str:
    """SHA-256 over the contents of `files` in their order; a bar shows how much is read where that takes long.

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
        mend = "Check source.path and source.format"
        raise InputError(str(file), f"cannot be read ({error.strerror})", mend) from error
    return total.hexdigest()
