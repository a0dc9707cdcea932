"""Upload files to a repository on the Hub, in commits of bounded size. Files that are there are not sent again.

This is our own because huggingface_hub's `upload_large_folder` neither deletes stale files nor holds back the card.

Large files are uploaded one by one and committed in batches. The Hub deletes files that no commit names within a day
(20 hours, according to `huggingface_hub`'s resumable upload). So a killed upload continues: committed files are
compared by digest, and the Hub still has those of the last batch. Digests are kept in the Hub client's cache, so that
a rerun does not read a file again whose size and time are the same.

Large files are retried by the Hub's client. Here the calls are retried that it makes only once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, WriteError, write_json

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

CARD = "README.md"
FILES_PER_COMMIT = 50  # as `datasets` does; larger commits time out on the Hub
BUSY = (429, 503, 504)  # what the Hub answers when it is overloaded
TRIES = 6
LONGEST_WAIT = 600  # seconds


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub (HF_ENDPOINT); `private` is used when it is created."""

    repo_id: str
    kind: Literal["dataset", "model"]
    private: bool = False


@dataclass(frozen=True)
class Published:
    """The result of a publication.

    Attributes:
        url: page of the repository.
        commit: id of its newest commit.
        uploaded: new or changed paths.
        unchanged: number of files that the Hub already had.
        deleted: paths of an older publication that the folder no longer has.
        left_out: files of a model folder that are not published.
    """

    url: str
    commit: str
    uploaded: tuple[str, ...]
    unchanged: int
    deleted: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = f"files uploaded {len(self.uploaded)}, unchanged {self.unchanged}, deleted {len(self.deleted)}"
        return f"{self.url}: {counts}; commit {self.commit}"


def upload(
    repository: Repository,
    contents: Mapping[str, Path | bytes],
    is_ours: Callable[[str], bool],
    unfinished_card: str | None = None,
    digests: Mapping[str, str] | None = None,
) -> Published:
    """Upload `contents`, and delete the other files for which `is_ours` is true. Nothing is committed twice.

    Args:
        contents: path in the repository → file or bytes.
        is_ours: whether a path that `contents` lacks may be deleted. An InputError from it ends the upload before
            anything is changed.
        unfinished_card: README.md during an upload of several commits; the last commit brings that of `contents`.
        digests: path in the repository → SHA-256 that was recorded when the file was written.

    Raises:
        InputError: a file has another digest than it should, the Hub refuses, or the connection is lost.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile
    from tqdm import tqdm

    api, repo_id, kind = HfApi(library_name="cadvi-hub"), repository.repo_id, repository.kind
    with hub_faults(f"{kind} {repo_id} on {api.endpoint}"):
        kept = _Digests()
        read: dict[str, CommitOperationAdd] = {}
        for path, content in tqdm(contents.items(), desc="read what changed", unit="file", disable=None):
            sha256 = kept.of(content)
            if sha256 is None:
                read[path] = CommitOperationAdd(path, content)
                sha256 = read[path].upload_info.sha256.hex()
                kept.keep(content, sha256)
            _check_digest(content, sha256, (digests or {}).get(path))
        kept.save()
        url = patiently(lambda: api.create_repo(repo_id, repo_type=kind, private=repository.private, exist_ok=True))
        head = patiently(lambda: api.repo_info(repo_id, repo_type=kind)).sha
        listing = patiently(lambda: list(api.list_repo_tree(repo_id, repo_type=kind, recursive=True, revision=head)))
        there = {entry.path: entry for entry in listing if isinstance(entry, RepoFile)}
        stale = sorted(path for path in there if is_ours(path) and path not in contents)
        changed = []
        for path, content in contents.items():
            lfs = there[path].lfs if path in there else None
            if lfs is not None and lfs.sha256 == kept.of(content):
                continue
            addition = read.get(path) or CommitOperationAdd(path, content)
            if not _is_there(addition, there.get(path)):
                changed.append(addition)
        changed.sort(key=lambda addition: addition.path_in_repo == CARD)  # the card comes last
        operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(path) for path in stale]
        operations += changed
        starts = range(0, len(operations), FILES_PER_COMMIT)
        batches = [operations[start : start + FILES_PER_COMMIT] for start in starts]
        if len(batches) > 1 and unfinished_card is not None:
            notice = CommitOperationAdd(CARD, unfinished_card.encode())
            if not _is_there(notice, there.get(CARD)):
                batches.insert(0, [notice])
        size = sum(addition.upload_info.size for addition in changed)
        with tqdm(desc=f"upload to {repo_id}", total=size, unit="B", unit_scale=True, disable=None) as bar:
            for batch in batches:
                for operation in batch:
                    if isinstance(operation, CommitOperationAdd):
                        _send(api, repository, operation)
                        bar.update(operation.upload_info.size)
                message = f"Publish {len(contents)} files with cadvi-hub"
                head = patiently(_Commit(api, repository, batch, message, str(head)))
    uploaded = tuple(addition.path_in_repo for addition in changed)
    return Published(str(url), str(head), uploaded, len(contents) - len(changed), tuple(stale))


def patiently(call: Callable[[], Result]) -> Result:
    """What `call` returns, called again where the Hub is busy, after the time that it asks for (`Retry-After`).

    Raises:
        HfHubHTTPError: another answer than those of `BUSY`, the last of `TRIES`, or a time above `LONGEST_WAIT`.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    for attempt in range(1, TRIES + 1):
        try:
            return call()
        except HfHubHTTPError as error:
            headers, status = error.response.headers, error.response.status_code
            limit = parse_ratelimit_headers(headers)
            asked = str(headers.get("Retry-After") or (limit.reset_in_seconds if limit else ""))
            wait = int(asked) + 1 if asked.isdecimal() else 2**attempt  # a second more: the Hub rounds
            if status not in BUSY or attempt == TRIES or wait > LONGEST_WAIT:
                raise
            logger.warning("the Hub is busy (%d): again in %d s (%d of %d)", status, wait, attempt, TRIES - 1)
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _send(api: HfApi, repository: Repository, addition: CommitOperationAdd) -> None:
    patiently(
        lambda: api.preupload_lfs_files(repository.repo_id, [addition], repo_type=repository.kind, free_memory=False)
    )


@dataclass
class _Commit:
    """A commit on `parent` that is made once, even if the Hub made it and then answered that it is busy."""

    api: HfApi
    repository: Repository
    operations: list[CommitOperationAdd | CommitOperationDelete]
    message: str
    parent: str
    is_retry: bool = False

    def __call__(self) -> str:
        """The id of the commit."""
        repo_id, kind = self.repository.repo_id, self.repository.kind
        if self.is_retry and self.api.repo_info(repo_id, repo_type=kind).sha != self.parent:
            newest, *before = self.api.list_repo_commits(repo_id, repo_type=kind)
            if newest.title == self.message and before and before[0].commit_id == self.parent:
                return str(newest.commit_id)
        self.is_retry = True
        made = self.api.create_commit(
            repo_id, self.operations, commit_message=self.message, repo_type=kind, parent_commit=self.parent
        )
        return str(made.oid)


class _Digests:
    """SHA-256 of local files, kept in the Hub client's cache with their size and time."""

    def __init__(self) -> None:
        from huggingface_hub import cached_assets_path

        self._file = cached_assets_path("cadvi-hub", namespace="uploads") / "digests.json"
        try:
            self._known: Json = dict(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, TypeError):
            self._known = {}  # it is a cache

    def of(self, content: Path | bytes) -> str | None:
        """The digest of a file that has not changed since it was read; otherwise None."""
        if isinstance(content, bytes):
            return None
        *state, sha256 = self._known.get(str(content.absolute()), [None])
        return sha256 if state == _state(content) else None

    def keep(self, content: Path | bytes, sha256: str) -> None:
        """Keep the digest that was just computed."""
        if isinstance(content, Path):
            self._known[str(content.absolute())] = [*_state(content), sha256]

    def save(self) -> None:
        """Write what is known, without files that are gone."""
        try:
            write_json(self._file, {path: known for path, known in self._known.items() if Path(path).is_file()})
        except WriteError as error:
            logger.warning("%s: the next upload reads all files again", error)


def _state(file: Path) -> list[int]:
    """What changes when a file is written."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _check_digest(content: Path | bytes, sha256: str, expected: str | None) -> None:
    """Raise InputError if the file was changed since its digest was recorded."""
    if expected is not None and sha256 != expected:
        hint = "Build it again with --verify true, which finds what is damaged, then publish"
        raise InputError(str(content), "its content is not what was built (other SHA-256)", hint)


def _is_there(addition: CommitOperationAdd, there: RepoFile | None) -> bool:
    """Whether the Hub's file has the same digest. Large files are streamed."""
    from huggingface_hub.utils.sha import git_hash

    if there is None or there.size != addition.upload_info.size:
        return False
    if there.lfs is not None:
        return there.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        return there.blob_id == git_hash(file.read())


def check_repo_id(repo_id: str) -> None:
    """Raise InputError unless `repo_id` is a valid `owner/name`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(repr(repo_id), "it is not a valid repository name", "Write it as owner/name") from error
    if "/" not in repo_id:
        raise InputError(repr(repo_id), "it has no owner", "Write it as owner/name")


@contextmanager
def hub_faults(place: str) -> Iterator[None]:
    """Turn errors of the Hub's clients into an InputError that names `place` and does not show the token."""
    import httpx
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except InputError:
        raise
    except OfflineModeIsEnabled as error:
        raise InputError(place, "offline mode is on", "Unset HF_HUB_OFFLINE") from error
    except (httpx.HTTPError, RuntimeError, OSError) as error:  # uploads wrap their errors in a RuntimeError
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        if isinstance(cause, OSError) and cause.filename:  # a local file; network errors have no filename
            hint = "Let the build finish, and run it again"
            raise InputError(str(cause.filename), f"it cannot be read ({cause.strerror})", hint) from error
        detail = " ".join(str(cause).split()).replace(get_token() or "\0", "…")
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
        again = "Run it again: finished uploads are kept"
        problem, hint = {
            None: (f"the connection was lost ({detail})", again),
            401: ("the Hub refuses the token", "Set HF_TOKEN or run `hf auth login`, with a token that may write"),
            403: (f"the token may not write there ({detail})", "Check the owner, or use a token with write access"),
            404: ("no such repository", "Check its name, and that the token may read it"),
            409: ("somebody else is changing it", again),
            412: ("somebody else changed it during the upload", again),
        }.get(status, (f"the Hub answered {status} ({detail})", again))
        raise InputError(place, problem, hint) from error
