"""Which version of a repository a training reads: a card can name it, and a resumed run reads the same again."""

from __future__ import annotations

import re
from typing import Literal

from httpx import HTTPError
from huggingface_hub import HfApi

from cadvi_hub.core.errors import InputError


def hub_commit(place: str, repo_id: str, kind: Literal["model", "dataset"], revision: str | None) -> str:
    """The commit that a branch or tag of a repository stands at now (main if none); a commit is itself, unasked.

    Args:
        place: what an error calls the repository.
        repo_id: `owner/name` on the Hub.
        kind: of the repository.
        revision: commit, branch or tag.

    Raises:
        InputError: the Hub does not answer, or knows no such repository or revision.
    """
    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    try:
        commit = HfApi().repo_info(repo_id, repo_type=kind, revision=revision).sha
    except (OSError, ValueError, HTTPError) as error:
        hint = "Fix path and revision; without a network, give the commit itself as revision"
        raise InputError(place, f"it is no folder, and the Hub does not tell its commit ({error})", hint) from error
    return str(commit)
