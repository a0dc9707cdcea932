"""The file that keeps every reply, with a checksum, under the hash of its request."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import Ranking, Reply
from cadvi_hub.generation.identity import Facts

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    checksum TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rankings (key TEXT PRIMARY KEY, ranking TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS served (name TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "key, text, finish_reason, prompt_tokens, completion_tokens, ranking, checksum"
_FROM = "FROM replies LEFT JOIN rankings USING (key)"
_SELECT = f"SELECT {_COLUMNS} {_FROM} WHERE key = ?"
_INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_RANKING = "INSERT OR IGNORE INTO rankings VALUES (?, ?)"
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")
_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class ReplyStore:
    """Replies in one SQLite file; several processes, and several threads of one, may use it at once.

    Every `put` is its own transaction in a write-ahead log: a process that is killed at any moment loses no reply that
    it has put. A power cut can lose the last ones; they are asked again. Each reply has a checksum. One that does not
    match is forgotten, and asked again; replies of older versions have none.

    Raises:
        InputError: the file cannot be written, is damaged, or is not a reply store; from every method.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._damaged = 0
        self._use(self._open)

    def get(self, key: str) -> Reply | None:
        """The reply stored under `key`."""
        row = self._use(lambda: self._database.execute(_SELECT, (key,)).fetchone())
        if row is None:
            return None
        if (reply := _reply(row)) is None:
            self._damaged += 1
            if self._damaged == 1:
                logger.warning("%s: a stored reply is damaged; such replies are asked again", self.path)
            self.forget(key)
        return reply

    def put(self, replies: Mapping[str, Reply]) -> None:
        """Store all `replies` under their keys, or none of them; of two replies to one request the first stays."""
        rows, rankings = [], []
        for key, reply in replies.items():
            ranking = json.dumps(asdict(reply.ranking)) if reply.ranking else None
            values = (key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)
            rows.append((*values, _checksum(*values, ranking)))
            rankings += [(key, ranking)] if ranking else []

        def write() -> None:
            self._database.executemany(_INSERT, rows)
            self._database.executemany(_INSERT_RANKING, rankings)
            self._database.executemany("DELETE FROM claims WHERE key = ?", [(key,) for key in replies])

        self._write(write)

    def forget(self, key: str) -> None:
        """Remove the reply stored under `key`."""

        def write() -> None:
            self._database.execute("DELETE FROM replies WHERE key = ?", (key,))
            self._database.execute("DELETE FROM rankings WHERE key = ?", (key,))

        self._write(write)

    def claim(self, key: str, owner: str) -> str:
        """Claim the request `key` for `owner`, unless somebody else has; returns the owner (`claims.py`)."""

        def write() -> str:
            while True:  # a single statement is a transaction of its own, at half the cost
                query = "INSERT OR IGNORE INTO claims VALUES (?, ?)"
                if self._database.execute(query, (key, owner)).rowcount == 1:
                    return owner
                row = self._database.execute("SELECT owner FROM claims WHERE key = ?", (key,)).fetchone()
                if row:
                    return str(row[0])

        return self._use(write)

    def release(self, owner: str, key: str | None = None) -> None:
        """Give up the claim of `owner` to `key`, or all its claims."""
        query = "DELETE FROM claims WHERE owner = ? AND key = coalesce(?, key)"
        self._write(lambda: self._database.execute(query, (owner, key)))

    def served(self, name: str, facts: Facts | None) -> Facts:
        """What the endpoint of model `name` says about it; where it says nothing now (None), what it said last."""
        if facts is not None:
            text = json.dumps(facts, sort_keys=True)
            self._write(lambda: self._database.execute("INSERT OR REPLACE INTO served VALUES (?, ?)", (name, text)))
            return facts
        row = self._use(lambda: self._database.execute("SELECT facts FROM served WHERE name = ?", (name,)).fetchone())
        known: Facts = json.loads(row[0]) if row else {}
        return known

    def __len__(self) -> int:
        return int(self._use(lambda: self._database.execute("SELECT COUNT(*) FROM replies").fetchone()[0]))

    def close(self) -> None:
        self._database.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = connect(self.path)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_TABLES)
        if "checksum" not in {row[1] for row in self._database.execute("PRAGMA table_info(replies)")}:
            self._database.execute("ALTER TABLE replies ADD COLUMN checksum TEXT")

    def _write(self, work: Callable[[], _T]) -> _T:
        """One transaction."""

        def write() -> _T:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN IMMEDIATE")
                return work()

        return self._use(write)

    def _use(self, work: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                return work()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:  # such as a full disk, or a damaged name
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> InputError:
        """The error for the user: a damaged file, a full disk, or a place that cannot be written."""
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith(_DAMAGED) or isinstance(error, UnicodeDecodeError):
            left = sum(1 for _ in readable_replies(self.path))
            saving = f"`cadvi replies recover --store {self.path} --out NEW` saves its {left} readable replies, or "
            problem = f"it is damaged, or no reply store ({error})"
            return InputError(str(self.path), problem, f"{saving if left else ''}name another reply store")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return InputError(str(self.path), f"replies cannot be stored ({error})", "Wait for the other process")
        hint = "Free some space, or name a file that can be written as the reply store"
        return InputError(str(self.path), f"replies cannot be stored ({error})", hint)


def connect(path: Path) -> sqlite3.Connection:
    """The database of a reply store; text that is not UTF-8, as flipped bits leave it, is read with replacements."""
    database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    return database


def readable_replies(path: Path) -> Iterator[tuple[str, Reply]]:
    """What can still be read of a damaged reply store, in parts of it, from both ends: key and reply, each once.

    A reply without a checksum, of an older version, counts as readable.
    """
    bounds = ["", *(f"{number:02x}" for number in range(1, 256)), "\U0010ffff"]
    try:
        database = connect(path)
        checksum = {row[1] for row in database.execute("PRAGMA table_info(replies)")} >= {"checksum"}
        columns = _COLUMNS if checksum else _COLUMNS.replace("checksum", "NULL")
    except (sqlite3.Error, UnicodeDecodeError):
        return
    for low, high in pairwise(bounds):
        seen: set[str] = set()
        for order in ("", " DESC"):
            for source in (f"{columns} {_FROM}", f"{columns.replace('ranking', 'NULL')} FROM replies"):
                query = f"SELECT {source} WHERE key >= ? AND key < ? ORDER BY key{order}"
                for row in _until_damage(database, query, (low, high)):
                    if row[0] not in seen and (reply := _reply(row)) is not None:
                        seen.add(row[0])
                        yield row[0], reply
    database.close()


def _until_damage(database: sqlite3.Connection, query: str, values: Collection[str]) -> Iterator[Any]:
    try:
        yield from database.execute(query, tuple(values))
    except (sqlite3.Error, UnicodeDecodeError):
        return


def _reply(row: tuple[Any, ...]) -> Reply | None:
    """The reply in a row of `_COLUMNS`; None if it is damaged."""
    *values, checksum = row
    if checksum is not None and checksum != _checksum(*values):
        return None
    _, text, finish_reason, prompt_tokens, completion_tokens, ranking = values
    try:
        read = _ranking(**json.loads(ranking)) if ranking else None
    except (ValueError, TypeError):
        return None
    return Reply(text, finish_reason, prompt_tokens, completion_tokens, read)


def _checksum(*values: Any) -> str:
    """Of a row without its checksum."""
    content = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _ranking(logprobs: list[float], greedy: list[bool], tokens: list[list[int]]) -> Ranking:
    return Ranking(tuple(logprobs), tuple(greedy), tuple(map(tuple, tokens)))
