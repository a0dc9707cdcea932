"""Every reply is kept under the hash of its request, so that a rerun asks nothing twice."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cadvi_hub.errors import InputError
from cadvi_hub.generation import ChatRequest, Failed, Generator, MadeAsRead, OnReply, Reply, request_key

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) WITHOUT ROWID
"""


class ReplyStore:
    """Replies in one SQLite file; several processes may write to it at once.

    Every `put` is a transaction of its own in a write-ahead log: a process killed at any moment loses no reply that
    was put before. (A power cut can lose the last ones; they are asked again.)

    Raises:
        InputError: the file cannot be written, or is no reply store; from every method.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def get(self, key: str) -> Reply | None:
        """The reply kept under `key`."""
        columns = "text, finish_reason, prompt_tokens, completion_tokens"
        rows = self._execute(f"SELECT {columns} FROM replies WHERE key = ?", key)  # noqa: S608
        return Reply(*rows[0]) if rows else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep `reply`; of two replies to one request the first stays."""
        row = (key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)
        self._execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)", *row)

    def __len__(self) -> int:
        return int(self._execute("SELECT COUNT(*) FROM replies")[0][0])

    def close(self) -> None:
        self._database.close()

    def _execute(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:  # a full disk, a file that was made read-only meanwhile
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> InputError:
        mend = "Free some space, or name a file that can be written as the reply store"
        return InputError(str(self.path), f"replies cannot be stored ({error})", mend)


class StoredGenerator:
    """Answers from `store` what it holds, asks `generator` for the rest, and stores each reply as it arrives."""

    def __init__(self, generator: Generator, store: ReplyStore):
        self.generator, self.store = generator, store

    @property
    def name(self) -> str:
        return self.generator.name

    def generate(self, requests: Iterable[ChatRequest], on_reply: OnReply | None = None) -> Iterator[Reply | Failed]:
        waiting: deque[tuple[str, bool]] = deque()  # key of each request read so far, and whether it was stored
        unread = iter(requests)

        def unanswered() -> Iterator[ChatRequest]:
            for request in unread:
                key = request_key(self.name, request)
                stored = self.store.get(key) is not None
                waiting.append((key, stored))
                if not stored:
                    yield request

        def keep(request: ChatRequest, reply: Reply) -> None:
            self.store.put(request_key(self.name, request), reply)
            if on_reply:
                on_reply(request, reply)

        def stored_first() -> Iterator[Reply]:
            while waiting and waiting[0][1]:
                reply = self.store.get(waiting.popleft()[0])
                assert reply is not None, "replies are never deleted"  # noqa: S101
                yield reply

        try:
            for outcome in self.generator.generate(MadeAsRead(unanswered(), unread), keep):
                yield from stored_first()
                waiting.popleft()
                yield outcome
        except InputError as error:
            safe = f"{len(self.store)} replies are safe in {self.store.path}; a rerun goes on from there"
            raise InputError(error.place, error.fault, f"{error.mend}. {safe}") from error
        yield from stored_first()
