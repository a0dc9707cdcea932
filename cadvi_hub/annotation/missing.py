"""Differences in aspects that a summary leaves out, found by asking the same short question about each image.

A model that compares two images often says nothing of numbers, actions and places, but names them when it is asked
about one image. What it answers differently becomes a difference, which is verified like all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cadvi_hub.annotation.claim_questions import plural, sentence_of
from cadvi_hub.annotation.statements import Question, Statements
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.claims import BOTH, Claim
from cadvi_hub.grounding.phrases import NUMBERS, Mention

MOST_KINDS = 3  # kinds of things that are asked about: the first ones that the summary names

_QUESTIONS: Mapping[Aspect, Callable[[str], str]] = {
    Aspect.COUNTS: lambda kind: f"How many {plural(kind)} are there?",
    Aspect.ACTIONS: lambda kind: f"What is the {kind} doing?",
    Aspect.LOCATIONS: lambda kind: f"Where in the image is the {kind}?",
}
_NUMBERS = {"no": 0, "none": 0, "zero": 0, **NUMBERS}
_NUMBER = re.compile(rf"\b(?:\d{{1,2}}|{'|'.join(_NUMBERS)})\b")
_ACTION = re.compile(r"\b(?!(?:(?:some|any|no)?thing|during|being|doing)\b)[a-z]{2,}ing\b")
_PLACES = {"upper": "top", "lower": "bottom", "middle": "center", "centre": "center"}
_PLACE = re.compile(r"\b(?:top|upper|bottom|lower|left|right|cent(?:er|re)|middle)\b")


def missing_questions(summary: CadSummary) -> list[Question]:
    """What to ask about each image, for each aspect in which `summary` has no difference."""
    texts = [question for _, _, question in _asked(summary)]
    return [(image, text) for image in BOTH for text in texts]


def missing_differences(summary: CadSummary, answers: Mapping[Question, str]) -> tuple[Difference, ...]:
    """The differences between the `answers` about image 0 and those about image 1."""
    found: dict[Aspect, list[str]] = {}
    for aspect, kind, question in _asked(summary):
        mentions = [read_answer(aspect, kind, answers.get((image, question), "")) for image in BOTH]
        if None not in mentions and mentions[0] != mentions[1]:
            first, second = (_said(mention, image) for mention, image in zip(mentions, BOTH, strict=True) if mention)
            found.setdefault(aspect, []).append(f"{first[:-1]}, while {second[0].lower()}{second[1:]}")
    return tuple(Difference(aspect, " ".join(found[aspect])) for aspect in Aspect if aspect in found)


def read_answer(aspect: Aspect, kind: str, answer: str) -> Mention | None:
    """What a short answer says of `kind`; None where it names no number, action or place. 0 is a `count` of -1."""
    answer = answer.lower()
    if aspect == Aspect.COUNTS:
        number = _NUMBER.search(answer)
        if number is None:
            return None
        count = int(number[0]) if number[0].isdecimal() else _NUMBERS[number[0]]
        return Mention(plural(kind) if count > 1 else kind, count or -1, ())
    if aspect == Aspect.ACTIONS:
        action = _ACTION.search(answer)
        return Mention(kind, 0, (), action=action[0]) if action else None
    words = {_PLACES.get(word, word) for word in _PLACE.findall(answer)}
    edges, sides = words & {"top", "bottom"}, words & {"left", "right"}
    if not words or len(edges) > 1 or len(sides) > 1:
        return None
    if edges:
        return Mention(kind, 0, (), place=" ".join(("at the", *edges, *sides)))
    return Mention(kind, 0, (), place=f"on the {sides.pop()}" if sides else "in the center")


def _asked(summary: CadSummary) -> list[tuple[Aspect, str, str]]:
    """Aspect, kind of thing and question, for all that is asked about each image."""
    present = {difference.aspect for difference in summary.differences}
    kinds = Statements(summary).kinds()[:MOST_KINDS]
    return [(aspect, kind, ask(kind)) for aspect, ask in _QUESTIONS.items() if aspect not in present for kind in kinds]


def _said(mention: Mention, image: int) -> str:
    if mention.count < 0:
        return sentence_of(Claim("", Mention(mention.kind, 0, ()), absent_from=(image,)))
    return sentence_of(Claim("", mention, (image,)))
