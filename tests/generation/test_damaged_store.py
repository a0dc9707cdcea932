"""A damaged reply store gives no wrong reply: flipped bits are found, and what can be read is saved."""

import logging
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Ranking, Reply, request_key
from cadvi_hub.generation.replies import ReplyStore
from cadvi_hub.generation.store import StoredGenerator
from tests.faults.record import Faults
from tests.support.engines import Echo, reply_to

TEXTS = [f"question {number}" for number in range(400)]


def ask(text: str) -> ChatRequest:
    return ChatRequest([message("user", text)])


def answers(generator: StoredGenerator) -> list[object]:
    return list(generator.generate(map(ask, TEXTS)))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store of all replies, without a log beside it."""
    path = tmp_path / "replies.sqlite"
    store = ReplyStore(path)
    answers(StoredGenerator(Echo(), store))
    store._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return path


def flipped(content: bytes, rng: random.Random) -> bytes:
    """`content` with 1, 3 or 20 flipped bits."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 3, 20))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_flipped_bits_change_no_reply(filled: Path, faults: Faults) -> None:
    count, whole, rng = faults("flipped bits in a reply store"), filled.read_bytes(), random.Random(0)
    expected = [reply_to(ask(text)) for text in TEXTS]

    def read() -> list[object]:
        return answers(StoredGenerator(Echo(), ReplyStore(filled)))

    for _ in range(100):
        for file in filled.parent.glob("replies.sqlite-*"):
            file.unlink()
        filled.write_bytes(flipped(whole, rng))
        found = count.call(read)
        if isinstance(found, list):
            count.rows(expected, found)
        else:
            assert filled.name in str(found)


def test_a_reply_whose_text_was_changed_is_asked_again_and_the_store_is_named(
    filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(filled) as database:
        database.execute("UPDATE replies SET text = 'echo something else' WHERE text LIKE '%question 7'")
    engine = Echo()
    with caplog.at_level(logging.WARNING):
        assert answers(StoredGenerator(engine, ReplyStore(filled))) == [reply_to(ask(text)) for text in TEXTS]
    assert engine.asked == ["question 7"]
    assert caplog.text.count("replies.sqlite: a stored reply is damaged") == 1
    idle = Echo()
    answers(StoredGenerator(idle, ReplyStore(filled)))
    assert idle.asked == []


def test_a_ranking_that_is_lost_is_asked_again(filled: Path) -> None:
    store = ReplyStore(filled)
    store.put({"key": Reply("", "stop", 0, 0, Ranking((-1.0,), (True,), ((5,),)))})
    with sqlite3.connect(filled) as database:
        database.execute("DELETE FROM rankings")
    assert store.get("key") is None


def test_replies_of_an_older_version_are_read(tmp_path: Path) -> None:
    path, request = tmp_path / "replies.sqlite", ask("old")
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE replies (key TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,"
            " prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL) WITHOUT ROWID"
        )
        database.execute("INSERT INTO replies VALUES (?, 'stored', 'stop', 1, 2)", (request_key("echo", request),))
    store = ReplyStore(path)
    assert list(StoredGenerator(Echo(), store).generate([request])) == [Reply("stored", "stop", 1, 2)]
    store.put({"new": Reply("new", "stop", 1, 2)})
    assert store.get("new") == Reply("new", "stop", 1, 2)


@pytest.fixture
def malformed(filled: Path) -> Path:
    """A store with a page in its middle that is overwritten."""
    content = bytearray(filled.read_bytes())
    assert len(content) > 15 * 4096
    content[10 * 4096 : 11 * 4096] = bytes(4096)
    filled.write_bytes(content)
    return filled


def test_a_malformed_store_is_named_with_what_can_be_saved_and_that_is_saved(
    malformed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"it is damaged.*malformed.*saves its 3\d\d readable replies") as caught:
        answers(StoredGenerator(Echo(), ReplyStore(malformed)))
    assert caught.value.where == str(malformed)
    main(["replies", "recover", "--store", str(malformed), "--out", str(tmp_path / "new.sqlite")])
    saved = ReplyStore(tmp_path / "new.sqlite")
    assert f"{len(saved)} replies saved" in capsys.readouterr().out
    assert 300 < len(saved) < 400
    engine = Echo()
    assert answers(StoredGenerator(engine, saved)) == [reply_to(ask(text)) for text in TEXTS]
    assert len(engine.asked) < 100
    with pytest.raises(SystemExit, match="it exists already"):
        main(["replies", "recover", "--store", str(malformed), "--out", str(tmp_path / "new.sqlite")])


def test_empty_and_unreadable_replies_are_asked_again_on_demand_and_once(tmp_path: Path) -> None:
    class Shy(Echo):
        def text_of(self, text: str) -> str:
            return {"a": "", "b": " \n", "c": "no number"}.get(text, "7")

    def requests() -> Iterator[ChatRequest]:
        for text in "abcdab":
            readable = (lambda reply: reply.text.isdigit()) if text in "cd" else None
            yield ChatRequest([message("user", text)], is_readable=readable)

    path = tmp_path / "replies.sqlite"
    list(StoredGenerator(Shy(), ReplyStore(path)).generate(requests()))
    idle, shy, echo = Echo(), Shy(), Echo()
    list(StoredGenerator(idle, ReplyStore(path)).generate(requests()))
    assert idle.asked == []
    list(StoredGenerator(shy, ReplyStore(path), retry_unreadable=True).generate(requests()))
    assert shy.asked == ["a", "b", "c"]
    replies = list(StoredGenerator(echo, ReplyStore(path), retry_unreadable=True).generate(requests()))
    assert echo.asked == ["a", "b", "c"]
    assert [getattr(reply, "text", None) for reply in replies] == [
        "echo a",
        "echo b",
        "echo c",
        "7",
        "echo a",
        "echo b",
    ]
