"""Every reply is kept under the hash of its request, so that a rerun asks nothing twice."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cadvi_hub.errors import InputError
from cadvi_hub.generation import ChatRequest, Failed, Generator, MadeAsRead, OnReplies, Reply, request_key

STORED_AHEAD = 10_000  # stored replies that may wait for one that is asked for; some 10 MB

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) WITHOUT ROWID
"""
_SELECT = "SELECT text, finish_reason, prompt_tokens, completion_tokens FROM replies WHERE key = ?"
_INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)"
_T = TypeVar("_T")


class ReplyStore:
    """Replies in one SQLite file; several processes, and several threads of one, may use it at once.

    Every `put` is a transaction of its own in a write-ahead log: a process killed at any moment loses no reply that
    was put before. (A power cut can lose the last ones; they are asked again.)

    Raises:
        InputError: the file cannot be written, or is no reply store; from every method.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._use(self._open)

    def get(self, key: str) -> Reply | None:
        """The reply kept under `key`."""
        row = self._use(lambda: self._database.execute(_SELECT, (key,)).fetchone())
        return Reply(*row) if row else None

    def put(self, replies: Mapping[str, Reply]) -> None:
        """Keep all `replies` under their keys, or none of them; of two replies to one request the first stays."""
        rows = [
            (key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)
            for key, reply in replies.items()
        ]

        def write() -> None:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(_INSERT, rows)

        self._use(write)

    def __len__(self) -> int:
        return int(self._use(lambda: self._database.execute("SELECT COUNT(*) FROM replies").fetchone()[0]))

    def close(self) -> None:
        self._database.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(_TABLE)

    def _use(self, work: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                return work()
        except (OSError, sqlite3.Error) as error:  # a full disk, a file that was made read-only meanwhile
            mend = "Free some space, or name a file that can be written as the reply store"
            raise InputError(str(self.path), f"replies cannot be stored ({error})", mend) from error


class StoredGenerator:
    """Answers from `store` what it holds, asks `generator` for the rest, and stores each reply as it arrives."""

    def __init__(self, generator: Generator, store: ReplyStore):
        self.generator, self.store = generator, store

    @property
    def name(self) -> str:
        return self.generator.name

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        unread = iter(requests)
        try:
            for request in unread:
                key, stored = self._look_up(request)
                if stored:
                    yield stored
                else:  # reads on in `unread`
                    yield from self._ask(key, request, unread, on_replies)
        except InputError as error:
            safe = f"{len(self.store)} replies are safe in {self.store.path}; a rerun goes on from there"
            raise InputError(error.place, error.fault, f"{error.mend}. {safe}") from error

    def _look_up(self, request: ChatRequest) -> tuple[str, Reply | None]:
        key = request_key(self.name, request)
        return key, self.store.get(key)

    def _ask(
        self, key: str, request: ChatRequest, unread: Iterator[ChatRequest], on_replies: OnReplies | None
    ) -> Iterator[Reply | Failed]:
        """Outcomes of `request`, which is not stored, and of what follows it, in order.

        Ends before `unread` does once many stored replies wait behind one that is asked for.
        """
        keys = {0: key}  # of what the engine was asked and has not answered, by the number that it has there
        waiting: deque[Reply | None] = deque([None])  # per request read and not yielded: its reply, if it was stored
        stored_waiting = 0

        def unstored() -> Iterator[ChatRequest]:
            nonlocal stored_waiting
            yield request
            asked = 1
            for following in unread:
                key, stored = self._look_up(following)
                waiting.append(stored)
                if stored is None:
                    keys[asked] = key
                    asked += 1
                    yield following
                else:
                    stored_waiting += 1
                    if stored_waiting == STORED_AHEAD:
                        return

        def stored_first() -> Iterator[Reply]:
            nonlocal stored_waiting
            while waiting and (stored := waiting[0]) is not None:
                waiting.popleft()
                stored_waiting -= 1
                yield stored

        def keep(replies: Sequence[tuple[int, Reply]]) -> None:
            self.store.put({keys[number]: reply for number, reply in replies})
            if on_replies:
                on_replies(replies)

        for number, outcome in enumerate(self.generator.generate(MadeAsRead(unstored(), unread), keep)):
            yield from stored_first()
            waiting.popleft()
            # What a rerun will give: another process may have been first, or an equal request of this one.
            yield self.store.get(keys.pop(number)) or outcome
        yield from stored_first()
