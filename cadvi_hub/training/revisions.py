"""The version of what a training reads, so that a card can name it and a resumed run reads it again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from io import SEEK_END
from pathlib import Path
from typing import Literal

from httpx import HTTPError
from huggingface_hub import HfApi

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files


def model_digest(folder: Path) -> str:
    """`sha256:` of the weights and the configuration in the folder of a model."""
    return "sha256:" + digest_of_files(sorted([folder / "config.json", *folder.glob("*.safetensors")]))


def rows_digest(files: Sequence[str]) -> str:
    """`sha256:` of the names, sizes and footers of parquet files.

    A footer has places, sizes and statistics of all columns. To read all pictures again would take minutes.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in files:
        with Path(name).open("rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(max(size - 8, 0))
            length = int.from_bytes(file.read(4), "little")  # of the footer, before the mark PAR1
            file.seek(max(size - 8 - length, 0))
            digest.update(f"{Path(name).name}\0{size}\0".encode() + file.read())
    return f"sha256:{digest.hexdigest()}"


def hub_commit(place: str, repo_id: str, kind: Literal["model", "dataset"], revision: str | None) -> str:
    """The current commit of a branch or tag of a repository (of main if None). A commit is returned as it is.

    Args:
        place: the repository's name in errors.
        repo_id: `owner/name` on the Hub.
        kind: model or data set.
        revision: commit, branch or tag.

    Raises:
        InputError: the Hub does not answer, or does not know the repository or revision.
    """
    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    try:
        commit = HfApi().repo_info(repo_id, repo_type=kind, revision=revision).sha
    except (OSError, ValueError, HTTPError) as error:
        hint = "Fix path and revision; without a network, give the commit itself as revision"
        raise InputError(place, f"it is not a folder, and the Hub does not give its commit ({error})", hint) from error
    return str(commit)
