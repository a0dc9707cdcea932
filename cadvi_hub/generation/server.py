"""Chat requests to one or several OpenAI-compatible endpoints (vLLM, llama.cpp, a hosted service)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import operator
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tqdm import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Reply, public_name
from cadvi_hub.generation.endpoint import Endpoint, EndpointError
from cadvi_hub.generation.identity import Facts, served_facts
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.usage import Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Per request that may be at an endpoint: how many are read but not answered, whose pictures wait in memory, and how
# many are read but not yielded. Replies that wait for an earlier one are small; a slow request must not stop the rest.
UNANSWERED, UNYIELDED = 2, 64

Outcomes = list[tuple[int, Reply | Failed]]

logger = logging.getLogger(__name__)


class ServerGenerator:
    """Answers by endpoints that serve the same model, `concurrency` requests at a time at each.

    The next request goes to the first endpoint that has room. An endpoint that keeps failing is left out with a
    warning, and the others take over its requests. A request that is refused (400, 413, 422, for example because it is
    too long) or that fails while others are answered is `Failed`, and the rest goes on.

    Args:
        model: name of the model at the endpoints.
        settings: where the endpoints are, and how they are asked.
        revision: of the weights, where the endpoints do not tell it; it becomes a part of the name.

    Raises:
        InputError: no address; from `generate`: no endpoint is left that can be reached, knows the model, accepts the
            key, speaks this API, and recovers from its failures within the retries.
    """

    def __init__(self, model: str, settings: EndpointSettings, revision: str = ""):
        self.name = public_name(model) + (f"@{revision}" if revision else "")  # some servers know a model by its path
        if not settings.addresses:
            raise InputError("base_url", "no endpoint is named", "Name one or several")
        self._model, self._settings = model, settings
        changes = {"extra_body": settings.extra_body, "rename_parameters": settings.rename_parameters}
        self.request_changes = {name: change for name, change in changes.items() if change}
        self._endpoints = [Endpoint(url, model, settings) for url in settings.addresses]
        self._concurrency = settings.concurrency

    def served(self) -> Facts | None:
        """What the endpoints say about the model; None if they cannot be reached."""
        return served_facts(self._model, self._settings, self._endpoints[0].key())

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        arrived: SimpleQueue[Outcomes | Exception] = SimpleQueue()
        remaining = iter(requests)
        is_counted = operator.length_hint(remaining) > 0
        usage, done = Usage(), dict[int, Reply | Failed]()
        asked = yielded = 0
        if all(endpoint.problem for endpoint in self._endpoints):  # as after an earlier call; they may be fixed by now
            for endpoint in self._endpoints:
                endpoint.problem = None
        try:
            with (
                _Connections(self._endpoints, self._concurrency, arrived, on_replies) as connections,
                tqdm(desc=self.name, unit=" replies", leave=False, disable=None) as progress,
            ):
                slots = self._concurrency * len(self._endpoints)
                while True:
                    unanswered = asked - yielded - len(done)
                    room = min(UNANSWERED * slots - unanswered, UNYIELDED * slots - (asked - yielded))
                    if 2 * room >= slots:  # in groups: waking the other thread for each one is expensive
                        if group := list(enumerate(itertools.islice(remaining, room), start=asked)):
                            connections.ask(group)
                            asked += len(group)
                        if is_counted:
                            progress.total = asked + operator.length_hint(remaining)
                        del group  # so that the pictures can be freed
                    if yielded == asked:
                        return
                    if yielded not in done or not arrived.empty():
                        outcomes = arrived.get()
                        if isinstance(outcomes, Exception):
                            raise outcomes
                        done.update(outcomes)
                        for _, outcome in outcomes:
                            usage.count(outcome)
                        in_flight = min(asked - yielded - len(done), slots)
                        shown = f"{usage.speed()}, {in_flight} in flight, {usage.failed} failed"
                        progress.set_postfix_str(shown, refresh=False)
                        progress.update(len(outcomes))
                    else:
                        yield done.pop(yielded)
                        yielded += 1
        finally:
            if asked:
                logger.info("%s: %s", self.name, usage)


class _Connections:
    """An event loop in its own thread, where each endpoint takes as many requests as it has room for.

    Outcomes go to `on_replies` and to the queue as they arrive; at the end, all that arrived has been passed on.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        concurrency: int,
        arrived: SimpleQueue[Outcomes | Exception],
        on_replies: OnReplies | None,
    ):
        self._endpoints, self._concurrency = endpoints, concurrency
        self._living = [endpoint for endpoint in endpoints if not endpoint.problem]
        self._arrived, self._on_replies = arrived, on_replies
        self._waiting: asyncio.Queue[tuple[int, ChatRequest]] = asyncio.Queue()
        self._answered: Outcomes = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def ask(self, group: Iterable[tuple[int, ChatRequest]]) -> None:
        self._loop.call_soon_threadsafe(self._take, group)

    def __enter__(self) -> _Connections:
        self._clients = [(endpoint, endpoint.connect()) for endpoint in self._living]
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        slots = [pair for _ in range(self._concurrency) for pair in self._clients]  # in turn, so that a few are spread
        self._workers = [asyncio.create_task(self._work(*pair)) for pair in slots]

    async def _close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._answered:
            self._hand_on()
        for _, client in self._clients:
            await client.close()

    def _take(self, group: Iterable[tuple[int, ChatRequest]]) -> None:
        for numbered in group:
            self._waiting.put_nowait(numbered)

    async def _work(self, endpoint: Endpoint, client: AsyncOpenAI) -> None:
        while True:
            number, request = await self._waiting.get()
            try:
                if endpoint.problem:
                    raise endpoint.problem
                outcome = await endpoint.answer(client, request)
            except EndpointError as error:
                self._waiting.put_nowait((number, request))
                self._leave_out(endpoint, error)
                return
            except Exception as error:  # raised in the caller's thread
                self._arrived.put(error)
                return
            self._answered.append((number, outcome))
            del request  # its pictures
            if len(self._answered) == 1:
                self._loop.call_soon(self._hand_on)  # after the others that are ready in this turn

    def _leave_out(self, endpoint: Endpoint, error: EndpointError) -> None:
        """Say once that `endpoint` is given up; the run ends with the last one."""
        if endpoint not in self._living:
            return
        self._living.remove(endpoint)
        if self._living:
            logger.warning("%s. It is left out; %d of %d go on", error, len(self._living), len(self._endpoints))
        elif len(self._endpoints) > 1:
            self._arrived.put(
                EndpointError(error.where, f"{error.problem}, and no other endpoint is left", error.hint)
            )
        else:
            self._arrived.put(error)

    def _hand_on(self) -> None:
        outcomes, self._answered = self._answered, []
        try:
            replies = [(number, outcome) for number, outcome in outcomes if isinstance(outcome, Reply)]
            if self._on_replies and replies:
                self._on_replies(replies)
            self._arrived.put(outcomes)
        except Exception as error:  # such as a full disk; raised in the caller's thread
            self._arrived.put(error)
