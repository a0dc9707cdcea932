"""Replies outlive the process that asked for them, and none is asked for twice."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Failed, MadeAsRead, OnReplies, Reply
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from tests.support.engines import Echo, reply_to


def ask(text: str) -> ChatRequest:
    return ChatRequest([message("user", text)])


def answers(generator: StoredGenerator, texts: Iterable[str]) -> list[str]:
    return [outcome.text if isinstance(outcome, Reply) else "" for outcome in generator.generate(map(ask, texts))]


@pytest.fixture
def store(tmp_path: Path) -> ReplyStore:
    return ReplyStore(tmp_path / "replies.sqlite")


def test_a_reply_comes_back_as_it_was_put(store: ReplyStore) -> None:
    reply = Reply("é \U0001f600 \x00 \n 'quoted'", "length", 11, 22)
    assert store.get("key") is None
    store.put({"key": reply})
    assert store.get("key") == reply
    assert ReplyStore(store.path).get("key") == reply


def test_of_two_replies_to_one_request_the_first_stays(store: ReplyStore) -> None:
    store.put({"key": Reply("first", "stop", 1, 1)})
    store.put({"key": Reply("second", "stop", 1, 1)})
    assert store.get("key") == Reply("first", "stop", 1, 1)
    assert len(store) == 1


def test_a_rerun_asks_only_for_the_rest_and_keeps_the_order(store: ReplyStore) -> None:
    first = Echo()
    answers(StoredGenerator(first, store), ["b", "d", "e"])
    second = Echo()
    replies = answers(StoredGenerator(second, store), ["a", "b", "c", "d", "e"])
    assert replies == ["echo a", "echo b", "echo c", "echo d", "echo e"]
    assert second.asked == ["a", "c"]
    third = Echo()
    assert answers(StoredGenerator(third, store), ["e", "a"]) == ["echo e", "echo a"]
    assert third.asked == []


def test_a_failed_request_is_not_stored(store: ReplyStore) -> None:
    assert answers(StoredGenerator(Echo(failing=["b"]), store), ["a", "b", "c"]) == ["echo a", "", "echo c"]
    again = Echo()
    assert answers(StoredGenerator(again, store), ["a", "b", "c"]) == ["echo a", "echo b", "echo c"]
    assert again.asked == ["b"]


def test_what_arrived_before_a_failure_is_not_asked_again(store: ReplyStore) -> None:
    with pytest.raises(InputError, match=r"gone.*2 replies are safe in .*replies\.sqlite; a rerun goes on"):
        answers(StoredGenerator(Echo(deadly="c"), store), ["a", "b", "c", "d"])
    again = Echo()
    assert answers(StoredGenerator(again, store), ["a", "b", "c", "d"]) == ["echo a", "echo b", "echo c", "echo d"]
    assert again.asked == ["c", "d"]


def test_another_model_gets_its_own_replies(store: ReplyStore) -> None:
    answers(StoredGenerator(Echo(), store), ["a"])
    other = Echo()
    other.name = "other"
    answers(StoredGenerator(other, store), ["a"])
    assert other.asked == ["a"]


def noted(texts: Iterable[str], read: list[str]) -> Iterator[ChatRequest]:
    """Requests of `texts`; those that were read are noted in `read`."""
    for text in texts:
        read.append(text)
        yield ask(text)


def test_a_long_stretch_of_stored_replies_is_handed_on_before_the_engine_reads_on(
    store: ReplyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadvi_hub.generation.store.UNASKED_AHEAD", 4)
    numbers = [str(i) for i in range(30)]
    answers(StoredGenerator(Echo(), store), [i for i in numbers if i not in ("3", "9", "11")])
    read: list[str] = []
    engine = Echo()
    outcomes = StoredGenerator(engine, store).generate(noted(numbers, read))
    assert [next(outcomes) for _ in range(4)] == [reply_to(ask(i)) for i in numbers[:4]]
    assert len(read) <= 4 + 4
    assert list(outcomes) == [reply_to(ask(i)) for i in numbers[4:]]
    assert engine.asked == ["3", "9", "11"]


class Slow(Echo):
    """Answers when `at_once` requests are read, or all: equal ones are under way together."""

    def __init__(self, at_once: int, failing: Iterable[str] = ()):
        super().__init__(failing)
        self.at_once = at_once

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        unread, number = iter(requests), 0
        while group := list(islice(unread, self.at_once)):

            def numbered(replies: Sequence[tuple[int, Reply]], first: int = number) -> None:
                if on_replies:
                    on_replies([(first + place, reply) for place, reply in replies])

            yield from super().generate(group, numbered)
            number += len(group)


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_equal_requests_under_way_are_asked_once_and_answered_in_their_order(store: ReplyStore, at_once: int) -> None:
    texts = [*"abacabba", *"dd", *"aeb"]
    engine = Slow(at_once)
    assert answers(StoredGenerator(engine, store), texts) == [f"echo {text}" for text in texts]
    assert engine.asked == ["a", "b", "c", "d", "e"]


def test_a_request_that_equals_a_failing_one_under_way_fails_with_it(store: ReplyStore) -> None:
    engine = Slow(3, failing=["b"])
    assert answers(StoredGenerator(engine, store), "abbab") == ["echo a", "", "", "echo a", ""]
    assert engine.asked == ["a", "b"]


def test_a_long_stretch_of_equal_requests_is_not_read_ahead(
    store: ReplyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cadvi_hub.generation.store.UNASKED_AHEAD", 4)
    read: list[str] = []
    engine = Slow(2)
    outcomes = StoredGenerator(engine, store).generate(noted("a" * 30 + "b", read))
    assert next(outcomes) == reply_to(ask("a"))
    assert len(read) == 1 + 4
    assert list(outcomes) == [reply_to(ask(i)) for i in "a" * 29 + "b"]
    assert engine.asked == ["a", "b"]


def test_what_is_handed_on_is_what_a_rerun_will_give(store: ReplyStore) -> None:
    class Late(Echo):
        def generate(
            self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
        ) -> Iterator[Reply | Failed]:
            for outcome in super().generate(requests, on_replies):
                other = ReplyStore(store.path)  # another process, which had asked the same and was first
                assert isinstance(outcome, Reply)
                assert len(other) == 1
                yield replace(outcome, text="mine")

    assert answers(StoredGenerator(Late(), store), ["a"]) == ["echo a"]


WRITER = """
import sys
from pathlib import Path
from cadvi_hub.generation.chat import Reply
from cadvi_hub.generation.store import ReplyStore
store, name = ReplyStore(Path(sys.argv[1])), sys.argv[2]
for i in range(int(sys.argv[3])):
    mine = {f"{name}-{i}-{k}": Reply("x" * 2000, "stop", 1, 1) for k in range(3)}
    store.put({**mine, f"shared-{i}": Reply(name, "stop", 1, 1)})
    print(i, flush=True)
"""


def writer(path: Path, name: str, puts: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(puts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_on_one_file_the_killed_one_loses_nothing_and_the_other_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    killed, other = writer(path, "killed", 1_000_000), writer(path, "other", 300)
    assert killed.stdout is not None
    assert other.stdout is not None
    last = 0
    while last < 50:
        last = int(killed.stdout.readline())
    os.kill(killed.pid, signal.SIGKILL)
    last = max([last, *(int(line) for line in killed.stdout.read().split("\n")[:-1])])
    killed.wait()
    said = other.stdout.read().split()
    assert other.wait() == 0
    assert said == [str(i) for i in range(300)]
    store = ReplyStore(path)
    for name, puts in (("killed", last + 1), ("other", 300)):
        assert all(
            store.get(f"{name}-{i}-{k}") == Reply("x" * 2000, "stop", 1, 1) for i in range(puts) for k in range(3)
        )
    parts = [store.get(f"killed-{last + 1}-{k}") is None for k in range(3)]
    assert len(set(parts)) == 1, "a transaction is there as a whole or not at all"


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_text("this is no database, " * 100)
    with pytest.raises(InputError, match=r"replies\.sqlite: it is damaged, or no reply store \(.*name another"):
        ReplyStore(path)


def test_a_full_disk_stops_the_run(store: ReplyStore) -> None:
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match="full"):
        store.put({"key": Reply("x" * 1_000_000, "stop", 1, 1)})
    assert store.get("key") is None


def test_a_store_that_became_unwritable_is_named_by_every_method(store: ReplyStore) -> None:
    store.put({"key": Reply("kept", "stop", 1, 1)})
    store._database.execute("PRAGMA query_only = ON")
    with pytest.raises(InputError, match=r"replies\.sqlite: replies cannot be stored \(attempt to write a readonly"):
        store.put({"other": Reply("lost", "stop", 1, 1)})
    store._database.execute("PRAGMA query_only = OFF")
    store._database.execute("DROP TABLE replies")
    for use in (lambda: store.get("key"), lambda: len(store)):
        with pytest.raises(InputError, match=r"replies\.sqlite: replies cannot be stored \(no such table"):
            use()


def test_a_place_where_no_store_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    (tmp_path / "folder.sqlite").mkdir()
    for path in (tmp_path / "taken/replies.sqlite", tmp_path / "folder.sqlite"):
        with pytest.raises(InputError, match=rf"{path.name}: replies cannot be stored"):
            ReplyStore(path)


@pytest.mark.parametrize("wrap", [list, lambda requests: MadeAsRead(map(ask, unread := iter("abcd")), unread)])
def test_the_engine_learns_how_many_requests_may_still_come(
    store: ReplyStore, wrap: Callable[[Iterable[ChatRequest]], Iterable[ChatRequest]]
) -> None:
    class Counting(Echo):
        def generate(
            self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
        ) -> Iterator[Reply | Failed]:
            def counted() -> Iterator[ChatRequest]:
                for request in requests:
                    left.append(operator.length_hint(requests))
                    yield request

            return super().generate(counted(), on_replies)

    left: list[int] = []
    answers(StoredGenerator(Echo(), store), ["b"])
    outcomes = list(StoredGenerator(Counting(), store).generate(wrap(map(ask, "abcd"))))
    assert len(outcomes) == 4
    assert left == [3, 1, 0]  # b is stored, so that the engine is not asked for it
