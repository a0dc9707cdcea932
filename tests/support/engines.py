"""Models that need no weights: they answer by rule, and note what they were asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Reply


def reply_to(request: ChatRequest) -> Reply:
    return Reply("echo " + request.messages[0]["content"][0]["text"], "stop", 1, 2)


class Echo:
    """Answers at once; fails what is named in `failing`, and stops at `deadly`."""

    name = "echo"
    request_changes: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, failing: Iterable[str] = (), deadly: str = ""):
        self.failing, self.deadly = set(failing), deadly
        self.asked: list[str] = []

    def text_of(self, text: str) -> str:
        """What it answers to `text`."""
        return f"echo {text}"

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        for number, request in enumerate(requests):
            text = request.messages[0]["content"][0]["text"]
            self.asked.append(text)
            if text == self.deadly:
                raise InputError("endpoint", "gone", "Start it")
            if text in self.failing:
                yield Failed("too long")
                continue
            reply = Reply(self.text_of(text), "stop", 1, 2)
            if on_replies:
                on_replies([(number, reply)])
            yield reply
