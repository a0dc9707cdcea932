"""Every reply is stored under the hash of its request, so that a rerun asks nothing twice."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import ChatRequest, Failed, Generator, MadeAsRead, OnReplies, Reply, request_key
from cadvi_hub.generation.claims import Claims
from cadvi_hub.generation.identity import Facts
from cadvi_hub.generation.replies import ReplyStore

__all__ = ["ReplyStore", "StoredGenerator"]

UNASKED_AHEAD = 10_000  # stored replies that may wait for one that is being asked; about 10 MB
ELSEWHERE = 256  # requests that other processes ask, which wait here with their pictures
_POLL = 0.1  # seconds between looks for their replies
_PATIENCE = 600.0  # seconds without any of them, after which they are asked here, too


@dataclass(slots=True)
class _Awaited:
    """A request that is read but not answered yet; equal requests under way share one.

    `request` is there while another process asks it.
    """

    key: str
    outcome: Reply | Failed | None
    request: ChatRequest | None = None


class StoredGenerator:
    """Answers what `store` holds, asks `generator` for the rest, and stores each reply as it arrives.

    A request that equals one under way is not asked again: both get the same outcome, also where another process that
    shares the store has it under way. What an endpoint says about its model is a part of a reply's key, so another
    model under the same name gets replies of its own.

    Args:
        generator: the model.
        store: its replies.
        retry_unreadable: whether stored replies that are empty or cannot be read are asked again, once in a run.
    """

    def __init__(self, generator: Generator, store: ReplyStore, retry_unreadable: bool = False):
        self.generator, self.store, self._retry = generator, store, retry_unreadable
        self._retried: set[str] = set()
        self._served: Facts | None = None

    @property
    def name(self) -> str:
        return self.generator.name

    @property
    def request_changes(self) -> Mapping[str, Any]:
        return self.generator.request_changes

    def served(self) -> Facts:
        """What the endpoint says about the model, or said last; nothing for a model in this process."""
        if self._served is None:
            ask = getattr(self.generator, "served", None)
            self._served = self.store.served(self.name, ask()) if ask else {}
        return self._served

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        unread, claims = iter(requests), Claims(self.store)
        try:
            for request in unread:
                awaited = self._look_up(request)
                if awaited.outcome:
                    yield awaited.outcome
                else:  # reads on in `unread`
                    yield from self._ask(awaited, request, unread, claims, on_replies)
        except InputError as error:
            if error.where == str(self.store.path):
                raise
            safe = f"{len(self.store)} replies are safe in {self.store.path}; a rerun goes on from there"
            raise InputError(error.where, error.problem, f"{error.hint}. {safe}") from error
        finally:
            claims.close()

    def _look_up(self, request: ChatRequest) -> _Awaited:
        key = request_key(self.name, request, self.served(), self.request_changes)
        reply = self.store.get(key)
        if reply and self._retry and key not in self._retried and not _can_be_used(reply, request):
            self._retried.add(key)
            self.store.forget(key)
            reply = None
        return _Awaited(key, reply)

    def _ask(
        self,
        first: _Awaited,
        request: ChatRequest,
        unread: Iterator[ChatRequest],
        claims: Claims,
        on_replies: OnReplies | None,
    ) -> Iterator[Reply | Failed]:
        """Outcomes of `request`, which is not stored, and of the requests after it, in order.

        Ends before `unread` does once many stored replies, or requests of other processes, wait.
        """
        asked: dict[int, _Awaited] = {}  # what the engine has not answered, by its number there
        under_way = {first.key: first}
        waiting = deque([first])  # read but not yielded
        elsewhere: list[_Awaited] = []
        number = itertools.count()

        def mine(awaited: _Awaited, request: ChatRequest) -> bool:
            """Whether the engine is to be asked."""
            if claims.take(awaited.key):
                if (stored := self.store.get(awaited.key)) is None:
                    asked[next(number)] = awaited
                    return True
                claims.release(awaited.key)  # another process has just stored it
                awaited.outcome = stored
            else:
                awaited.request = request
                elsewhere.append(awaited)
            return False

        def unstored() -> Iterator[ChatRequest]:
            if mine(first, request):
                yield request
            for following in unread:
                looked_up = self._look_up(following)
                awaited = under_way.get(looked_up.key) or looked_up
                waiting.append(awaited)
                if awaited.outcome is None and awaited.key not in under_way:
                    under_way[awaited.key] = awaited
                    if mine(awaited, following):
                        yield following
                if len(waiting) - len(asked) >= UNASKED_AHEAD or len(elsewhere) >= ELSEWHERE:
                    return

        yield from self._answers(MadeAsRead(unstored(), unread), asked, under_way, waiting, claims, on_replies)
        last = time.monotonic()
        while waiting:  # for other processes
            for awaited in elsewhere:
                awaited.outcome = awaited.outcome or self.store.get(awaited.key)
            if arrived := [awaited for awaited in elsewhere if awaited.outcome]:
                last = time.monotonic()
                for awaited in arrived:
                    elsewhere.remove(awaited)
            impatient = time.monotonic() - last > _PATIENCE
            left = []
            for awaited in elsewhere:
                if claims.take(awaited.key) or impatient:
                    awaited.outcome = self.store.get(awaited.key)
                    if awaited.outcome:  # it was stored a moment ago
                        claims.release(awaited.key)
                    else:
                        left.append(awaited)
            if left:  # the other process was killed, or got no reply
                last = time.monotonic()
                elsewhere = [awaited for awaited in elsewhere if awaited not in left]
                again = dict(enumerate(left))
                requests = [awaited.request for awaited in left if awaited.request]
                yield from self._answers(iter(requests), again, under_way, waiting, claims, on_replies)
            yield from _ready(waiting)
            if waiting and not left:
                time.sleep(_POLL)

    def _answers(
        self,
        requests: Iterator[ChatRequest],
        asked: dict[int, _Awaited],
        under_way: dict[str, _Awaited],
        waiting: deque[_Awaited],
        claims: Claims,
        on_replies: OnReplies | None,
    ) -> Iterator[Reply | Failed]:
        """Ask the engine, store its replies, and yield what is ready of `waiting`."""

        def keep(replies: Sequence[tuple[int, Reply]]) -> None:
            self.store.put({asked[number].key: reply for number, reply in replies})
            if on_replies:
                on_replies(replies)

        for number, outcome in enumerate(self.generator.generate(requests, keep)):
            answered = asked.pop(number)
            del under_way[answered.key]
            # What a rerun will return: another process may have been first.
            answered.outcome = self.store.get(answered.key) or outcome
            if isinstance(answered.outcome, Failed):
                claims.release(answered.key)
            else:
                claims.answered(answered.key)
            yield from _ready(waiting)
        yield from _ready(waiting)


def _ready(waiting: deque[_Awaited]) -> Iterator[Reply | Failed]:
    while waiting and (outcome := waiting[0].outcome):
        waiting.popleft()
        yield outcome


def _can_be_used(reply: Reply, request: ChatRequest) -> bool:
    """Whether a reply says something that its reader can read."""
    if reply.ranking is None and not reply.text.strip():
        return False
    return request.is_readable is None or request.is_readable(reply)
