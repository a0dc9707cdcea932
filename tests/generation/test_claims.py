"""Processes that share a reply store ask each request once, and none waits for one that was killed."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply, request_key
from cadvi_hub.generation.claims import OWNER, Claims
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from tests.faults.record import Faults
from tests.support.engines import Echo

ASKER = """
import sys, time
from pathlib import Path
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from tests.support.engines import Echo

class Slow(Echo):
    def text_of(self, text):
        print(text, flush=True)
        time.sleep(float(sys.argv[3]))
        return super().text_of(text)

requests = (ChatRequest([message("user", f"q{k}")]) for k in range(int(sys.argv[2])))
for reply in StoredGenerator(Slow(), ReplyStore(Path(sys.argv[1]))).generate(requests):
    assert reply.text.startswith("echo q")
print("end", flush=True)
"""


def asker(path: Path, requests: int, seconds: float) -> subprocess.Popen[str]:
    """A process that asks `requests` requests, and prints each that it sends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", ASKER, str(path), str(requests), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def requests_of(texts: list[str]) -> Iterator[ChatRequest]:
    return (ChatRequest([message("user", text)]) for text in texts)


def test_two_processes_on_one_store_send_each_request_once(tmp_path: Path, faults: Faults) -> None:
    count = faults("two processes on one reply store")
    count.add("tried")
    both = [asker(tmp_path / "replies.sqlite", 60, 0.02) for _ in range(2)]
    sent = [line for process in both for line in process.communicate(timeout=300)[0].split()]
    assert sent.count("end") == 2
    asked = [line for line in sent if line != "end"]
    count.rows([f"q{k}" for k in range(60)], asked)
    assert not list(tmp_path.glob("*.lock"))


def test_requests_of_a_killed_process_are_asked_by_the_other(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    killed = asker(path, 5, 600)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "q0\n"  # its claim is taken, and it never answers
    held = request_key("echo", next(requests_of(["q0"])))
    waiting = Claims(ReplyStore(path))
    assert not waiting.take(held)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert waiting.take(held)
    waiting.close()
    engine = Echo()
    outcomes = list(StoredGenerator(engine, ReplyStore(path)).generate(requests_of(["q0", "q1"])))
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Reply)] == ["echo q0", "echo q1"]
    assert engine.asked == ["q0", "q1"]
    assert not list(tmp_path.glob("*.lock"))


def test_replies_of_another_process_are_handed_on_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ReplyStore(tmp_path / "replies.sqlite")
    keys = {
        text: request_key("echo", request) for text, request in zip("abcd", requests_of(list("abcd")), strict=True)
    }
    for text in "bd":
        store.claim(keys[text], "another process")
    looks = collections.Counter[str]()

    def alive(claims: Claims, owner: str) -> bool:  # it answers b, and fails at d
        looks[owner] += 1
        if looks[owner] == 5:
            store.put({keys["b"]: Reply("theirs", "stop", 1, 2)})
            store.release("another process")
        return True

    monkeypatch.setattr(Claims, "_is_alive", alive)
    engine = Echo()
    outcomes = list(StoredGenerator(engine, store).generate(requests_of(list("abcd"))))
    assert [getattr(outcome, "text", "") for outcome in outcomes] == ["echo a", "theirs", "echo c", "echo d"]
    assert engine.asked == ["a", "c", "d"]


def test_a_request_that_failed_and_a_run_that_was_left_hold_no_claim(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "replies.sqlite")
    outcomes = list(StoredGenerator(Echo(failing=["a"]), store).generate(requests_of(["a", "b"])))
    assert isinstance(outcomes[0], Failed)
    left = StoredGenerator(Echo(), store).generate(requests_of(["c", "d", "e"]))
    next(left)
    del left
    for text in "abcde":
        key = request_key("echo", next(requests_of([text])))
        assert store.claim(key, "other") == "other"
    assert OWNER != "other"
    assert not list(tmp_path.glob("*.lock"))
