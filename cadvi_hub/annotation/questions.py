"""CaD-QA: open questions about pairs with reference answers, which an LLM writes from captions and summary (paper).

The model writes a conversation of a few turns after one of several examples, drawn per pair; one question without a
flag is kept at random. The paper has 7,520 questions with answers of 26 words on average.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cadvi_hub.annotation.filters import Dropped, DropReason
from cadvi_hub.annotation.prompt import captions_of, decoding_of, plain, render_prompt, seeded
from cadvi_hub.annotation.question_flags import Flag, question_flags
from cadvi_hub.annotation.question_layout import (
    QuestionAnswer,
    parse_questions,
    parse_questions_json,
    questions_json_schema,
)
from cadvi_hub.annotation.settings import QuestionSettings
from cadvi_hub.core.non_answers import refusal
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, CadSummary, ImagePair
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.generation.chat import ChatRequest, Failed, Generator, Reply, ask

PROMPT = "questions_from_summary"


@dataclass(frozen=True, slots=True)
class WrittenQuestions:
    """The question that is kept for a pair, or why there is none, and the flags of the others."""

    kept: QuestionAnswer | Dropped
    flagged: tuple[tuple[Flag, str], ...] = ()


class QuestionWriter:
    """Asks a model for a conversation about each pair and keeps one of its questions."""

    def __init__(self, generator: Generator, settings: QuestionSettings):
        self._generator, self._settings = generator, settings
        self._decoding, self.provenance = decoding_of(generator, PROMPT, settings)

    def write(
        self, summarized: Sequence[tuple[ImagePair, CadSummary]]
    ) -> Iterator[tuple[ImagePair, CadSummary, WrittenQuestions]]:
        """One result per pair, in order.

        Raises:
            InputError: a pair has no captions.
        """
        for (pair, summary), outcome in ask(self._generator, summarized, lambda each: self._request(*each)):
            yield pair, summary, self._read(pair, outcome)

    def _request(self, pair: ImagePair, summary: CadSummary) -> ChatRequest:
        schema = questions_json_schema() if self._settings.json_schema else None
        messages = render_prompt(
            PROMPT,
            captions=captions_of(pair),
            summary=render_summary(summary),
            example=seeded(pair, self._settings.seed, "example").getrandbits(16),
            as_json=schema is not None,
        )
        return ChatRequest(
            messages,
            decoding=self._decoding,
            json_schema=schema,
            is_readable=lambda reply: not isinstance(self._read(pair, reply).kept, Dropped),
        )

    def _read(self, pair: ImagePair, outcome: Reply | Failed) -> WrittenQuestions:
        if isinstance(outcome, Failed):
            return WrittenQuestions(Dropped(DropReason.REQUEST_FAILED, outcome.reason))
        turns = read_questions(outcome, as_json=self._settings.json_schema)
        if isinstance(turns, Dropped):
            return WrittenQuestions(turns)
        sound, flagged = [], []
        if outcome.finish_reason == "length":
            flagged.append((Flag.CUT_OFF, f"stopped after {outcome.completion_tokens} tokens"))
        for turn in turns:
            flag = next(question_flags(turn, max_words=self._settings.max_words), None)
            if flag is None:
                sound.append(turn)
            else:
                flagged.append(flag)
        if not sound:
            reasons = ", ".join(flag for flag, _ in flagged)
            return WrittenQuestions(Dropped(DropReason.NO_QUESTION_LEFT, reasons), tuple(flagged))
        return WrittenQuestions(seeded(pair, self._settings.seed, "kept question").choice(sound), tuple(flagged))


def read_questions(reply: Reply, as_json: bool) -> list[QuestionAnswer] | Dropped:
    """The turns in a model's reply, or why there are none: cut off, a refusal, unreadable.

    A reply that reached the token limit loses its last turn, which is unfinished.
    """
    cut_off = reply.finish_reason == "length"
    text = reply.answer
    if as_json and cut_off and not text.rstrip().endswith("]}"):
        text = text[: text.rfind("}") + 1] + "]}"  # up to the last complete turn
    try:
        turns = parse_questions_json(text) if as_json else parse_questions(text)
    except ValueError as error:
        if cut_off:
            return Dropped(DropReason.CUT_OFF, f"stopped after {reply.completion_tokens} tokens")
        if refusal(text):
            return Dropped(DropReason.REFUSAL, text.strip()[:80])
        return Dropped(DropReason.UNPARSED, str(error))
    return turns[:-1] if cut_off and not as_json else turns


def with_images(question: str) -> str:
    """The question as a row holds it: both images first, and no other placeholder."""
    return f"Image 1: {IMAGE_PLACEHOLDER}\nImage 2: {IMAGE_PLACEHOLDER}\n{plain(question)}"
