"""What a judge is asked about one answer, and what its reply says: pure functions.

The scale from 0 to 5 is the paper's; the wording is ours, because the paper's is not published. A reply that cannot be
read has no rating; no number replaces it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.core.summaries import object_schema
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Reply

HIGHEST = 5  # the lowest rating is 0
PROMPTS = {task: benchmark.judge_prompt for task, benchmark in BENCHMARKS.items() if benchmark.is_open}

# Why an answer has no rating
UNANSWERED = "unanswered"  # this request got no reply
CUT_OFF = "cut off"
NO_RATING = "no rating"
SEVERAL = "several ratings"
OUT_OF_SCALE = "out of scale"

CUT_HERE = " … (cut)"
_NO_MARKUP = str.maketrans("<>[]{}", "‹›()()")

_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>|◁/think▷|<\|channel\|>final<\|message\|>", re.I)
_MARKS = r"[\s*_\"'`$\[({]*"
_NUMBER = (  # of ASCII digits; no part of a range, of a decimal comma, of a percentage or of a date
    r"(?P<value>-?[0-9]+(?:\.[0-9]+)?)(?:\s*(?:/|out\s+of)\s*(?P<top>[0-9]+)(?:\.0)?)?"
    r"(?![\w/]|[.,][0-9]|\s*%|\s*(?:[-–]|or|to|and)\s*[0-9])"
)
_SCALE = r"(?:(?:\([^)\n]*\)|\[[^]\n]*\]|from\s+0\s+to\s+5|out\s+of\s+5)[\s*_]*)?"
_NOUN = rf"(?:\b(?:rating|score|grade)|评分|得分){_MARKS}{_SCALE}"
_COLON = r"[:=：]"
_IS = rf"(?:{_COLON}|(?:is|of|would\s+be|should\s+be)\b[:：]?)"
_ABOUT = r"(?:for|of)\s+(?:the|this|that|my)\s+[a-z ]{1,30}?\s*"  # "Score for the answer: 4"
_HYPOTHETICAL = r"(?!\s+(?:would|could|needs|requires|if)\b)"
_DENIED = re.compile(r"(?:\b(?:not|never|neither|cannot)|n't)\s+(?:\w+\s+){0,3}$", re.IGNORECASE)
_LISTED = re.compile(r"^\W*[0-9]+[.):]\s", re.MULTILINE)
_DIVISION = re.compile(r"\"(?:rating|score)\"\s*:\s*[0-9]+\s*/", re.IGNORECASE)  # JSON knows no 4/5 without quotes
_READINGS = [  # from the most to the least certain; the first that matches decides
    [re.compile(pattern, re.IGNORECASE | re.MULTILINE) for pattern in patterns]
    for patterns in (
        [  # a line "Rating: 4", and the marks that judges are taught
            rf"^\W*(?:(?:my|the|final|overall)\s+)*(?:{_NOUN}|overall)(?:{_COLON}|[-–—]\s|\n){_MARKS}{_NUMBER}",
            rf"\[\[\s*{_NUMBER}\s*\]\]",
            rf"\\boxed\{{\s*{_NUMBER}\s*\}}",
            rf"\[RESULT\]\W*?{_NUMBER}",
            rf"<(?:rating|score|grade|result|answer)>\s*{_NUMBER}\s*</",
        ],
        [rf"\A\W*?{_NUMBER}(?:\s+(?:points?|stars?))?\W*\Z"],  # nothing but "4/5"
        [rf"{_NOUN}(?:{_ABOUT})?{_COLON}{_MARKS}{_NUMBER}", rf"^\W*(?:final\s+)?answer{_COLON}{_MARKS}{_NUMBER}\W*$"],
        [
            rf"{_NOUN}(?:{_ABOUT})?{_IS}{_MARKS}(?:an?\s+)?{_NUMBER}{_HYPOTHETICAL}",
            rf"\brate[sd]?\s+(?:(?:it|this|the|answer|summary|as|at|with|an?)\s+)*{_NUMBER}{_HYPOTHETICAL}",
            rf"\b(?:give|assign|award)s?\s+(?:(?:it|this|the|answer|summary|an?)\s+)*{_NUMBER}{_HYPOTHETICAL}",
            rf"(?<![\w.,/])(?P<value>[0-9]+(?:\.[0-9]+)?)\s*(?:/|out\s+of)\s*(?P<top>{HIGHEST})\b(?![/,][0-9])",
        ],
        [rf"\A[\s*_\"'`(]*{_NUMBER}[\s*_\"'`)]*(?:\n|[.:](?=\s)|\s[-–—]\s)"],  # "4. The answer is mostly right."
    )
]


class Answered(NamedTuple):
    """A question, its reference answer, and the answer to be rated."""

    question: str
    reference: str
    answer: str


class Rating(NamedTuple):
    """A rating from 0 to 5 with its reason; None with the `problem` that makes it unreadable."""

    value: float | None
    reason: str
    problem: str = ""


def rating_schema(max_reason: int = 400) -> dict[str, Any]:
    """JSON schema of a reply; the reason comes first, so that the rating follows from it.

    Args:
        max_reason: characters of the reason; a model may not end an unbounded string.
    """
    return object_schema(
        reason={"type": "string", "maxLength": max_reason},
        rating={"type": "integer", "enum": list(range(HIGHEST + 1))},
    )


def rating_request(
    task: str, answered: Answered, max_chars: int, decoding: Decoding, json_schema: bool
) -> ChatRequest:
    """What the judge is asked.

    The texts are data: they are between tags that they cannot close, because `as_data` leaves no tag in them.

    Args:
        task: name of the set, which decides the prompt.
        answered: the texts.
        max_chars: the answer is cut after this many characters, so that it fits into the judge's context.
        decoding: how the reply is sampled.
        json_schema: whether the engine holds the reply to `rating_schema`.
    """
    answer = answered.answer
    shown = answer if len(answer) <= max_chars else answer[:max_chars] + CUT_HERE
    texts = {"reference": as_data(answered.reference), "answer": as_data(shown)}
    if PROMPTS[task] == "judge_answer":  # the request for a summary is always the same and is in its prompt
        texts["question"] = as_data(answered.question)
    messages = render_prompt(PROMPTS[task], **texts)
    return ChatRequest(messages, decoding=decoding, json_schema=rating_schema() if json_schema else None)


def as_data(text: str) -> str:
    """`text` with harmless brackets: it keeps no tag of ours, no turn marker of a chat template (`</answer>`,
    `[/INST]`, `<|im_end|>`) and no JSON that a judge might quote."""
    return text.translate(_NO_MARKUP).strip()


def read_rating(outcome: Reply | Failed) -> Rating:
    """The rating in a judge's reply, as JSON or, without JSON, in prose.

    "Rating: 4", "**Score:** 4/5", "[[4]]", "I would rate this answer 4 out of 5", a bare "4" and one with an
    explanation after it are read. Several numbers that differ, a range, a decimal comma, another scale, words, and a
    prose reply that was cut are not.
    """
    if isinstance(outcome, Failed):
        return Rating(None, outcome.reason, UNANSWERED)
    text = _THOUGHT.split(outcome.text)[-1].strip()  # what a reasoning model says at the end
    is_cut = outcome.finish_reason == "length"
    if "<think>" in text:
        return Rating(None, text, CUT_OFF if is_cut else NO_RATING)
    objects = list(_objects(text))
    if objects:
        return _decided([_scaled(value) for value, _ in objects], objects[-1][1])
    if is_cut:
        return Rating(None, text, CUT_OFF)
    is_list = len(_LISTED.findall(text)) > 1  # its first number is no rating
    for patterns in () if _DIVISION.search(text) else _READINGS[: -1 if is_list else None]:
        matches = [match for pattern in patterns for match in pattern.finditer(text)]
        if found := [match for match in matches if not _DENIED.search(text[: match.start()])]:
            return _decided([_on_scale(match["value"], match["top"]) for match in found], text)
    return Rating(None, text, NO_RATING)


def _objects(text: str) -> Iterator[tuple[Any, str]]:
    """Rating and reason of each JSON object in `text` that has a rating."""
    decoder, start = json.JSONDecoder(strict=False), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            named = {key.lower(): value for key, value in found.items()}
            for key in ("rating", "score"):
                if key in named:
                    reason = str(named.get("reason", ""))  # JSON can escape a lone surrogate, which UTF-8 cannot hold
                    yield named[key], reason.encode("utf-8", "replace").decode()
                    break
        start = text.find("{", end)


def _scaled(value: Any) -> float | None:
    """The number in a JSON value, 4, 4.0, "4" or "4/5"; NaN if there is none, None if it is out of scale."""
    found = re.fullmatch(rf"\s*{_NUMBER}\s*", value if isinstance(value, str) else json.dumps(value))
    return _on_scale(found["value"], found["top"]) if found else float("nan")


def _on_scale(value: str, top: str | None) -> float | None:
    number = float(value)
    return number if top in (None, str(HIGHEST)) and 0 <= number <= HIGHEST else None


def _decided(values: list[float | None], reason: str) -> Rating:
    if any(value != value for value in values):  # NaN
        return Rating(None, reason, NO_RATING)
    if len(set(values)) > 1:
        return Rating(None, reason, SEVERAL)
    return Rating(values[0], reason, "" if values[0] is not None else OUT_OF_SCALE)
