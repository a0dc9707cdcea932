"""An endpoint that is slow, endless or not trusted: one line in a bounded time, and no prompt to strangers."""

import contextlib
import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation import bounded_http
from cadvi_hub.generation.chat import ChatRequest
from cadvi_hub.pages.chat import EndpointChat
from tests.faults.record import Count, Faults
from tests.support.openai_server import Answer, OpenAIServer, openai_server, served

ASK = ChatRequest([message("user", "a secret prompt")])
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def raw_server(serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of a server that reads a request and hands the connection to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def handle(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.recv(65536)
                serve(connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # closing before all of the request is read would reset the connection
                    pass

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def ask(url: str, timeout: float = 5, max_retries: int = 0) -> None:
    for reply in served(url, timeout=timeout, max_retries=max_retries).generate([ASK]):
        raise InputError("reply", str(reply), "none was expected")


def chat(url: str) -> None:
    for piece in EndpointChat(url, "m", "NO_KEY").stream(ASK):
        raise InputError("piece", piece, "none was expected")


def refused(count: Count, url: str, words: str, function: Callable[..., None] = ask, **options: float) -> None:
    before = count.numbers["refused"]
    said = str(count.call(function, url, seconds=30, **options))
    assert count.numbers["refused"] == before + 1
    assert words in said, said


def test_a_reply_that_drips_or_never_ends_is_given_up(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    count = faults("endless replies")
    monkeypatch.setattr(bounded_http, "MAX_REPLY", 2**20)

    body = gzip.compress(b" " * 2**24)

    def drip(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 100000\r\n\r\n{")
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    def flood(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 100000000000\r\n\r\n")
        while True:
            connection.sendall(b" " * 2**16)

    def headers(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: yes\r\n")
            time.sleep(0.05)

    def bomb(connection: socket.socket) -> None:
        connection.sendall(OK + f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def deep(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000)

    for serve, words, seconds in (
        (drip, "gave no answer within 1 s", 1),
        (headers, "gave no answer within 1 s", 1),
        (flood, "more than 1 MB", 20),
        (bomb, "compressed reply", 20),
        (deep, "something other than a chat completion", 20),
    ):
        with raw_server(serve) as place:
            refused(count, f"http://{place}/v1", words, timeout=seconds)
    monkeypatch.setattr("cadvi_hub.pages.chat.LONGEST", 1)
    for serve, words in ((drip, "gave no answer"), (flood, "more than 1 MB"), (bomb, "compressed reply")):
        with raw_server(serve) as place:
            refused(count, f"http://{place}/v1", words, chat)


def test_prompts_follow_no_redirect_to_another_host(faults: Faults) -> None:
    count = faults("redirects")
    with openai_server() as other:
        for status in (301, 302, 303, 307, 308):
            for function in (ask, chat):
                there = f"{other.base_url}/chat/completions"
                answer = Answer("go", status=status, headers={"Location": there})
                with openai_server(lambda *_, answer=answer: answer) as server:
                    refused(count, server.base_url, f"on to {other.base_url.removesuffix('/v1')}", function)
        assert other.requests == []


def test_a_redirect_within_the_host_is_followed() -> None:
    def once(request: object, number: int) -> Answer:
        return Answer("hi") if number else Answer("go", status=307, headers={"Location": "/v1/chat/completions"})

    with openai_server(once) as server:
        (reply,) = served(server.base_url, max_retries=0).generate([ASK])
        assert getattr(reply, "text", "") == "hi"


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl makes the certificate")
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    name = ["-subj", "/CN=localhost", "-days", "2", "-nodes"]
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", *name, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


def test_a_certificate_that_is_not_valid_and_a_proxy_that_forbids_have_their_own_messages(
    faults: Faults, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = faults("TLS and proxies")
    with raw_server(lambda _: None, certificate) as place:
        refused(count, f"https://{place}/v1", "TLS certificate that is not valid (self-signed certificate)")
        refused(count, f"https://{place}/v1", "TLS certificate that is not valid", chat)
    with raw_server(lambda connection: connection.sendall(OK + b"\r\n")) as place:
        refused(count, f"https://{place}/v1", "does not speak TLS")

    def forbid(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "")
    with raw_server(forbid) as place:
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, f"http://user:password@{place}")
        refused(count, "https://models.invalid/v1", f"the proxy {place} says '403 Forbidden'")
        refused(count, "http://models.invalid/v1", f"(403), by itself or by the proxy {place}")
        said = str(count.call(ask, "http://models.invalid/v1"))
        assert "password" not in said


ADDRESSES = ["", "x", "http://", "http://[::1", "http://[1:2]:3:4/v1", "file:///etc/passwd", "http://a:port/v1"]
ADDRESSES += ["ftp://a/v1", "http://a b/v1", "http://a/\x00", "http://\n", "//a/v1", "http://a:99999/v1", "http:///v1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_address_is_refused(faults: Faults, address: str) -> None:
    count = faults("bad addresses")
    for function in (ask, chat):
        count.call(function, address)
    assert count.numbers["refused"] == 2


def test_a_server_that_answers_well_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    server: OpenAIServer
    with openai_server(lambda *_: Answer("word " * 100_000)) as server:
        (reply,) = served(server.base_url, timeout=30).generate([ASK])
    assert len(getattr(reply, "text", "")) == 500_000
