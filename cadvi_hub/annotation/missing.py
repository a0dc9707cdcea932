"""What a summary leaves out, found by asking the same short question about each image.

A model that compares two images often says nothing of numbers, actions and places, or says of one image what it should
say of both, but it answers when it is asked about one image. Answers that differ become a difference, and answers that
agree a commonality; all are verified like the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cadvi_hub.annotation.claim_questions import plural, sentence_of
from cadvi_hub.annotation.statements import Question, Statements
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.claims import BOTH, Claim
from cadvi_hub.grounding.phrases import NUMBERS, Mention
from cadvi_hub.grounding.words import COLORS, SIZES

MOST_KINDS = 3  # kinds of things that are asked about: the first ones that the summary names

_QUESTIONS: tuple[tuple[Aspect, Callable[[str], str]], ...] = (
    (Aspect.ATTRIBUTES, lambda kind: f"What color is the {kind}?"),
    (Aspect.ATTRIBUTES, lambda kind: f"What size is the {kind}?"),
    (Aspect.COUNTS, lambda kind: f"How many {plural(kind)} are there?"),
    (Aspect.ACTIONS, lambda kind: f"What is the {kind} doing?"),
    (Aspect.LOCATIONS, lambda kind: f"Where in the image is the {kind}?"),
)
_SETTING = "Where is all this?"
_NUMBERS = {"no": 0, "none": 0, "zero": 0, **NUMBERS}
_NUMBER = re.compile(rf"\b(?:\d{{1,2}}|{'|'.join(_NUMBERS)})\b")
_ACTION = re.compile(r"\b(?!(?:(?:some|any|no)?thing|during|being|doing)\b)[a-z]{2,}ing\b")
_PLACES = {"upper": "top", "lower": "bottom", "middle": "center", "centre": "center"}
_SETTING_SAID = re.compile(r"\b(?P<where>in|on|at) (?:the|an?) (?P<what>[a-z]+)\b")
_PLACE = re.compile(r"\b(?:top|upper|bottom|lower|left|right|cent(?:er|re)|middle)\b")


def missing_questions(written: CadSummary, left: CadSummary) -> list[Question]:
    """What to ask about each image, in each aspect in which `left` does not say of both how they differ.

    Args:
        written: the summary as it was written, which names the things that are asked about.
        left: what is left of it.
    """
    texts = [question for _, _, question in _asked(written, left)]
    return [(image, text) for image in BOTH for text in texts]


def missing_statements(written: CadSummary, left: CadSummary, answers: Mapping[Question, str]) -> CadSummary:
    """What the `answers` about image 0 and about image 1 have in common, and how they differ.

    Numbers, actions and settings that agree become commonalities; summaries rarely say these.
    """
    same: list[str] = []
    acts = Statements(written).kinds()
    found: dict[Aspect, list[str]] = {}
    for aspect, kind, question in _asked(written, left):
        first, second = (read_answer(aspect, kind, answers.get((image, question), "")) for image in BOTH)
        if first is None or second is None:
            continue
        if first != second:
            one, other = _said(first, (0,)), _said(second, (1,))
            found.setdefault(aspect, []).append(f"{one[:-1]}, while {other[0].lower()}{other[1:]}")
        elif first.count > 0 or not kind or (aspect == Aspect.ACTIONS and acts[kind]):  # not of a tree
            same.append(_said(first, BOTH))
    differences = tuple(Difference(aspect, " ".join(found[aspect])) for aspect in Aspect if aspect in found)
    return CadSummary(" ".join(same), differences)


def read_answer(aspect: Aspect, kind: str, answer: str) -> Mention | None:
    """What a short answer says of `kind`, or of the setting if that is empty; None where it cannot be read.

    The number 0 is a `count` of -1.
    """
    answer = answer.lower()
    if not kind:
        setting = _SETTING_SAID.search(answer)
        return Mention(setting["what"], 0, (), article=f"{setting['where']} the") if setting else None
    if aspect == Aspect.ATTRIBUTES:
        attributes = set(re.findall("[a-z]+", answer)) & (COLORS | SIZES)
        return Mention(kind, 0, tuple(attributes)) if len(attributes) == 1 else None
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


def _asked(written: CadSummary, left: CadSummary) -> list[tuple[Aspect, str, str]]:
    """Aspect, kind of thing (empty for the setting) and question, for all that is asked about each image."""
    complete = {difference.aspect for difference in left.differences if _says_both(difference)}
    kinds = list(Statements(written).kinds())[:MOST_KINDS]
    asked = [(aspect, kind, ask(kind)) for aspect, ask in _QUESTIONS for kind in kinds]
    asked.append((Aspect.LOCATIONS, "", _SETTING))
    return [each for each in asked if each[0] not in complete]


def _says_both(difference: Difference) -> bool:
    claims = Statements(CadSummary("", (difference,))).claims()
    return {image for claim in claims for image in (*claim.shown_in, *claim.absent_from)} == set(BOTH)


def _said(mention: Mention, images: tuple[int, ...]) -> str:
    if mention.count < 0:
        return sentence_of(Claim("", Mention(mention.kind, 0, ()), absent_from=images))
    return sentence_of(Claim("", mention, images))
