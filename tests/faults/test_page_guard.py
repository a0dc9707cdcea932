"""The page answers only to its own names, and takes only a few pictures at a time."""

import http.client
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cadvi_hub.pages.settings import ViewSettings
from tests.faults.record import Count, Faults
from tests.support.report_parts import data_set, picture

pytest.importorskip("gradio", reason="gradio is in the extra `view`")
from cadvi_hub.pages import guard
from cadvi_hub.pages.page import serve

PICTURE = picture("red")["bytes"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data = tmp_path_factory.mktemp("data")
    data_set(data, "v1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    page = serve(ViewSettings(data=str(data), port=number, host_names=["pairs.example"]), block=False)
    yield number
    page.close()


def ask(port: int, path: str = "/config", method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"host": f"127.0.0.1:{port}", "content-length": str(len(body)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    try:
        connection.send(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def refused(count: Count, *arguments: Any, **options: Any) -> None:
    before = count.numbers["tried"]
    status, text = count.call(ask, *arguments, **options)
    assert count.numbers["tried"] == before + 1
    assert status in (400, 403, 413, 415), f"{arguments} {options}: {status} {text[:200]}"
    assert "components" not in text  # of the page's configuration
    count.add("refused")


def test_other_host_names_and_other_sites_get_nothing(faults: Faults, port: int) -> None:
    count = faults("foreign hosts and sites")
    foreign = ["evil.example", "127.0.0.1.evil.example", f"evil.example:{port}", "pairs.example.evil"]
    for host in (*foreign, "10.0.0.1", "", "[::1"):
        refused(count, port, host=host)
        refused(count, port, host=host, origin=f"http://{host}")
    for origin in ("http://evil.example", "null", "http://[", "file://"):
        refused(count, port, origin=origin)
        refused(count, port, "/gradio_api/queue/join", "POST", b"{}", origin=origin, content_type="application/json")
        preflight = {"access_control_request_method": "POST", "host": "pairs.example"}
        refused(count, port, "/gradio_api/queue/join", "OPTIONS", origin=origin, **preflight)
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "[::1]", "pairs.example", "PAIRS.example:443"):
        assert ask(port, host=host)[0] == 200, host
    assert ask(port, origin=f"http://localhost:{port}")[0] == 200


def form(*files: bytes) -> bytes:
    head = b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in files) + b"--xyz--\r\n"


def upload(port: int, body: bytes, content_type: str = "multipart/form-data; boundary=xyz") -> tuple[int, str]:
    return ask(port, "/gradio_api/upload", "POST", body, content_type=content_type)


def test_uploads_are_few_small_pictures(faults: Faults, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = faults("uploads")

    def refuse(*arguments: Any) -> None:
        status, text = count.call(upload, port, *arguments)
        assert status in (400, 413, 415), f"{status} {text[:200]}"
        count.add("refused")

    assert upload(port, form(PICTURE))[0] == 200
    assert upload(port, form(*[PICTURE] * 10))[0] == 200
    refuse(form(*[PICTURE] * 11))
    monkeypatch.setattr(guard, "MAX_BYTES", 100_000)
    refuse(form(PICTURE + bytes(100_000)))
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0 and more", b"<svg onload=alert(1)></svg>", b"MZ", b"\x7fELF" * 9, b"#!"):
        refuse(form(content))
        refuse(form(PICTURE, content))
    refuse(b"nothing", "text/plain")
    refuse(b"nothing")
    refuse(form(PICTURE), "multipart/form-data")
    monkeypatch.setattr(guard, "MAX_STORED", 10_000)
    refuse(form(PICTURE + bytes(50_000)))


def test_a_page_for_everyone_takes_every_address_and_no_foreign_name() -> None:
    page = guard.Guard(None, "0.0.0.0")  # type: ignore[arg-type]
    assert all(page._is_ours(name) for name in ("10.1.2.3", "fe80::1", "localhost", socket.gethostname().lower()))
    assert not any(page._is_ours(name) for name in ("evil.example", "", "1.2.3.4.example"))


def test_the_limits_are_the_ones_that_are_promised() -> None:
    assert (guard.MAX_BYTES, guard.MAX_FILES) == (20_000_000, 10)
