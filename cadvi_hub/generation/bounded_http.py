"""HTTP clients for an endpoint that is not trusted: one limit for the time of a whole request, one for the size of a
reply, and no redirect to another host, which would get the prompts and pictures.

httpx's own time-out starts again with every byte that arrives, and it has no limit of size.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

MAX_REPLY = 64 * 2**20  # bytes of a reply; the longest that a model writes has less than one million
MAX_REDIRECTS = 5
# A compressed reply of a few bytes can become gigabytes.
HEADERS = {"Accept-Encoding": "identity"}


class RefusedReplyError(httpx2.HTTPError):
    """A reply that is not read; `problem` and `hint` say why."""

    def __init__(self, problem: str, hint: str):
        super().__init__(problem)
        self.problem, self.hint = problem, hint


class BoundedAsyncClient(DefaultAsyncHttpxClient):
    """Gives up after `seconds` for each try."""

    def __init__(self, seconds: float, **options: Any):
        super().__init__(timeout=seconds, headers=HEADERS, **options)
        self._seconds = seconds

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        is_streamed = options.pop("stream", False)
        options["follow_redirects"] = False
        async with _limited(self._seconds, request):
            response = await super().send(request, stream=True, **options)
            for _ in range(MAX_REDIRECTS):
                if not (following := _next(response)):
                    break
                await response.aclose()
                response = await super().send(following, stream=True, **options)
            response.stream = _AsyncStream(response)
            if not is_streamed:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
        return response


class BoundedClient(DefaultHttpxClient):
    """The same for a reply that is read piece by piece; the time is checked at each piece."""

    def __init__(self, seconds: float, **options: Any):
        super().__init__(headers=HEADERS, **options)
        self._seconds = seconds

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        is_streamed = options.pop("stream", False)
        options["follow_redirects"] = False
        end = time.monotonic() + self._seconds
        response = super().send(request, stream=True, **options)
        for _ in range(MAX_REDIRECTS):
            if not (following := _next(response)):
                break
            response.close()
            response = super().send(following, stream=True, **options)
        response.stream = _Stream(response, end)
        if not is_streamed:
            try:
                response.read()
            finally:
                response.close()
        return response


def _next(response: httpx2.Response) -> httpx2.Request | None:
    """The request that follows a redirect to the same host; None without a redirect.

    Raises:
        RefusedReplyError: it leads to another host, or the reply is compressed.
    """
    following = response.next_request
    if following is not None:
        here, there = response.request.url, following.url
        is_upgrade = here.scheme == "http" and there.scheme == "https"
        if there.host != here.host or (there.port != here.port and not is_upgrade):
            place = f"{there.scheme}://{there.netloc.decode(errors='replace').rpartition('@')[2]}"[:200]
            hint = "If you trust that address, give it as base_url"
            raise RefusedReplyError(f"sends its requests on to {place}, which would get prompts and pictures", hint)
        return following
    if response.headers.get("content-encoding", "identity") != "identity":
        raise RefusedReplyError("sends a compressed reply, which it was not asked for", "Look at its settings")
    return None


class _Size:
    """Counts the bytes of a reply."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, piece: bytes) -> bytes:
        self._bytes += len(piece)
        if self._bytes > MAX_REPLY:
            problem = f"sends a reply of more than {MAX_REPLY // 2**20} MB"
            raise RefusedReplyError(problem, "Check that an OpenAI-compatible server runs there")
        return piece


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response):
        self._inner: Any = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = _Size()
        async for piece in self._inner:
            yield size.add(piece)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Stream(httpx2.SyncByteStream):
    def __init__(self, response: httpx2.Response, end: float):
        self._inner: Any = response.stream
        self._request, self._end = response.request, end

    def __iter__(self) -> Iterator[bytes]:
        size = _Size()
        for piece in self._inner:
            if time.monotonic() > self._end:
                raise httpx2.ReadTimeout("the reply takes too long", request=self._request)
            yield size.add(piece)

    def close(self) -> None:
        self._inner.close()


@asynccontextmanager
async def _limited(seconds: float, request: httpx2.Request) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise httpx2.ReadTimeout("the reply takes too long", request=request) from error
