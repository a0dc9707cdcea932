"""Rows as text. The count of the tokens and the batches render here, so that both see the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from transformers import ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template

from cadvi_hub.core.schema import Message, message

Spans = list[tuple[int, int]]
MARKED = "text with a token of the model's own, such as <pad> or <image>"  # why a row is dropped


def fault(messages: Any) -> str | None:
    """What is wrong with the messages of a row; None if they can be rendered.

    A template would write a missing text as the word "None".
    """
    if not messages:
        return "it has no messages"
    for turn in messages:
        if not turn or not turn.get("role") or turn.get("content") is None:
            return "a message of it has no role or no content"
        for part in turn["content"]:
            if not part or part.get("type") not in ("text", "image"):
                return "a part of its messages is neither text nor image"
            if part["type"] == "text" and part.get("text") is None:
                return "a part of its messages has the type text, but no text"
    if not any(turn["role"] == "assistant" for turn in messages):
        return "it has no assistant message"
    return None


def render(processor: ProcessorMixin, conversations: Sequence[Sequence[Message]], **template: Any) -> Any:
    """The texts of conversations without `fault`, and for each the begin and end of its answers: (texts, spans).

    Args:
        processor: has the chat template and the special tokens.
        conversations: the messages of each row.
        template: such as `add_generation_prompt`.

    Raises:
        TemplateError, TypeError: the template refuses a conversation.
    """
    parts: Any = processor
    return render_jinja_template(
        conversations=[list(turns) for turns in conversations],
        chat_template=parts.chat_template,
        return_assistant_tokens_mask=True,
        **parts.tokenizer.special_tokens_map,
        **template,
    )


def has_marks(messages: Sequence[Message], marks: re.Pattern[str]) -> bool:
    """Whether a text of the messages contains what the tokenizer would read as a special token."""
    return any(marks.search(part["text"]) for turn in messages for part in turn["content"] if part["type"] == "text")


@lru_cache(maxsize=8)
def _pattern(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


def marks_of(processor: ProcessorMixin) -> re.Pattern[str]:
    """Matches the tokenizer's special tokens and the processor's place of an image."""
    parts: Any = processor
    special = {token.content for token in parts.tokenizer.added_tokens_decoder.values() if token.special}
    return _pattern(tuple(sorted(special | {parts.image_token}, key=len, reverse=True)))


def end_token(processor: ProcessorMixin) -> int | None:
    """The added token that ends the answers of the chat template, which the model learns to write; None if none."""
    parts: Any = processor
    turns = [("user", "?"), ("assistant", "a"), ("user", "?")]
    texts, spans = render(processor, [[message(role, text) for role, text in turns]])
    if not spans[0]:
        return None
    encoded = parts.tokenizer(texts[0], add_special_tokens=False, return_offsets_mapping=True)
    within = overlaps(encoded["offset_mapping"], spans[0])
    found = [token for token, is_within in zip(encoded["input_ids"], within, strict=True) if is_within]
    last = next((token for token in reversed(found) if parts.tokenizer.decode([token]).strip()), None)
    return last if last in parts.tokenizer.get_added_vocab().values() else None


def end_with(model: Any, token: int | None) -> None:
    """Put `token` among the end tokens of the model's generation."""
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    if token is not None and token not in ends:
        model.generation_config.eos_token_id = [*ends, token]


def overlaps(offsets: list[tuple[int, int]], spans: Any) -> np.ndarray:
    """Which tokens of these offsets (begin, end) overlap one of the spans, (tokens,)."""
    places = np.array(spans, dtype=int).reshape(-1, 2)
    start, end = np.array(offsets).T[..., None]
    within: np.ndarray = (start < places[:, 1]) & (end > places[:, 0])  # padding begins and ends at 0
    return np.asarray(within.any(axis=1))
