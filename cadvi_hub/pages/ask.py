"""`cadvi ask A.jpg B.jpg "What differs?"`: a model's answer about pictures, on the terminal, while it is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cadvi_hub.annotation.prompt import plain, render_prompt
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file
from cadvi_hub.core.images import plain_bytes
from cadvi_hub.core.schema import Message, message
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.generation.chat import ChatRequest, Decoding, Reply
from cadvi_hub.pages.chat import IN_COMMON_AND_DIFFERENT, chat_with
from cadvi_hub.pages.settings import AskSettings


def asked(key: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The keys for the arguments before the first one: pictures, and at last perhaps a question."""
    *pictures, last = arguments
    if Path(last).suffix and " " not in last:
        return {key: [*pictures, last]}
    return {key: pictures, "question": last}


def ask(settings: AskSettings) -> None:
    """Print the answer of the model to the question about the pictures, as it is written.

    With `summary` or without a question, it is asked for commonalities and differences. With `json` the answer is
    printed at the end, as JSON: `{"answer": …}`, or the parsed summary.

    Raises:
        InputError: no pictures, one that cannot be read, a model that fails, or a summary that cannot be parsed.
    """
    chat = chat_with(settings.model, settings.base_url, settings.api_key_env)
    request = _request(settings)
    print(chat.about, file=sys.stderr)
    text = ""
    for piece in chat.stream(request):
        text += piece
        if not settings.json:
            print(piece, end="", flush=True)
    answer = Reply(text, "stop", 0, 0).answer.strip()
    if not settings.json:
        print()
    elif settings.summary or not settings.question:
        try:
            print(json.dumps(asdict(parse_summary(answer)), ensure_ascii=False, indent=1))
        except ValueError as error:
            problem = f"this is no summary ({error}): {answer[:300]!r}"
            raise InputError(f"model {chat.name}", problem, "Leave out --json, or use a tuned model") from error
    else:
        print(json.dumps({"answer": answer}, ensure_ascii=False))


def answer_of(settings: AskSettings) -> str:
    """The whole answer of the model to the question about the pictures; InputError as `ask`."""
    chat = chat_with(settings.model, settings.base_url, settings.api_key_env)
    text = "".join(chat.stream(_request(settings)))
    return Reply(text, "stop", 0, 0).answer.strip()


def _request(settings: AskSettings) -> ChatRequest:
    pictures = tuple(_picture(path) for path in settings.images)
    return ChatRequest(_messages(settings), pictures, Decoding(max_tokens=settings.max_tokens))


def _messages(settings: AskSettings) -> list[Message]:
    number = len(settings.images)
    if not number:
        raise InputError("images", "no picture is given", 'Run `cadvi ask A.jpg B.jpg "What differs?"`')
    if settings.summary or not settings.question:
        if number != 2:
            raise InputError("images", f"a summary compares two pictures, not {number}", "Give two, or ask a question")
        return render_prompt("compare_images", wording=IN_COMMON_AND_DIFFERENT)
    names = ["<image>"] if number == 1 else [f"Image {place}: <image>" for place in range(1, number + 1)]
    return [message("user", "\n".join([*names, plain(settings.question)]))]


def _picture(path: Path) -> bytes:
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "Name a picture") from error
    return plain_bytes(data, str(path))
