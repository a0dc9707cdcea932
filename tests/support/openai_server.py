"""A chat completions endpoint on loopback, whose behaviour a test decides request by request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cadvi_hub.generation.server import ServerGenerator
from cadvi_hub.generation.settings import EndpointSettings


@dataclass
class Answer:
    """What the endpoint sends back; a `body` is sent as it is, otherwise a completion with `text`.

    With `breaks_off` the connection ends in mid body.
    """

    text: str | None = ""
    status: int = 200
    finish_reason: str = "stop"
    body: bytes | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    breaks_off: bool = False


Behaviour = Callable[[dict[str, Any], int], Answer]  # the request's JSON and its number, from 0, to what is answered


@dataclass
class OpenAIServer:
    """A running endpoint: its address, and all it was asked."""

    base_url: str
    requests: list[dict[str, Any]]
    keys: list[str]
    most_at_once: int = 0


def said(request: dict[str, Any]) -> str:
    """The text of the last message of a request."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def echo(request: dict[str, Any], number: int) -> Answer:
    return Answer(f"echo {said(request)}")


@contextmanager
def openai_server(behaviour: Behaviour = echo, port: int = 0, models: Any = None) -> Iterator[OpenAIServer]:
    """Serve `behaviour` at `/v1/chat/completions` until the block ends; port 0 is any that is free.

    `models` is what it lists at `/v1/models`, by default nothing.
    """
    lock = threading.Lock()
    at_once = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            nonlocal at_once
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(request)
                server.keys.append(self.headers.get("Authorization", ""))
                at_once += 1
                server.most_at_once = max(server.most_at_once, at_once)
            known = self.path == "/v1/chat/completions"
            answer = behaviour(request, number) if known else Answer("no such path", status=404)
            with lock:
                at_once -= 1
            self._send(answer)

        def do_GET(self) -> None:
            known = self.path == "/v1/models" and models is not None
            body = json.dumps({"object": "list", "data": models}).encode()
            self._send(Answer(body=body) if known else Answer("no such path", status=404))

        def _send(self, answer: Answer) -> None:
            body = answer.body
            if body is None and answer.status == 200:
                body = json.dumps(_completion(answer)).encode()
            elif body is None:
                body = json.dumps({"error": {"message": answer.text, "type": "test"}}).encode()
            try:
                self.send_response(answer.status)
                headers = {"Content-Type": answer.content_type, "Content-Length": str(len(body)), **answer.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if answer.breaks_off else body)
                self.close_connection |= answer.breaks_off
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has given up waiting

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    httpd.daemon_threads = True
    server = OpenAIServer(f"http://127.0.0.1:{httpd.server_port}/v1", [], [])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _completion(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    return {
        "id": "chat-0",
        "object": "chat.completion",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def served(base_url: str | list[str], **settings: Any) -> ServerGenerator:
    """The model "m" at an endpoint."""
    return ServerGenerator("m", EndpointSettings(base_url, **settings))
