"""JSON that a model wrote: alone, in a code fence, or between remarks."""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: str) -> Any:
    """The one JSON object or list in `text`; half of a surrogate pair is read as U+FFFD.

    Raises:
        ValueError: none, several, NaN or Infinity, too deep nesting, or whatever else is wrong with it.
    """
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    if not starts:
        raise ValueError("Expecting value: no JSON in it")
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse)
    try:
        value, end = decoder.raw_decode(text, min(starts))
        value = _whole(value)
    except RecursionError:
        raise ValueError("JSON of another form (too deeply nested)") from None
    if "{" in text[end:]:
        raise ValueError("JSON of another form (several objects)")
    return value


def text_of(value: Any) -> str:
    """A JSON value as running text: lists and objects are joined, "Image 1: a ball. Image 2: a stick".

    Raises:
        ValueError: it is a number, or holds true, false, NaN or Infinity.
    """
    if isinstance(value, int | float):
        raise ValueError(f"JSON of another form ({value} is no text)")
    return _text_of(value)


def _text_of(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"JSON of another form ({value} is no text)")
    if isinstance(value, list):
        return " ".join(map(_sentence, filter(None, map(_text_of, value))))
    if isinstance(value, dict):
        return " ".join(_sentence(f"{name}: {text}") for name, each in value.items() if (text := _text_of(each)))
    return str(value)


def _sentence(text: str) -> str:
    return text if text.rstrip()[-1:] in (".", "!", "?") else f"{text}."


def _refuse(constant: str) -> Any:
    raise ValueError(f"JSON of another form ({constant} is no text)")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {_whole(name): _whole(each) for name, each in value.items()} if isinstance(value, dict) else value
