"""Which replies become summaries, and which summaries are kept: one decision per filter, each with a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from cadvi_hub.core.non_answers import refusal, refusal_within, source_talk
from cadvi_hub.core.schema import CadSummary
from cadvi_hub.core.summaries import parse_summary, parse_summary_json, render_summary
from cadvi_hub.generation.chat import Reply
from cadvi_hub.grounding.check import Grounding
from cadvi_hub.grounding.picture import Verdict


class DropReason(StrEnum):
    """Why a pair has no summary; the data set's card shows the count of each reason."""

    REQUEST_FAILED = "request_failed"
    CUT_OFF = "cut_off"
    REFUSAL = "refusal"
    NO_COMMONALITIES = "no_commonalities"
    NO_DIFFERENCES = "no_differences"
    UNPARSED = "unparsed"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    MENTIONS_CAPTION = "mentions_caption"
    LEAKED_TURN = "leaked_turn"
    GARBLED = "garbled"
    CONTRADICTION = "contradiction"
    UNGROUNDED = "ungrounded"
    UNVERIFIED = "unverified"
    NOT_TOLD_APART = "not_told_apart"
    NO_QUESTION_LEFT = "no_question_left"  # all questions about the pair are flagged


# Reasons that lie in a stored reply: asked again, the model may give one that can be used.
UNUSABLE_REPLY = frozenset(DropReason) - {
    DropReason.REQUEST_FAILED,
    DropReason.UNGROUNDED,
    DropReason.UNVERIFIED,
    DropReason.NOT_TOLD_APART,
}


@dataclass(frozen=True, slots=True)
class Dropped:
    """A pair without a summary: a `DropReason`, and the words that show it."""

    reason: str
    detail: str


LEAKED_TURN = re.compile(r"\b(?:USER|ASSISTANT|HUMAN|GPT|SYSTEM):|\[/?INST\]|</?s>|<\|")

GARBLED = "\ufffd"  # replaces what is not a character in a reply: half of one, or a lone surrogate


def read_summary(reply: Reply, as_json: bool) -> CadSummary | Dropped:
    """The summary in a model's reply, or why there is none: cut off, a refusal, a missing section, unreadable."""
    if reply.finish_reason == "length":
        return Dropped(DropReason.CUT_OFF, f"stopped after {reply.completion_tokens} tokens")
    text = reply.answer
    if refusal(text):
        return Dropped(DropReason.REFUSAL, text.strip()[:80])
    try:
        return parse_summary_json(text) if as_json else parse_summary(text)
    except ValueError as error:
        reason = {
            "no commonalities": DropReason.NO_COMMONALITIES,
            "no differences": DropReason.NO_DIFFERENCES,
        }.get(str(error), DropReason.UNPARSED)
        return Dropped(reason, str(error))


def check_summary(summary: CadSummary, *, min_words: int, max_words: int) -> Dropped | None:
    """Why a summary is not fit for training, or None.

    Args:
        summary: the summary.
        min_words: least number of words of the rendered summary, headings included.
        max_words: largest number of words.
    """
    if not summary.commonalities.strip():
        return Dropped(DropReason.NO_COMMONALITIES, "")
    if not any(difference.text.strip() for difference in summary.differences):
        return Dropped(DropReason.NO_DIFFERENCES, "")
    text = render_summary(summary)
    words = len(text.split())
    if words < min_words:
        return Dropped(DropReason.TOO_SHORT, f"{words} words")
    if words > max_words:
        return Dropped(DropReason.TOO_LONG, f"{words} words")
    for part in (summary.commonalities, *(difference.text for difference in summary.differences)):
        if said := refusal_within(part):
            return Dropped(DropReason.REFUSAL, said)
    if mention := source_talk(text):
        return Dropped(DropReason.MENTIONS_CAPTION, mention)
    if leak := LEAKED_TURN.search(text):
        return Dropped(DropReason.LEAKED_TURN, leak[0])
    if GARBLED in text:
        return Dropped(DropReason.GARBLED, text[max(text.index(GARBLED) - 40, 0) :][:80])
    different = {sentence for difference in summary.differences for sentence in _sentences(difference.text)}
    if shared := different & _sentences(summary.commonalities):
        return Dropped(DropReason.CONTRADICTION, f"both common and different: {min(shared)!r}")
    return None


def check_grounded(grounding: Grounding, *, max_contradicted: float) -> Dropped | None:
    """Why a summary contradicts its images too often, or None.

    Args:
        grounding: its statements with their verdicts (`cadvi_hub.grounding.check.check_grounding`).
        max_contradicted: largest share of all statements that the graphs may contradict, from 0 to 1.
    """
    wrong = grounding.first(Verdict.CONTRADICTED)
    share = grounding.share(Verdict.CONTRADICTED)
    if wrong is None or share <= max_contradicted:
        return None
    return Dropped(DropReason.UNGROUNDED, f"{share:.0%} of the statements, first {wrong.section}: {wrong.text!r}")


def _sentences(text: str, min_words: int = 3) -> set[str]:
    """The sentences of at least `min_words` words, in lower case and without end marks."""
    sentences = (sentence.strip().casefold() for sentence in re.split(r"[.!?](?:\s+|$)", text))
    return {sentence for sentence in sentences if len(sentence.split()) >= min_words}
