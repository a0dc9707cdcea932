"""The storage of the loopback Hub: repositories, their commits, and every file's content once, by its SHA-256.

Contents are in `ROOT/contents/<sha256>`, everything else in `ROOT/repositories.json`. A Hub that is started again on
the same folder continues with them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cadvi_hub.core.files import replacing

LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".pt", ".gguf", ".png", ".jpg", ".zip", ".gz")
LFS_BYTES = 10 * 2**20
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)


class HubError(Exception):
    """A refused request: HTTP status, message, the `X-Error-Code` that clients read, more JSON in `details`."""

    def __init__(self, status: int, message: str, code: str | None = None, **details: str):
        super().__init__(message)
        self.status, self.message, self.code, self.details = status, message, code, details


@dataclass(frozen=True)
class StoredFile:
    """One file of a commit; `oid` is git's blob id (of the pointer file when `lfs`), `size` is in bytes."""

    sha256: str
    oid: str
    size: int
    lfs: bool

    @classmethod
    def of(cls, sha256: str, data: bytes | None, size: int) -> StoredFile:
        """A regular file if its `data` is given, otherwise an LFS file with this digest and size."""
        blob = data
        if blob is None:
            blob = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        oid = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()  # noqa: S324 git's own digest
        return cls(sha256, oid, size, lfs=data is None)

    def listing(self, path: str) -> dict[str, Any]:
        """The entry of this file in a tree listing."""
        entry: dict[str, Any] = {"type": "file", "path": path, "oid": self.oid, "size": self.size}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return entry


@dataclass
class Commit:
    """A snapshot of all files."""

    sha: str
    parent: str | None
    title: str
    date: str
    files: dict[str, StoredFile]


@dataclass
class Repository:
    """One model, dataset or space; `branches` and `tags` map names to commit ids."""

    kind: str
    repo_id: str
    private: bool
    created: str
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def commit(self, revision: str) -> Commit:
        """The commit of a branch, tag or commit id."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        """Commits from `revision` back to the first."""
        commits = [self.commit(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits


class HubStore:
    """All repositories below one folder. Every change is on the disk before it is answered."""

    def __init__(self, root: Path):
        self.contents = root / "contents"
        self.contents.mkdir(parents=True, exist_ok=True)
        self.index = root / "repositories.json"
        self.lock = threading.RLock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        if self.index.exists():
            for row in json.loads(self.index.read_text()):
                for commit in row["commits"].values():
                    commit["files"] = {path: StoredFile(**file) for path, file in commit["files"].items()}
                row["commits"] = {sha: Commit(**commit) for sha, commit in row["commits"].items()}
                self.repositories[row["kind"], row["repo_id"]] = Repository(**row)

    def save(self) -> None:
        """Write the index."""
        with self.lock:
            content = json.dumps([asdict(repo) for repo in self.repositories.values()])
            with replacing(self.index, durable=False) as file:  # for trials and tests
                file.write(content.encode())

    def put(self, data: bytes) -> str:
        """Store `data`; returns its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.lock, replacing(self.contents / sha256, durable=False) as file:
            file.write(data)
        return sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether complete content of that digest and size is stored."""
        path = self.contents / sha256
        return path.is_file() and path.stat().st_size == size

    def read(self, file: StoredFile) -> bytes:
        """The content of `file`."""
        return (self.contents / file.sha256).read_bytes()

    def create(self, kind: str, repo_id: str, private: bool) -> Repository:
        """A new repository with its first commit; `kind` is models, datasets or spaces."""
        with self.lock:
            repo = Repository(kind, repo_id, private, now())
            self.repositories[kind, repo_id] = repo
            attributes = GITATTRIBUTES.encode()
            first = {".gitattributes": StoredFile.of(self.put(attributes), attributes, len(attributes))}
            self._append(repo, "main", first, "initial commit")
            return repo

    def _append(self, repo: Repository, branch: str, files: dict[str, StoredFile], title: str) -> Commit:
        parent = repo.branches.get(branch)
        content = [parent, title, len(repo.commits), sorted((path, file.oid) for path, file in files.items())]
        sha = hashlib.sha1(json.dumps([repo.kind, repo.repo_id, repo.created, content]).encode()).hexdigest()  # noqa: S324
        repo.commits[sha] = Commit(sha, parent, title, now(), files)
        repo.branches[branch] = sha
        self.save()
        return repo.commits[sha]

    def commit(self, repo: Repository, branch: str, title: str, parent: str | None, changes: list[Change]) -> Commit:
        """Apply all `changes` to the head of `branch`, or none.

        Raises:
            HubError: 412 if the head is no longer `parent`, 400 for LFS content that was never uploaded.
        """
        with self.lock:
            head = repo.commit(branch)
            if parent and not head.sha.startswith(parent):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(head.files)
            for change in changes:
                if change.deleted:
                    folder = change.path.rstrip("/") + "/"
                    gone = [path for path in files if path == change.path or path.startswith(folder)]
                    files = {path: file for path, file in files.items() if path not in gone}
                elif change.data is not None:
                    files[change.path] = StoredFile.of(self.put(change.data), change.data, len(change.data))
                elif self.holds(change.sha256, change.size):
                    files[change.path] = StoredFile.of(change.sha256, None, change.size)
                else:
                    raise HubError(400, f"LFS object {change.sha256} of {change.path} was never uploaded")
            return self._append(repo, branch, files, title)

    def card(self, commit: Commit) -> dict[str, Any]:
        """The metadata of a commit's README.md."""
        readme = commit.files.get("README.md")
        return card_metadata(self.read(readme).decode("utf-8", "replace")) if readme else {}


@dataclass(frozen=True)
class Change:
    """One line of a commit: regular `data`, an LFS object by `sha256` and `size`, or a deleted file or folder."""

    path: str
    data: bytes | None = None
    sha256: str = ""
    size: int = 0
    deleted: bool = False


def card_metadata(text: str) -> dict[str, Any]:
    """The YAML between the `---` lines that a card starts with.

    Raises:
        HubError: 400 if it is not a YAML mapping.
    """
    lines = text.splitlines()
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        return {}
    try:
        metadata = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))
    except yaml.YAMLError as error:
        raise HubError(400, f"Invalid metadata in README.md: {error}") from error
    if not isinstance(metadata, dict | None):
        raise HubError(400, "Invalid metadata in README.md: not a mapping")
    return metadata or {}


def now() -> str:
    """The time as the Hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
