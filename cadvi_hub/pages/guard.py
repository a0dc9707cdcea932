"""What the live page's server refuses before Gradio sees it: other hosts, other sites, and uploads that are too much.

A site can point its own name at this machine (DNS rebinding). Its script then reads the page as if it were its own;
only the name in `Host` tells the difference.
"""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cadvi_hub.core.images import begins_as_image

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 20_000_000  # of one picture
MAX_FILES = 10  # in one request
MAX_STORED = 1_000_000_000  # bytes of all uploads within `KEPT`
KEPT = 3600  # seconds until Gradio deletes an upload
_START = 16  # bytes that tell the format of a picture
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - addresses that mean all of this machine's
_BOUNDARY = re.compile(rb'multipart/form-data\b.*\bboundary="?([^";,\s]{1,200})', re.IGNORECASE)


class _RefusedError(Exception):
    """The request is answered with this status and text."""

    def __init__(self, status: int, text: str):
        self.status, self.text = status, text


@dataclass
class _Upload:
    """When an upload began, and how many bytes it has so far."""

    began: float
    size: int = 0


class NameGuard:
    """Refuses a request whose `Host` or `Origin` is not this page's.

    Args:
        app: what answers all others.
        listening: the address that the server listens on.
        names: more host names under which users reach the page.
    """

    def __init__(self, app: ASGIApp, listening: str, names: Iterable[str] = ()):
        self._app = app
        self._everywhere = listening in _EVERYWHERE
        self._names = {"localhost", "127.0.0.1", "::1", listening, *(name.lower() for name in names)} - {*_EVERYWHERE}
        if self._everywhere:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            await self._app(scope, self._limited(scope, receive), send)
        except _RefusedError as refused:
            if scope["type"] == "http":
                headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": refused.status, "headers": headers})
                await send({"type": "http.response.body", "body": refused.text.encode()})
            else:
                await send({"type": "websocket.close", "code": 1008})

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        return receive

    def _check(self, scope: Scope) -> None:
        hosts = _values(scope, b"host")
        host = _host_name(f"//{hosts[0]}") if len(hosts) == 1 else ""
        if not self._is_ours(host):
            raise _RefusedError(403, "This page does not answer to that host name. Name it with --host_names.")
        for origin in _values(scope, b"origin"):
            if not self._is_ours(_host_name(origin)):
                raise _RefusedError(403, "Another site may not use this page.")

    def _is_ours(self, host: str) -> bool:
        return host in self._names or (self._everywhere and _is_address(host))


class Guard(NameGuard):
    """Refuses an upload beyond the limits, too."""

    def __init__(self, app: ASGIApp, listening: str, names: Iterable[str] = ()):
        super().__init__(app, listening, names)
        self._uploads: deque[_Upload] = deque()

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` for an upload raises when a limit is reached, before more is read."""
        if not (scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith("/upload")):
            return receive
        types = _values(scope, b"content-type")
        boundary = _BOUNDARY.match(types[0].encode("latin-1")) if len(types) == 1 else None
        if boundary is None:
            raise _RefusedError(415, "An upload is a form with files.")
        parts = _Parts(boundary[1])
        now = time.monotonic()
        while self._uploads and self._uploads[0].began < now - KEPT:
            self._uploads.popleft()
        self._uploads.append(upload := _Upload(now))

        async def read() -> Message:
            event = await receive()
            if event["type"] == "http.request":
                body = event.get("body", b"")
                upload.size += len(body)
                if sum(each.size for each in self._uploads) > MAX_STORED:
                    raise _RefusedError(413, f"All uploads together are larger than {MAX_STORED // 1_000_000} MB.")
                parts.read(body)
                if not event.get("more_body"):
                    parts.end_part()
            return event

        return read


class _Parts:
    """Follows the parts of a form as they arrive."""

    def __init__(self, boundary: bytes):
        from python_multipart.multipart import MultipartParser

        self._files = self._size = 0
        self._start = b""
        self._parser = MultipartParser(
            boundary,
            {"on_part_begin": self._begin_part, "on_part_data": self._part_data, "on_part_end": self.end_part},
        )

    def read(self, data: bytes) -> None:
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _RefusedError(400, "The upload is damaged.") from error

    def _begin_part(self) -> None:
        self._files += 1
        self._size, self._start = 0, b""
        if self._files > MAX_FILES:
            raise _RefusedError(413, f"An upload has at most {MAX_FILES} pictures.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > MAX_BYTES:
            raise _RefusedError(413, f"A picture has at most {MAX_BYTES // 1_000_000} MB.")
        if len(self._start) < _START:
            self._start += data[start : min(end, start + _START)]
            if len(self._start) >= _START:
                self._check_start()

    def end_part(self) -> None:
        if 0 < self._size < _START:
            self._check_start()

    def _check_start(self) -> None:
        if not begins_as_image(self._start):
            raise _RefusedError(415, "Only pictures can be uploaded.")


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _host_name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
