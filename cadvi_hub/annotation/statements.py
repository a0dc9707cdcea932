"""The statements of a summary: what to ask about each, and what the summary says once all are answered.

A statement that fails is removed. Two kinds are true in the wrong section, and move: what is said of both images but
holds in one alone becomes a difference, and what is said of one image but holds in both becomes a commonality.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from cadvi_hub.annotation.claim_questions import aspect_of, question_of, sentence_of, statement_of
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.check import COMMONALITIES
from cadvi_hub.grounding.claims import BOTH, Claim, Piece, Relation, read_sentences
from cadvi_hub.grounding.phrases import Mention, singular

Question = tuple[int, str]  # about image 0 or 1
Images = tuple[int, ...]
Answers = Mapping[Question, float | None]  # probability of yes; None without an answer

_JOINT = r"(?:[\s,;]|\b(?:and|while|whereas|but)\b)+"
_LOOSE = re.compile(rf"^{_JOINT}|{_JOINT}$", re.IGNORECASE)


class Outcome(StrEnum):
    """What became of a statement."""

    KEPT = "kept"
    MOVED = "moved"  # true, in the other section; said there once
    UNREAD = "unread"  # its words cannot be turned into a question; it stays
    REMOVED = "removed"
    UNANSWERED = "unanswered"  # removed, since the model said neither yes nor no


STAYS = (Outcome.KEPT, Outcome.UNREAD)


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked summary.

    Attributes:
        summary: what is left of it, perhaps nothing.
        outcomes: number of its statements by section and outcome.
    """

    summary: CadSummary
    outcomes: Counter[tuple[str, Outcome]]


@dataclass(frozen=True, slots=True)
class Placed:
    """A summary without the statements that the reader could not place.

    Attributes:
        summary: what is left of it, perhaps nothing.
        counts: number of statements about one image, by section and whether the reader placed them.
    """

    summary: CadSummary
    counts: Counter[tuple[str, bool]]


class Statements:
    """The statements of `summary`; a section is "Commonalities" or an aspect."""

    def __init__(self, summary: CadSummary):
        sections = [(COMMONALITIES, summary.commonalities), *((str(d.aspect), d.text) for d in summary.differences)]
        self._sections = [(name, list(read_sentences(text, name == COMMONALITIES))) for name, text in sections]

    def questions(self) -> list[Question]:
        """What has to be asked, each question once, those about image 0 first.

        Everything is asked of both images: what is said of one must not be true of the other, too. A number is asked
        for with its neighbours, since models say yes to "three cats" where there are two.
        """
        return sorted(
            {
                (image, question)
                for claim in self.claims()
                if claim.content is not None
                for question in (question_of(claim.content), *_other_numbers(claim.content))
                for image in BOTH
            }
        )

    def kinds(self) -> dict[str, bool]:
        """The kinds of things that are mentioned, in the singular and in their order, and whether one is in action."""
        kinds: dict[str, bool] = {}
        for claim in self.claims():
            if isinstance(claim.content, Mention) and " " not in claim.content.article:
                kind = singular(claim.content.kind)
                kinds[kind] = kinds.get(kind, False) or bool(claim.content.action)
        return kinds

    def to_place(self) -> list[Question]:
        """What is said of one image alone, as the image and a sentence that does not name it, each once."""
        return list(dict.fromkeys(place for claim in self.claims() if (place := _place_of(claim))))

    def placed(self, right: Collection[Question]) -> Placed:
        """The summary without the statements of `to_place` that are not in `right`."""
        counts: Counter[tuple[str, bool]] = Counter()

        def judge(name: str, claim: Claim) -> Outcome:
            place = _place_of(claim)
            if place:
                counts[name, place in right] += 1
            return Outcome.REMOVED if place and place not in right else Outcome.KEPT

        texts = self._rest_by_section(judge)
        return Placed(_summary(texts), counts)

    def check(self, answers: Answers, threshold: float) -> Checked:
        """Remove the statements that hold with a probability below `threshold`, and move those that hold elsewhere.

        What is said of one image must also be denied of the other one: otherwise it is no difference. A number holds
        as far as its neighbours do not.
        """
        certain = self._certain(answers)
        outcomes: Counter[tuple[str, Outcome]] = Counter()
        said: list[tuple[Images, Mention | Relation]] = []
        moved: list[tuple[Images, Mention | Relation]] = []

        def judge(name: str, claim: Claim) -> Outcome:
            outcome, images = _judge(claim, answers, certain, threshold)
            outcomes[name, outcome] += 1
            if claim.content is None:
                return outcome
            if outcome == Outcome.KEPT:
                said.append((claim.shown_in, claim.content))
            elif outcome == Outcome.MOVED:
                moved.append((images, claim.content))
            return outcome

        texts = self._rest_by_section(judge)
        for images, content in sorted(
            moved, key=lambda each: -len(question_of(each[1]))
        ):  # what says most comes first
            if not any(images == of and _includes(whole, content) for of, whole in said):
                section = COMMONALITIES if images == BOTH else str(aspect_of(content))
                texts[section].append(sentence_of(Claim("", content, images)))
                said.append((images, content))
        return Checked(_summary(texts), outcomes)

    def without(self, other: CadSummary) -> CadSummary:
        """The summary without what `other` says of the same images, too."""
        said = [(one.shown_in, one.absent_from, one.content) for one in Statements(other).claims() if one.content]

        def judge(name: str, claim: Claim) -> Outcome:
            content, images = claim.content, (claim.shown_in, claim.absent_from)
            again = content is not None and any(
                (shown, absent) == images
                and (_includes(whole, content) if shown else question_of(whole) == question_of(content))
                for shown, absent, whole in said
            )
            return Outcome.REMOVED if again else Outcome.KEPT

        return _summary(self._rest_by_section(judge))

    def _certain(self, answers: Answers) -> Answers:
        """`answers`, but what is said with a number at most as probable as that its neighbours are wrong."""
        certain = dict(answers)
        contents = [claim.content for claim in self.claims() if claim.content is not None]
        for content in contents:
            for image, other in product(BOTH, _other_numbers(content)):
                asked, no = (image, question_of(content)), answers.get((image, other))
                if (yes := certain.get(asked)) is not None and no is not None:
                    certain[asked] = min(yes, 1 - no)
        return certain

    def claims(self) -> Iterator[Claim]:
        """All claims, in their order."""
        return (
            claim
            for _, sentences in self._sections
            for pieces in sentences
            for piece in pieces
            for claim in piece.claims
        )

    def _rest_by_section(self, judge: Callable[[str, Claim], Outcome]) -> dict[str, list[str]]:
        """What is left of each section's sentences; `judge` says what becomes of each claim of a section."""
        texts: dict[str, list[str]] = {name: [] for name in (COMMONALITIES, *map(str, Aspect))}
        for name, sentences in self._sections:
            for pieces in sentences:
                judged = [[judge(name, claim) for claim in piece.claims] for piece in pieces]
                texts[name].append(_rest(pieces, judged))
        return texts


def _includes(whole: Mention | Relation, part: Mention | Relation) -> bool:
    """Whether `whole` leaves nothing to add for `part`: "a small red dog" includes "a red dog"."""
    if isinstance(whole, Relation) or isinstance(part, Relation):
        return question_of(whole) == question_of(part)
    return (
        (singular(whole.kind), " " in whole.article) == (singular(part.kind), " " in part.article)
        and set(part.attributes) <= set(whole.attributes)
        and part.count in (0, whole.count)
        and part.action in ("", whole.action)
        and part.place in ("", whole.place)
    )


def _summary(texts: Mapping[str, list[str]]) -> CadSummary:
    whole = {name: " ".join(filter(None, some)) for name, some in texts.items()}
    differences = tuple(Difference(aspect, whole[aspect]) for aspect in Aspect if whole[aspect])
    return CadSummary(whole[COMMONALITIES], differences)


def _place_of(claim: Claim) -> Question | None:
    """The image that alone shows `claim`, and the claim as a sentence; None where both or none do, or it is unread."""
    if claim.content is None or len(claim.shown_in) != 1:
        return None
    return claim.shown_in[0], _sentence(statement_of(claim.content))


def _judge(claim: Claim, answers: Answers, certain: Answers, threshold: float) -> tuple[Outcome, Images]:
    """What becomes of `claim`, and of which images it is said then."""
    if claim.content is None:
        return Outcome.UNREAD, ()
    question = question_of(claim.content)
    if any(answers.get((image, question)) is None for image in BOTH):
        return Outcome.UNANSWERED, ()
    held = {image for image in BOTH if (certain.get((image, question)) or 0) >= threshold}
    denied = {image for image in BOTH if 1 - (answers.get((image, question)) or 0) >= threshold}
    shown, absent = set(claim.shown_in), set(claim.absent_from)
    if len(shown | absent) == 1:  # said of one image alone: it is a difference if the other one differs
        shown, absent = (shown, set(BOTH) - shown) if shown else (set(BOTH) - absent, absent)
    if len(claim.shown_in) == 1 and not claim.absent_from and held == set(BOTH):
        return Outcome.MOVED, BOTH
    if shown <= held and absent <= denied:
        return Outcome.KEPT, claim.shown_in
    if claim.shown_in == BOTH and len(held) == len(denied) == 1:
        return Outcome.MOVED, tuple(held)
    return Outcome.REMOVED, ()


def _other_numbers(content: Mention | Relation) -> list[str]:
    """The questions for one more and one fewer, where `content` has a number."""
    if isinstance(content, Relation) or not content.count:
        return []
    numbers = [number for number in (content.count - 1, content.count + 1) if number]
    return [question_of(replace(content, kind=singular(content.kind), count=number)) for number in numbers]


def _rest(pieces: tuple[Piece, ...], judged: list[list[Outcome]]) -> str:
    """What is left of a sentence: the pieces that stay in their own words, and what stays of others in plain ones."""
    stay = [all(outcome in STAYS for outcome in outcomes) for outcomes in judged]
    if all(stay):
        return "".join(piece.text for piece in pieces).strip()
    texts: list[str] = []
    joins = False  # whether the next piece goes on where the last text ends
    for k, (piece, outcomes) in enumerate(zip(pieces, judged, strict=True)):
        whole = stay[k] and bool(piece.claims) and not (piece.leans and not stay[k - 1])
        if whole:
            texts = [*texts[:-1], texts[-1] + piece.text] if joins else [*texts, piece.text]
        else:
            claims = zip(piece.claims, outcomes, strict=True)
            texts += [sentence_of(claim) for claim, outcome in claims if outcome == Outcome.KEPT]
        joins = whole
    return " ".join(_sentence(text) for text in texts)


def _sentence(text: str) -> str:
    """A piece of a sentence as a sentence of its own."""
    text = _LOOSE.sub("", text.strip())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
