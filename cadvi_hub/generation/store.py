"""Every reply is stored under the hash of its request, so that a rerun asks nothing twice."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import (
    ChatRequest,
    Failed,
    Generator,
    MadeAsRead,
    OnReplies,
    Ranking,
    Reply,
    request_key,
)

UNASKED_AHEAD = 10_000  # stored replies that may wait for one that is being asked; about 10 MB

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rankings (key TEXT PRIMARY KEY, ranking TEXT NOT NULL) WITHOUT ROWID;
"""
_SELECT = """
SELECT text, finish_reason, prompt_tokens, completion_tokens, ranking FROM replies
LEFT JOIN rankings USING (key) WHERE key = ?
"""
_INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?)"
_INSERT_RANKING = "INSERT OR IGNORE INTO rankings VALUES (?, ?)"
_T = TypeVar("_T")


class ReplyStore:
    """Replies in one SQLite file; several processes, and several threads of one, may use it at once.

    Every `put` is its own transaction in a write-ahead log: a process that is killed at any moment loses no reply that
    it has put. A power cut can lose the last ones; they are asked again.

    Raises:
        InputError: the file cannot be written, or is not a reply store; from every method.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._use(self._open)

    def get(self, key: str) -> Reply | None:
        """The reply stored under `key`."""
        row = self._use(lambda: self._database.execute(_SELECT, (key,)).fetchone())
        if row is None:
            return None
        text, finish_reason, prompt_tokens, completion_tokens, ranking = row
        read = _ranking(**json.loads(ranking)) if ranking else None
        return Reply(text, finish_reason, prompt_tokens, completion_tokens, read)

    def put(self, replies: Mapping[str, Reply]) -> None:
        """Store all `replies` under their keys, or none of them; of two replies to one request the first stays."""
        rows = [
            (key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)
            for key, reply in replies.items()
        ]
        rankings = [(key, json.dumps(asdict(reply.ranking))) for key, reply in replies.items() if reply.ranking]

        def write() -> None:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(_INSERT, rows)
                self._database.executemany(_INSERT_RANKING, rankings)

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
        self._database.executescript(_TABLES)

    def _use(self, work: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                return work()
        except (OSError, sqlite3.Error) as error:  # such as a full disk, or a file that is read-only now
            hint = "Free some space, or name a file that can be written as the reply store"
            raise InputError(str(self.path), f"replies cannot be stored ({error})", hint) from error


def _ranking(logprobs: list[float], greedy: list[bool], tokens: list[list[int]]) -> Ranking:
    return Ranking(tuple(logprobs), tuple(greedy), tuple(map(tuple, tokens)))


@dataclass(slots=True)
class _Awaited:
    """A request that is read but not answered yet; equal requests under way share one."""

    key: str
    outcome: Reply | Failed | None


class StoredGenerator:
    """Answers what `store` holds, asks `generator` for the rest, and stores each reply as it arrives.

    A request that equals one under way is not asked again: both get the same outcome.
    """

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
                awaited = self._look_up(request_key(self.name, request))
                if awaited.outcome:
                    yield awaited.outcome
                else:  # reads on in `unread`
                    yield from self._ask(awaited, request, unread, on_replies)
        except InputError as error:
            safe = f"{len(self.store)} replies are safe in {self.store.path}; a rerun goes on from there"
            raise InputError(error.where, error.problem, f"{error.hint}. {safe}") from error

    def _look_up(self, key: str) -> _Awaited:
        return _Awaited(key, self.store.get(key))

    def _ask(
        self, first: _Awaited, request: ChatRequest, unread: Iterator[ChatRequest], on_replies: OnReplies | None
    ) -> Iterator[Reply | Failed]:
        """Outcomes of `request`, which is not stored, and of the requests after it, in order.

        Ends before `unread` does once many stored replies wait for one that is being asked.
        """
        asked = {0: first}  # what the engine has not answered, by its number there
        under_way = {first.key: first}
        waiting = deque([first])  # read but not yielded

        def unstored() -> Iterator[ChatRequest]:
            yield request
            number = 1
            for following in unread:
                key = request_key(self.name, following)
                awaited = under_way.get(key) or self._look_up(key)
                waiting.append(awaited)
                if awaited.outcome is None and key not in under_way:
                    asked[number] = under_way[key] = awaited
                    number += 1
                    yield following
                elif len(waiting) - len(asked) == UNASKED_AHEAD:
                    return

        def ready() -> Iterator[Reply | Failed]:
            while waiting and (outcome := waiting[0].outcome):
                waiting.popleft()
                yield outcome

        def keep(replies: Sequence[tuple[int, Reply]]) -> None:
            self.store.put({asked[number].key: reply for number, reply in replies})
            if on_replies:
                on_replies(replies)

        for number, outcome in enumerate(self.generator.generate(MadeAsRead(unstored(), unread), keep)):
            answered = asked.pop(number)
            del under_way[answered.key]
            # What a rerun will return: another process may have been first.
            answered.outcome = self.store.get(answered.key) or outcome
            yield from ready()
        yield from ready()
