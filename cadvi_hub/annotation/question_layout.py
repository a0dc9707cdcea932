"""The text form of a conversation about two images: we write one layout and read the many that LLMs use.

Layout (ours, the paper's is not published): `Question: …`, on the next line `Answer: …`, a blank line between turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cadvi_hub.core.json_text import read_json, text_of
from cadvi_hub.core.summaries import normalize, object_schema


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A question about two images and its reference answer."""

    question: str
    answer: str


_MARK = r"[ \t]*(?:(?:[-*•–]|#+|\(?\d{1,2}[.)])[ \t]+)*"
_MARKED = re.compile(_MARK)


def _label(names: str) -> re.Pattern[str]:
    number = r"[ \t]*#?\d{1,2}[ \t]*"
    end = rf"(?:(?:{number})?[ \t]*:|{number}[.)]|{number}$)"
    return re.compile(rf"{_MARK}(?:{names}){end}[ \t]*(?P<text>.*)", re.IGNORECASE)


# What starts a question and what starts an answer; the first layout that a reply shows is used for all of it.
_LAYOUTS = (
    (_label("question|q"), _label("answer|a")),
    (_label("user|human"), _label("assistant|gpt")),
    (re.compile(r"[ \t]*\(?\d{1,2}[.)][ \t]+(?P<text>[^?]*\?)[ \t]*(?P<answer>.*)"), _label("answer|a")),
)
_HEADING = re.compile(r"[-=_*#\s]*(?:(?:turn|round|q&a)[ \t]*#?\d{1,2}[ \t]*:?)?", re.IGNORECASE)  # or a blank line
# A layout squeezed into one line gets its line breaks back.
_INLINE = re.compile(r"(?<=[.?!])[ \t]+(?=(?:Question|Answer|Q|A|User|Assistant)[ \t]*\d{0,2}:)")
_CANONICAL = re.compile(r"Question: [^\n]+\nAnswer: [^\n]+(?:\n\nQuestion: [^\n]+\nAnswer: [^\n]+)*")


def render_questions(turns: Iterable[QuestionAnswer]) -> str:
    """The turns in the layout that the prompt asks for."""
    return "\n\n".join(f"Question: {normalize(turn.question)}\nAnswer: {normalize(turn.answer)}" for turn in turns)


def parse_questions(text: str) -> list[QuestionAnswer]:
    """Read a conversation; the inverse of `render_questions` where the texts are normalised and not empty.

    Also read: bold, bulleted or numbered labels, `Q1:`, `User:` and `Assistant:`, numbered questions without a label,
    everything on one line. A missing question or answer is read as empty. An answer is one paragraph: text between
    its end and the next label, or before the first one, is a heading or a remark and is left out.

    Raises:
        ValueError: no question in any of the layouts.
    """
    if _CANONICAL.fullmatch(text.strip()):
        lines = [line.partition(": ")[2] for line in text.strip().split("\n")]
        return [QuestionAnswer(*turn) for turn in zip(lines[::3], lines[1::3], strict=True)]
    lines = list(_lines(text))
    starts = [next((k for k, line in enumerate(lines) if asks.fullmatch(line)), len(lines)) for asks, _ in _LAYOUTS]
    start = min(starts)
    if start == len(lines):
        raise ValueError("no question in it")
    asks, answers = _LAYOUTS[starts.index(start)]
    turns: list[tuple[list[str], list[str]]] = []
    words: list[str] | None = None
    for line in lines[start:]:
        if found := asks.fullmatch(line):
            unlabelled = found.groupdict().get("answer")
            turns.append(([found["text"]], [] if unlabelled is None else [unlabelled]))
            words = turns[-1][unlabelled is not None]
        elif found := answers.fullmatch(line):
            if any(turns[-1][1]):
                turns.append(([], []))
            words = turns[-1][1]
            words.append(found["text"])
        elif words is None:
            continue
        elif not _HEADING.fullmatch(line):
            words.append(line)
        elif words is turns[-1][1] and any(words):
            words = None
    return [QuestionAnswer(normalize(" ".join(question)), normalize(" ".join(answer))) for question, answer in turns]


def _lines(text: str) -> Iterator[str]:
    """The lines without bold marks and fences; a label inside a line gets its own line."""
    for line in re.sub(r"\*{2,}|`{3}\w*", "", text).split("\n"):
        mark = _MARKED.match(line)
        start = mark.end() if mark else 0  # "2. Question:" is one label
        yield from (line[:start] + _INLINE.sub("\n", line[start:])).split("\n")


def parse_questions_json(text: str) -> list[QuestionAnswer]:
    """Read a conversation that follows `questions_json_schema`.

    Raises:
        ValueError: not JSON, not of that form, or without a question.
    """
    try:
        turns = [(turn["question"], turn["answer"]) for turn in read_json(text)["questions"]]
        if not turns:
            raise ValueError("no question in it")
        return [QuestionAnswer(normalize(text_of(question)), normalize(text_of(answer))) for question, answer in turns]
    except (KeyError, TypeError) as error:
        raise ValueError(f"JSON of another form ({error!r})") from error


def questions_json_schema(max_question: int = 250, max_answer: int = 500) -> dict[str, Any]:
    """JSON schema of a conversation; string lengths (characters) are bounded, because a model may not end a string."""
    turn = object_schema(
        question={"type": "string", "maxLength": max_question}, answer={"type": "string", "maxLength": max_answer}
    )
    return object_schema(questions={"type": "array", "items": turn, "minItems": 3, "maxItems": 5})
