"""What a request to a chat completions API holds, and what its response says.

The API: https://platform.openai.com/docs/api-reference/chat; servers differ in the parameters that they take, and in
how they write a reply: a text or a list of parts, an error with status 200.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import FORMATS, open_encoded
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply
from cadvi_hub.generation.option_logprobs import ASKED_FOR, ranking_of
from cadvi_hub.generation.settings import EndpointSettings

PARAMETERS = ("temperature", "max_tokens", "top_p", "seed", "stop", "response_format")
_OURS = ("model", "messages", "stream", "n")  # what `extra_body` cannot change: replies would be lost or mixed up
_BROKEN_OFF = ("abort", "content_filter", "error")  # finish reasons of replies that the model did not finish


class ReplyError(Exception):
    """An error that a response with status 200 holds instead of a completion, as gateways send it."""

    def __init__(self, status_code: int, message: str):
        super().__init__(message)
        self.status_code, self.message = status_code, message


def check_parameters(settings: EndpointSettings) -> None:
    """InputError if `extra_body` or `rename_parameters` names what it cannot change."""
    for name in settings.rename_parameters:
        if name not in PARAMETERS:
            raise InputError(
                "rename_parameters", f"{name!r} is not sent", f"The parameters are {', '.join(PARAMETERS)}"
            )
    for name in settings.extra_body:
        if name in _OURS:
            raise InputError("extra_body", f"{name!r} cannot be set", "Leave it out")


def request_body(model: str, request: ChatRequest, settings: EndpointSettings, ranks: bool) -> dict[str, Any]:
    """The body of the request, with the parameters that this server takes under the names that it has for them.

    Args:
        ranks: ask for log-probabilities if the request has options.
    """
    decoding = request.decoding
    parameters: dict[str, Any] = {
        "temperature": decoding.temperature,
        "max_tokens": decoding.max_tokens,
        "top_p": decoding.top_p,
        "seed": decoding.seed,
    }
    if decoding.stop:
        parameters["stop"] = list(decoding.stop)
    if request.json_schema:
        schema = {"name": "reply", "schema": request.json_schema, "strict": True}
        parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
    renamed = ((settings.rename_parameters.get(name, name), value) for name, value in parameters.items())
    sent = {name: value for name, value in renamed if name}
    asked = ASKED_FOR if ranks and request.options else {}
    return {"model": model, "messages": chat_messages(request), **sent, **asked, **settings.extra_body}


def chat_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages in the form of the chat completions API, images as data URLs where the prompt has them."""
    images = iter(request.images)

    def content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if all(part["type"] == "text" for part in parts):
            return _whole("".join(part["text"] for part in parts))
        return [
            {"type": "text", "text": _whole(part["text"])}
            if part["type"] == "text"
            else {"type": "image_url", "image_url": {"url": _data_url(next(images))}}
            for part in parts
        ]

    return [{"role": turn["role"], "content": content(turn["content"])} for turn in request.messages]


def _data_url(data: bytes) -> str:
    try:
        with open_encoded(data) as image:
            mime = image.get_format_mimetype()
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, ValueError …
        problem = f"it is damaged, or none of {', '.join(FORMATS)}"
        raise InputError("picture of a request", problem, "Give PNG or JPEG pictures") from error
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def check_for_error(completion: Any) -> None:
    """Raise `ReplyError` if the response holds an error and no completion; status 400 where it gives none."""
    error = completion.get("error") if isinstance(completion, Mapping) else None
    if not error or completion.get("choices"):
        return
    details = error if isinstance(error, Mapping) else {"message": error}
    codes = [details.get(key) for key in ("code", "status", "status_code")]
    status = next((int(code) for code in map(str, codes) if code.isdecimal() and 400 <= int(code) < 600), 400)
    raise ReplyError(status, " ".join(str(details.get("message") or error).split()))


def read_completion(completion: Any, options: Sequence[str] = ()) -> Reply | Failed:
    """What a completion says, with the ranking of `options` where it has log-probabilities.

    Raises:
        AttributeError, LookupError, TypeError: it is not a completion.
    """
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    text, finish_reason = _text(choice["message"].get("content")), choice.get("finish_reason")
    if finish_reason in _BROKEN_OFF or (text is None and finish_reason != "length"):
        return Failed(f"the reply has no {'end' if text else 'text'} (finish_reason {finish_reason!r})")
    return Reply(
        text=_whole(text or ""),
        finish_reason="length" if finish_reason == "length" else "stop",
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
        ranking=ranking_of(choice, options) if options else None,
    )


def _text(content: Any) -> str | None:
    """A message's content: a text, or the text parts of a list; parts of other types hold a model's thoughts."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError(f"content of type {type(content).__name__}")
    texts = [part if isinstance(part, str) else part["text"] for part in content if _holds_text(part)]
    return "".join(texts) if texts else None


def _holds_text(part: Any) -> bool:
    return isinstance(part, str) or part.get("type", "text") in ("text", "output_text")


def _tokens(number: Any) -> int:
    """A number of tokens; 0 for a value that cannot be one, which is no reason to lose the reply."""
    return number if isinstance(number, int) and 0 <= number < 2**31 else 0


def _whole(text: str) -> str:
    """`text` without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def may_be_the_requests_own(error: Exception) -> bool:
    """Whether one request can cause this while the endpoint answers others; an overloaded one fails them all."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError | ReplyError):
        return error.status_code == 500
    return not isinstance(error, APIConnectionError)
