"""The version of a repository that a training reads, so that a card can name it and a resumed run reads it again."""

from __future__ import annotations

import re
from typing import Literal

from httpx import HTTPError
from huggingface_hub import HfApi

from cadvi_hub.core.errors import InputError


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
