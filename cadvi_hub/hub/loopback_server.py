"""The server of the loopback Hub: its connections, who may do what, and faults for tests."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cadvi_hub.hub.loopback_store import HubError, HubStore, Repository

SENT = object()  # result of a route that has answered itself
Cut = Literal["request", "answer", "hold", "busy", "late"]
Handler = Callable[..., Any]
Routes = list[tuple[str, re.Pattern[str], Handler]]  # methods, path, function


@dataclass
class Fault:
    """What happens to the requests that contain `matching`, except for the first `after`; if busy, to these alone."""

    matching: str
    after: int
    during: Cut


class HubServer(ThreadingHTTPServer):
    """The server; a context manager that serves from a thread.

    Args:
        routes: the functions that answer requests.
        root: folder for everything that is stored.
        port: 0 uses a free one.
        token: the only valid token.

    Attributes:
        endpoint: URL for `HF_ENDPOINT`.
        token: the only valid token; it belongs to `user`, who may also write as `organizations`.
        requests: `METHOD path` of every request so far.
        sent: bytes sent so far, by path in the repository.
    """

    daemon_threads = True
    user = "tester"
    organizations = ("test-org",)

    def __init__(self, routes: Routes, root: Path, port: int, token: str):
        super().__init__(("127.0.0.1", port), HubRequest)
        self.routes = routes
        self.token, self.endpoint = token, f"http://127.0.0.1:{self.server_address[1]}"
        self.reset(root)

    def reset(self, root: Path) -> None:
        """Continue with the content of `root`, without faults."""
        self.store, self.requests, self.sent = HubStore(root), list[str](), Counter[str]()
        self.restore_connection()

    def cut_connection(
        self, matching: str = "", after: int = 0, during: Literal["request", "answer"] = "request"
    ) -> None:
        """From now on, drop the connection in requests whose `METHOD path` contains `matching`.

        Args:
            matching: text to look for; an empty text matches every request.
            after: number of such requests that are still served.
            during: `request` drops half of what the client sends and does nothing; `answer` does what was asked and
                drops half of the answer.
        """
        self.problem: Fault | None = Fault(matching, after, during)

    def hold(self, matching: str, after: int = 0) -> threading.Event:
        """Never answer requests whose `METHOD path` contains `matching`, except for the first `after`.

        Returns:
            An event that is set when the first such request arrives.
        """
        self.held = threading.Event()
        self.problem = Fault(matching, after, "hold")
        return self.held

    def be_busy(self, matching: str, times: int = 1, status: int = 503, *, late: bool = False) -> None:
        """Answer the next `times` requests whose `METHOD path` contains `matching` with `status` and `Retry-After: 3`.

        Args:
            matching: text to look for.
            times: number of such requests.
            status: of the answer.
            late: whether they are served first.
        """
        self.problem, self.busy_status = Fault(matching, times, "late" if late else "busy"), status

    def restore_connection(self) -> None:
        """Serve every request again."""
        self.problem = None

    def cut(self, request: str) -> Cut | None:
        """Where the connection of `request` is dropped or held, or None."""
        with self.store.lock:
            self.requests.append(request)
            if self.problem is None or self.problem.matching not in request:
                return None
            self.problem.after -= 1
            first_ones = self.problem.during in ("busy", "late")
            return self.problem.during if first_ones == (self.problem.after >= 0) else None

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class HubRequest(BaseHTTPRequestHandler):
    """One connection of a client; the functions marked with `route` answer its requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HubServer

    def log_message(self, *_: object) -> None:
        """Print nothing: `requests` has the log."""

    def answer(self) -> None:
        """Read the request, call its route, and send the result as JSON, unless the route has answered itself."""
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        self.cut = self.server.cut(f"{self.command} {url.path}")
        length = int(self.headers.get("Content-Length") or 0)
        if self.cut == "hold":
            self.server.held.set()
            self.rfile.read()  # until the client is gone
            self.close_connection = True
            return
        if self.cut == "request":
            self.rfile.read(length // 2)
            self.hang_up()
            return
        self.body = self.rfile.read(length)
        try:
            answer = None if self.cut == "busy" else self.find_route(url.path)
            if self.cut in ("busy", "late"):
                self.send_json(self.server.busy_status, {"error": "busy"}, {"Retry-After": "3"})
            else:
                self.send_json(200, answer)
        except HubError as error:
            headers = {"X-Error-Message": " ".join(error.message.split())}
            if error.code:
                headers["X-Error-Code"] = error.code
            self.send_json(error.status, {"error": error.message} | error.details, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 names that http.server looks up

    def find_route(self, path: str) -> Any:
        """Call the route of `path`. `SENT` means that it has answered."""
        self.authorize(needed=False)
        for methods, pattern, handler in self.server.routes:
            match = pattern.fullmatch(path) if self.command in methods else None
            if match:
                values = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                if "repo_id" in values:
                    repo = self.repository(values.pop("kind", "models"), values.pop("repo_id"))
                    return handler(self, repo, **values)
                return handler(self, **values)
        raise HubError(404, f"No such route: {self.command} {path}")

    def send_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        """Answer with `value`, unless it is `SENT`."""
        if value is not SENT:
            headers = {"Content-Type": "application/json"} | (headers or {})
            self.send_bytes(status, json.dumps(value).encode(), headers)

    def send_bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        """Answer with `data`, or only its length for a HEAD request."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.cut == "answer":
            self.wfile.write(data[: len(data) // 2])
            self.hang_up()
        elif self.command != "HEAD":
            self.wfile.write(data)

    def hang_up(self) -> None:
        """Close the socket without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def authorize(self, needed: bool = True) -> bool:
        """Whether the request has our token. A wrong token is refused; a missing one only if it is `needed`."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        if (token or needed) and token != self.server.token and not self.path.startswith("/lfs/"):
            raise HubError(401, "Invalid username or password.")
        return bool(token)

    def repository(self, kind: str, repo_id: str) -> Repository:
        """The repository, if this client may read it. Writing needs our token."""
        repo = self.server.store.repositories.get((kind, repo_id))
        signed_in = self.authorize(self.command in ("PUT", "DELETE"))
        if repo is None or (repo.private and not signed_in):
            raise HubError(404 if signed_in else 401, "Repository not found", "RepoNotFound")
        return repo

    def namespace(self, wanted: dict[str, Any]) -> tuple[str, str]:
        """Kind and full name of the repository to create or delete."""
        self.authorize()
        owner = wanted.get("organization") or self.server.user
        if owner not in (self.server.user, *self.server.organizations):
            raise HubError(403, f"You don't have the rights to create a repo under the namespace {owner!r}")
        return f"{wanted.get('type') or 'model'}s", f"{owner}/{wanted['name']}"
