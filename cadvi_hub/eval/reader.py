"""An LLM as the last reader: which option chooses an answer that the tolerant reading cannot read?

It is off by default, and its readings are counted separately: neither the strict nor the tolerant score changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.eval.scoring import READER, UNANSWERED, Prediction
from cadvi_hub.eval.settings import ReaderSettings
from cadvi_hub.generation.chat import ChatRequest, Decoding, Reply, ask
from cadvi_hub.generation.make import make_generator

_LONGEST = 16  # tokens of a reply
_MOST_CHARACTERS = 4000  # of an answer: its end, where the choice is
_NONE = "none"


class Asked(NamedTuple):
    """What a model was asked: the text of a question, and its options."""

    text: str
    options: Sequence[str]


def read_with_model(
    rows: Mapping[str, Sequence[Prediction]],
    asked: Mapping[str, Mapping[int, Asked]],
    settings: ReaderSettings,
    replies: Path,
) -> dict[str, list[dict[str, Any]]]:
    """`rows` (task → predictions), with the reading of an LLM in those that the tolerant reading cannot read.

    Args:
        rows: the predictions; those of open sets stay as they are.
        asked: task → index of a row → what was asked.
        settings: the reader.
        replies: file that keeps its replies.

    Raises:
        InputError: it cannot be loaded, or its endpoint keeps failing.
    """
    unread = [
        (task, row, asked[task][row["index"]])
        for task, of_task in rows.items()
        for row in of_task
        if "tolerant" in row and row["tolerant"] is None and row["prediction"].strip() and UNANSWERED not in row
    ]
    unread = [each for each in unread if each[2].options]
    found: dict[tuple[str, int], str | None] = {}
    if unread:
        endpoint = settings if settings.base_url else None
        generator = make_generator(settings.model, endpoint, batch_size=settings.batch_size, replies=replies)
        for (task, row, question), outcome in ask(generator, unread, lambda each: _request(each[1], each[2])):
            said = outcome.answer if isinstance(outcome, Reply) else ""
            found[task, row["index"]] = _option(said, question.options)
    return {
        task: [
            {**row, READER: found[task, row["index"]]} if (task, row["index"]) in found else dict(row)
            for row in of_task
        ]
        for task, of_task in rows.items()
    }


def _request(row: Prediction, question: Asked) -> ChatRequest:
    answer = row["prediction"][-_MOST_CHARACTERS:]
    messages = render_prompt("read_answer", question=question.text, options=list(question.options), answer=answer)
    return ChatRequest(messages, decoding=Decoding(max_tokens=_LONGEST))


def _option(said: str, options: Sequence[str]) -> str | None:
    """The option that the reply is; nothing is guessed from a longer reply."""
    plain = said.strip().strip("\"'`*.()[]<>").strip()
    if plain.casefold() == _NONE:
        return None
    same = [option for option in options if option.casefold() == plain.casefold()]
    return same[0] if len(same) == 1 else None
