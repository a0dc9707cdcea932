"""What is wrong with a question about two images or with its answer: one decision per flag.

The flags are the faults of the published CaD-QA: leaked turns, answers that are cut off, refusals, mentions of the
text that the writer read, and questions that concern only one image or depend on an earlier turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from cadvi_hub.annotation.filters import GARBLED, LEAKED_TURN
from cadvi_hub.annotation.question_layout import QuestionAnswer
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.non_answers import refusal_within, source_talk
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.sources.cad_qa_file import PairQuestion


class Flag(StrEnum):
    """What is wrong with a question or its answer."""

    EMPTY = "empty"
    CUT_OFF = "cut_off"
    REFUSAL = "refusal"
    LEAKED_TURN = "leaked_turn"
    GARBLED = "garbled"
    MENTIONS_CAPTION = "mentions_caption"
    ONE_IMAGE = "one_image"  # question and answer together name only one image, or none
    FOLLOW_UP = "follow_up"  # it depends on an earlier turn, which is not kept
    TOO_LONG = "too_long"


_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s*$")
_SHORT_ANSWER = 4  # an answer of so few words need not be a sentence: "A red kite"
_NEXT_TURN = re.compile(
    r"(?:^|\n|(?<=[.!?\"”])\s)[\s*#]*(?:user|human|assistant|gpt|question|answer|q|a)\s*\d*\**\s*:", re.IGNORECASE
)
_ASKED_AGAIN = re.compile(r"\n[^\n]*\?")
_PICTURE = "(?:image|picture|photo|photograph)"
_EACH_IMAGE = tuple(
    re.compile(rf"\b{_PICTURE} {number}\b|\b{ordinal} (?:{_PICTURE}|one)\b", re.IGNORECASE)
    for number, ordinal in ((1, "first"), (2, "second"))
)
_BOTH_IMAGES = re.compile(
    rf"\b{_PICTURE}s\b|\b(?:both|two) (?:scenes|settings)\b|\b(?:the )?other (?:{_PICTURE}|one)\b"
    rf"|\b(?:each|either|neither|every|which) (?:of (?:the|them)|{_PICTURE}|scene|setting)\b",
    re.IGNORECASE,
)
_FOLLOW_UP = re.compile(
    r"\s*(?:and|also|(?:what|how) about)\b|.*\b(?:(?:any|what) (?:other|additional|else)|anything else)\b",
    re.IGNORECASE | re.DOTALL,
)
_OTHER_THAN = re.compile(r"\b(?:besides?|(?:apart|aside) from|other than|in addition to|accompan\w+)\b", re.IGNORECASE)


def question_flags(turn: QuestionAnswer, *, max_words: int) -> Iterator[tuple[Flag, str]]:
    """Every flag of a question and its answer, each once, with the words that show it.

    Args:
        turn: the question, without the lines that place the images, and its answer.
        max_words: largest number of words in a question, and in an answer.
    """
    question, answer = turn.question.strip(), turn.answer.strip()
    if not question or not answer:
        yield Flag.EMPTY, "no answer" if question else "no question"
        return
    both = f"{question}\n{answer}"
    if len(answer.split()) > _SHORT_ANSWER and not _SENTENCE_END.search(answer):
        yield Flag.CUT_OFF, answer[-40:]
    if said := refusal_within(answer):
        yield Flag.REFUSAL, said
    if leak := _NEXT_TURN.search(both) or LEAKED_TURN.search(both) or _ASKED_AGAIN.search(answer):
        yield Flag.LEAKED_TURN, leak[0].strip()
    if GARBLED in both:
        yield Flag.GARBLED, both[max(both.index(GARBLED) - 40, 0) :][:80]
    if mention := source_talk(both):
        yield Flag.MENTIONS_CAPTION, mention
    if not _BOTH_IMAGES.search(both) and not all(image.search(both) for image in _EACH_IMAGE):
        yield Flag.ONE_IMAGE, question[:80]
    if (follow_up := _FOLLOW_UP.match(question)) and not _OTHER_THAN.search(both):
        yield Flag.FOLLOW_UP, follow_up[0][-40:]
    if (words := max(len(question.split()), len(answer.split()))) > max_words:
        yield Flag.TOO_LONG, f"{words} words"


def count_flags(questions: Iterable[PairQuestion], max_words: int) -> Drops:
    """How many questions of a finished set have each flag, with the first ids; a question may have several flags."""
    flags = Drops()
    for question in questions:
        asked = re.sub(rf"(?:Image \d+:)?[ \t]*{IMAGE_PLACEHOLDER}", "", question.question)
        for flag, detail in question_flags(QuestionAnswer(asked, question.answer), max_words=max_words):
            flags.add(flag, f"{question.id}: {detail}")
    return flags
