"""The one seam in front of every model: chat requests with images go in, replies come out in the same order."""

from __future__ import annotations

import hashlib
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
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

    `messages` have the form that `schema.message` makes; `images` are encoded pictures (PNG, JPEG …), one per image
    part, in the order of the parts. With `json_schema`, an engine that can enforce it replies with JSON of that form.
    With `options`, a local model ranks them and writes no text; an endpoint writes a text, and ranks them by their
    first tokens if it returns log-probabilities.
    `is_readable` says whether a reply can be used: `retry_unreadable` asks others again. It is no part of the key.
    """

    messages: list[Message]
    images: tuple[bytes, ...] = ()
    decoding: Decoding = Decoding()
    json_schema: dict[str, Any] | None = None
    options: tuple[str, ...] = ()
    is_readable: Callable[[Reply], bool] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How likely the model finds each option: log-probability (natural, summed over the option's tokens), whether
    greedy decoding would write it, and its tokens."""

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, and whether it finished ("stop") or was cut at `max_tokens` ("length")."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    ranking: Ranking | None = None

    @property
    def answer(self) -> str:
        """`text` without a reasoning model's thoughts, and without the end-of-turn tokens that some servers leave in.

        Empty where the model never stopped thinking.
        """
        text = _END_OF_TURN.sub("", self.text)
        *_, answer = _THOUGHTS_END.split(text)
        return "" if _THOUGHTS_BEGIN.match(answer) else answer


_THOUGHTS_BEGIN = re.compile(r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\])", re.IGNORECASE)
# Qwen, DeepSeek and others; Magistral; gpt-oss
_THOUGHTS_END = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
_END_OF_TURN = re.compile(
    r"(?:\s*(?:<\|(?:im_end|end|eot_id|eom_id|endoftext|end_of_text|return|eot)\|>|</s>|<end_of_turn>))+\s*\Z"
)


@dataclass(frozen=True, slots=True)
class Failed:
    """This one request got no reply, for example because it was too long; the others go on."""

    reason: str


OnReplies = Callable[[Sequence[tuple[int, Reply]]], None]  # each with the number of its request, from 0


class MadeAsRead(Iterator[ChatRequest]):
    """`requests`, made one by one while `source` is read: all their pictures together do not fit into memory.

    The number of items left in `source` is an upper bound on the requests to come; progress bars take it as total.
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
        """Model name and, where known, revision, as the rows of a data set record it; never a path of a machine."""
        ...

    @property
    def request_changes(self) -> Mapping[str, Any]:
        """What settings add to every request, rename in it or leave out of it; empty where they do not."""
        ...

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        """One result per request, in the same order; `requests` is read only a little ahead of what is yielded.

        `on_replies` gets replies as soon as they arrive, several at a time, perhaps out of order and in another
        thread; there are never two calls at once.
        """
        ...


def ask(
    generator: Generator, items: Sequence[_T], request: Callable[[_T], ChatRequest]
) -> Iterator[tuple[_T, Reply | Failed]]:
    """Each of `items` with its reply or failure, in order; requests are made while earlier ones are answered."""
    unread = iter(items)
    return zip(items, generator.generate(MadeAsRead(map(request, unread), unread)), strict=True)


def public_name(model: str) -> str:
    """`model`; of an absolute path only the last two folders, so that rows of a data set do not show where it was."""
    path = Path(model)
    return "/".join(path.parts[1:][-2:]) if path.is_absolute() else model


def without_system_role(messages: Sequence[Message]) -> list[Message]:
    """The chat with its system text at the start of the first user turn, for models that know no system role."""
    system = [part for turn in messages if turn["role"] == "system" for part in turn["content"]]
    turns = [turn for turn in messages if turn["role"] != "system"]
    if not system:
        return turns
    rules: list[dict[str, Any]] = [*system, {"type": "text", "text": "\n\n"}]
    if not turns or turns[0]["role"] != "user":
        return [{"role": "user", "content": rules}, *turns]
    return [{"role": "user", "content": [*rules, *turns[0]["content"]]}, *turns[1:]]


def request_key(
    model: str,
    request: ChatRequest,
    served: Mapping[str, str | int] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256 over everything that decides a reply: model, messages, pictures, decoding, schema and options.

    `served` is what an endpoint says about the model (`identity.py`), `changes` the generator's `request_changes`.
    """
    content = {
        "model": model,
        "messages": request.messages,
        "images": [hashlib.sha256(image).hexdigest() for image in request.images],
        "decoding": {name: getattr(request.decoding, name) for name in _DECODING},  # `asdict` copies deeply: slow
        "json_schema": request.json_schema,
        **({"options": request.options} if request.options else {}),
        **({"served": served} if served else {}),
        **({"changes": changes} if changes else {}),
    }
    return hashlib.sha256(_CANONICAL(content).encode()).hexdigest()


_DECODING = [entry.name for entry in fields(Decoding)]
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
