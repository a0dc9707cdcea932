"""The reply store keeps rankings of options as it keeps texts."""

from dataclasses import replace
from pathlib import Path

from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Ranking, Reply, request_key
from cadvi_hub.generation.store import ReplyStore

RANKING = Ranking((-0.1, -2.5000000000000004), (True, False), ((3, 4), (5,)))
REQUEST = ChatRequest([message("user", "A or B?")])


def test_a_stored_ranking_comes_back_as_it_was(tmp_path: Path) -> None:
    replies = {"ranked": Reply("", "stop", 0, 0, RANKING), "written": Reply("A", "stop", 5, 1)}
    ReplyStore(tmp_path / "replies.sqlite").put(replies)
    store = ReplyStore(tmp_path / "replies.sqlite")
    assert {key: store.get(key) for key in replies} == replies
    assert len(store) == 2


def test_options_decide_a_ranking_and_leave_the_key_of_other_requests_alone() -> None:
    asked = [REQUEST, replace(REQUEST, options=("A", "B")), replace(REQUEST, options=("B", "A"))]
    keys = [request_key("model", request) for request in asked]
    assert len(set(keys)) == 3
    before = "1f4fbe0a0f01e998f8f4685c7a9efafc456996733ed50459ef5104cdda16ee45"
    assert keys[0] == before  # older stores stay of use
