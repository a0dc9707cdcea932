"""One seam in front of every model: chat requests with images go in, replies come out, in order."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from cadvi_hub.core.schema import Message

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a reply is sampled; temperature 0 is greedy."""

    temperature: float = 0.0
    max_tokens: int = 512
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat to answer.

    `messages` are as in `schema.message`; `images` are encoded pictures (PNG, JPEG …), one per image part, in the
    order of the parts. With `json_schema` the reply has to be JSON of that form, where the engine can enforce it.
    """

    messages: list[Message]
    images: tuple[bytes, ...] = ()
    decoding: Decoding = Decoding()
    json_schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, and whether it came to an end ("stop") or was cut at `max_tokens` ("length")."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Failed:
    """This one request got no reply (it was too long, say); others go on."""

    reason: str


OnReplies = Callable[[Sequence[tuple[int, Reply]]], None]  # each with the number of its request, from 0


class MadeAsRead(Iterator[ChatRequest]):
    """`requests`, made one by one while `source` is read (their pictures are too large to hold them all).

    What `source` has left is an upper bound of the requests to come, which gives progress bars their total.
    """

    def __init__(self, requests: Iterator[ChatRequest], source: Iterator[Any]):
        self._requests, self._source = requests, source

    def __next__(self) -> ChatRequest:
        return next(self._requests)

    def __length_hint__(self) -> int:
        return operator.length_hint(self._source)


class Generator(Protocol):
    """A model that answers chats."""

    @property
    def name(self) -> str:
        """Model name and, where it is known, revision: what the rows of a data set record; never a machine's path."""
        ...

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        """One result per request, in their order; `requests` is read only a little ahead of what is yielded.

        `on_replies` gets the replies the moment they are there, those that came together in one call, possibly before
        their turn and from another thread; never two calls at once.
        """
        ...


def ask(
    generator: Generator, items: Sequence[_T], request: Callable[[_T], ChatRequest]
) -> Iterator[tuple[_T, Reply | Failed]]:
    """Each of `items` with what comes of its request, in order; requests are made while earlier ones are answered."""
    unread = iter(items)
    return zip(items, generator.generate(MadeAsRead(map(request, unread), unread)), strict=True)


def public_name(model: str) -> str:
    """`model`; of an absolute path only the last two folders, for rows of a data set do not tell where it lay."""
    path = Path(model)
    return "/".join(path.parts[1:][-2:]) if path.is_absolute() else model


def request_key(model: str, request: ChatRequest) -> str:
    """SHA-256 over all that decides a reply: model, messages, pictures, decoding and schema."""
    content = {
        "model": model,
        "messages": request.messages,
        "images": [hashlib.sha256(image).hexdigest() for image in request.images],
        "decoding": {name: getattr(request.decoding, name) for name in _DECODING},  # `asdict` copies deeply: slow
        "json_schema": request.json_schema,
    }
    return hashlib.sha256(_CANONICAL(content).encode()).hexdigest()


_DECODING = [field.name for field in fields(Decoding)]
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
