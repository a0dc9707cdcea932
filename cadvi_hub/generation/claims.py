"""Which requests are being asked, and by which process, so that processes that share a reply store ask each once."""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.locks import locked

OWNER = uuid.uuid4().hex  # of this process: what it asks twice itself, it does not wait for
_lives: dict[Path, tuple[int, ExitStack]] = {}  # the locks that say that this process lives, each with its users
_guard = threading.Lock()


class ClaimTable(Protocol):
    """Where claims are written: a reply store."""

    path: Path

    def claim(self, key: str, owner: str) -> str:
        """Claim `key`, unless somebody else has; returns the owner."""
        ...

    def release(self, owner: str, key: str | None = None) -> None:
        """Give up the claim of `owner` to `key`, or all its claims."""
        ...


class Claims:
    """The claims of one run of requests. A process that is killed loses its claims: its lock is free then."""

    def __init__(self, table: ClaimTable):
        self._table, self._mine = table, set[str]()
        self._lives = False

    def take(self, key: str) -> bool:
        """Whether this process may ask the request `key`; False while another process that lives asks it."""
        self._live()
        while (owner := self._table.claim(key, OWNER)) != OWNER:
            if self._is_alive(owner):
                return False
            self._table.release(owner)
        self._mine.add(key)
        return True

    def release(self, key: str) -> None:
        """Give up a claim whose request got no reply; a reply that is stored ends the claim by itself."""
        if key in self._mine:
            self._mine.discard(key)
            self._table.release(OWNER, key)

    def answered(self, key: str) -> None:
        """The reply to `key` is stored."""
        self._mine.discard(key)

    def close(self) -> None:
        """Give up all claims of this run."""
        for key in list(self._mine):
            self.release(key)
        if self._lives:
            self._lives = False
            with _guard:
                users, stack = _lives[self._table.path]
                if users > 1:
                    _lives[self._table.path] = users - 1, stack
                else:
                    del _lives[self._table.path]
                    stack.close()

    def _live(self) -> None:
        """Hold the lock that says that this process lives."""
        if self._lives:
            return
        path = self._table.path
        with _guard:
            users, stack = _lives.get(path) or (0, ExitStack())
            if not users:
                file = _lock_of(path, OWNER)
                stack.callback(file.unlink, missing_ok=True)
                stack.enter_context(locked(file, path, "its lock is taken"))
            _lives[path] = users + 1, stack
        self._lives = True

    def _is_alive(self, owner: str) -> bool:
        file = _lock_of(self._table.path, owner)
        if not file.exists():
            return False
        try:
            with locked(file, self._table.path, "another process asks"):
                pass
        except InputError:
            return True
        file.unlink(missing_ok=True)
        return False


def _lock_of(store: Path, owner: str) -> Path:
    return store.with_name(f"{store.name}.{owner}.lock")
