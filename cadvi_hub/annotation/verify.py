"""Summaries are checked against their images: every statement becomes a yes/no question about one image.

Statements that fail are removed from the text; a summary without a commonality or a difference left is dropped. This
works for any writer of summaries and any model that reads pictures, the writer itself included.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from cadvi_hub.annotation.annotators import Summarized
from cadvi_hub.annotation.answers import read_answer
from cadvi_hub.annotation.filters import Dropped, DropReason, check_summary
from cadvi_hub.annotation.missing import missing_questions, missing_statements
from cadvi_hub.annotation.prompt import captions_of, prompt_hash, render_prompt
from cadvi_hub.annotation.settings import AnnotatorSettings, VerifierSettings
from cadvi_hub.annotation.statements import Checked, Outcome, Question, Statements
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.image_order import swap_sides
from cadvi_hub.core.images import ImageStore, read_plain
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Generator, Reply, ask
from cadvi_hub.generation.make import make_generator
from cadvi_hub.grounding.claims import BOTH

PROMPT = "is_it_shown"
WHICH_IMAGE = "which_image"
IMAGE_OF_CAPTION = "image_of_caption"
CAPTIONS = "Captions"  # the section of the captions that a reader of the summary places
LETTERS = ("A", "B")
OPTIONS = ("yes", "no", "Yes", "No")  # models were taught one spelling or the other
_YES_OR_NO = re.compile(r"\W*(?:(?P<yes>yes|true)|no|false)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verified:
    """A pair with what is left of its summary.

    Attributes:
        pair: as it was.
        summary: what is left, or why nothing is.
        outcomes: number of statements per section ("Commonalities" or an aspect) and outcome.
        questions: how many were asked about the pair.
        placements: number of statements about one image, by section and whether the reader said which one; and of
            captions, in the section "Captions".
    """

    pair: ImagePair
    summary: CadSummary | Dropped
    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    questions: int = 0
    placements: Counter[tuple[str, bool]] = field(default_factory=Counter)


class Verifier:
    """Checks summaries by asking a model about their images.

    Args:
        generator: a model that reads pictures.
        settings: how sure it has to be.
        min_words: what is left of a summary is dropped if it is shorter.
        max_words: it is dropped if it is longer.
    """

    def __init__(self, generator: Generator, settings: VerifierSettings, *, min_words: int, max_words: int):
        self._generator, self._settings = generator, settings
        self._min_words, self._max_words = min_words, max_words

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides which statements are kept."""
        return {
            "model": self._generator.name,
            "prompt_hash": prompt_hash(PROMPT),
            "threshold": self._settings.threshold,
            "missing_aspects": self._settings.missing_aspects,
            **({} if self._settings.statements else {"statements": False}),
            **({"round_trip": prompt_hash(WHICH_IMAGE)} if self._settings.round_trip else {}),
            **({"caption_round_trip": prompt_hash(IMAGE_OF_CAPTION)} if self._settings.caption_round_trip else {}),
        }

    def verify(self, summarized: Summarized, images: ImageStore) -> Iterator[Verified]:
        """Each pair with what is left of its summary, in order.

        All summaries are written before the first question is asked, so that the questions fill whole batches.
        """
        written = list(summarized)
        pairs = [pair for pair, _ in written]
        summaries = {row: summary for row, (_, summary) in enumerate(written) if isinstance(summary, CadSummary)}
        left = {row: Checked(summary, Counter()) for row, summary in summaries.items()}
        asked: Counter[int] = Counter()
        if self._settings.statements:
            left, asked = self._checked(pairs, summaries, images)
        if self._settings.missing_aspects:
            added, more = self._added(pairs, summaries, left, images)
            asked += more
            for row, extra in added.items():
                left[row] = _joined(left[row], extra)
        placements: dict[int, Counter[tuple[str, bool]]] = {}
        if self._settings.round_trip:
            left, placements, more = self._placed(pairs, left, images)
            asked += more
        kept = {row: self._kept(checked.summary) for row, checked in left.items()}
        if self._settings.caption_round_trip:
            for row, placed in self._captions_placed(pairs, kept).items():
                asked[row] += len(BOTH) ** 2
                placements[row] = placements.get(row, Counter()) + placed
                if placed[CAPTIONS, False]:
                    kept[row] = Dropped(DropReason.UNVERIFIED, "its captions cannot be told apart by it")
        for row, (pair, summary) in enumerate(written):
            if isinstance(summary, Dropped):
                yield Verified(pair, summary)
            else:
                one, counts = left[row], placements.get(row, Counter())
                yield Verified(pair, kept[row], one.outcomes, asked[row], counts)

    def _checked(
        self, pairs: list[ImagePair], summaries: dict[int, CadSummary], images: ImageStore
    ) -> tuple[dict[int, Checked], Counter[int]]:
        """What is left of the summary of each row, and the number of questions."""
        statements = {row: Statements(summary) for row, summary in summaries.items()}
        asked = [(row, question) for row, some in statements.items() for question in some.questions()]
        answers: dict[int, dict[Question, float | None]] = {row: {} for row in summaries}
        for (row, question), outcome in ask(self._generator, asked, self._request(pairs, images, OPTIONS)):
            answers[row][question] = probability_of_yes(outcome)
        threshold = self._settings.threshold
        checked = {row: some.check(answers[row], threshold) for row, some in statements.items()}
        return checked, Counter(row for row, _ in asked)

    def _added(
        self,
        pairs: list[ImagePair],
        summaries: dict[int, CadSummary],
        left: dict[int, Checked],
        images: ImageStore,
    ) -> tuple[dict[int, Checked], Counter[int]]:
        """What is missing in what is left of each row's summary, verified, and the number of questions."""
        asked = [
            (row, question)
            for row, summary in summaries.items()
            for question in missing_questions(summary, left[row].summary)
        ]
        answers: dict[int, dict[Question, str]] = {row: {} for row in summaries}
        for (row, question), outcome in ask(self._generator, asked, self._request(pairs, images, ())):
            if isinstance(outcome, Reply):
                answers[row][question] = outcome.text
        found = {
            row: missing_statements(summary, left[row].summary, answers[row]) for row, summary in summaries.items()
        }
        proposed = {row: extra for row, extra in found.items() if extra.commonalities or extra.differences}
        checked, more = self._checked(pairs, proposed, images)
        return checked, Counter(row for row, _ in asked) + more

    def _placed(
        self, pairs: list[ImagePair], checked: dict[int, Checked], images: ImageStore
    ) -> tuple[dict[int, Checked], dict[int, Counter[tuple[str, bool]]], Counter[int]]:
        """What the reader can place in both orders of the images, counts per row, and the number of questions."""
        statements = {row: Statements(one.summary) for row, one in checked.items()}
        asked = [
            (row, place, order) for row, some in statements.items() for place in some.to_place() for order in BOTH
        ]
        decoding = Decoding(max_tokens=self._settings.max_tokens)
        picture = _picture_reader(images)

        def request(item: tuple[int, Question, int]) -> ChatRequest:
            row, (_, statement), order = item
            names = pairs[row].images[::-1] if order else pairs[row].images
            shown = tuple(map(picture, names))
            messages = render_prompt(WHICH_IMAGE, caption=statement, show_images=True)
            return ChatRequest(messages, shown, decoding, options=LETTERS)

        right: dict[int, Counter[Question]] = {row: Counter() for row in checked}
        for (row, place, order), outcome in ask(self._generator, asked, request):
            right[row][place] += chosen_letter(outcome) == LETTERS[place[0] ^ order]
        left, counts = {}, {}
        for row, some in statements.items():
            placed = some.placed([place for place, times in right[row].items() if times == len(BOTH)])
            left[row] = Checked(placed.summary, checked[row].outcomes)
            counts[row] = placed.counts
        return left, counts, Counter(row for row, _, _ in asked)

    def _captions_placed(
        self, pairs: list[ImagePair], kept: dict[int, CadSummary | Dropped]
    ) -> dict[int, Counter[tuple[str, bool]]]:
        """Of each row that has a summary, how many captions a reader of the summary places in both orders, and not."""
        texts = {row: render_summary(summary) for row, summary in kept.items() if isinstance(summary, CadSummary)}
        asked = [(row, image, order) for row in texts for image in BOTH for order in BOTH]
        decoding = Decoding(max_tokens=self._settings.max_tokens)

        def request(item: tuple[int, int, int]) -> ChatRequest:
            row, image, order = item
            summary = swap_sides(texts[row]) if order else texts[row]
            messages = render_prompt(IMAGE_OF_CAPTION, summary=summary, caption=captions_of(pairs[row])[image])
            return ChatRequest(messages, (), decoding, options=LETTERS)

        right: Counter[tuple[int, int]] = Counter()
        for (row, image, order), outcome in ask(self._generator, asked, request):
            right[row, image] += chosen_letter(outcome) == LETTERS[image ^ order]
        return {row: Counter((CAPTIONS, right[row, image] == len(BOTH)) for image in BOTH) for row in texts}

    def _request(
        self, pairs: list[ImagePair], images: ImageStore, options: tuple[str, ...]
    ) -> Callable[[tuple[int, Question]], ChatRequest]:
        decoding = Decoding(max_tokens=self._settings.max_tokens)
        picture = _picture_reader(images)

        def request(item: tuple[int, Question]) -> ChatRequest:
            row, (image, question) = item
            shown = (picture(pairs[row].images[image]),)
            return ChatRequest(render_prompt(PROMPT, question=question), shown, decoding, options=options)

        return request

    def _kept(self, summary: CadSummary) -> CadSummary | Dropped:
        if not summary.commonalities:
            return Dropped(DropReason.UNVERIFIED, "no commonality is left")
        if not summary.differences:
            return Dropped(DropReason.UNVERIFIED, "no difference is left")
        unfit = check_summary(summary, min_words=self._min_words, max_words=self._max_words)
        return Dropped(DropReason.UNVERIFIED, f"what is left is {unfit.reason}") if unfit else summary


def _picture_reader(images: ImageStore) -> Callable[[str], bytes]:
    """Reads a picture by its name, those of the last pair once: the questions about a pair follow each other."""
    return lru_cache(maxsize=len(BOTH))(partial(read_plain, images))


def _joined(checked: Checked, added: Checked) -> Checked:
    """What `checked` and `added` say, each thing once, where it says most."""
    summary = Statements(checked.summary).without(added.summary)
    more = Statements(added.summary).without(summary)
    texts = {aspect: [d.text for part in (summary, more) for d in part.differences if d.aspect == aspect]
             for aspect in Aspect}  # fmt: skip
    differences = tuple(Difference(aspect, " ".join(some)) for aspect, some in texts.items() if some)
    same = " ".join(filter(None, (summary.commonalities, more.commonalities)))
    return Checked(CadSummary(same, differences), checked.outcomes + added.outcomes)


def make_verifier(
    settings: VerifierSettings, annotator: AnnotatorSettings, out: Path, writer: Generator | None = None
) -> Verifier | None:
    """The verifier for `settings`; None if they name no model.

    Args:
        settings: who checks.
        annotator: how the summaries are written.
        out: the output folder.
        writer: the model that writes the summaries, which `self` names; None where no model does.

    Raises:
        InputError: `self` where no model writes.
    """
    if not settings.model:
        return None
    generator = writer
    if settings.model != "self":
        replies = Path(annotator.reply_store) if annotator.reply_store else out / "replies.sqlite"
        endpoint = settings if settings.base_url else None
        generator = make_generator(settings.model, endpoint, batch_size=settings.batch_size, replies=replies)
    if generator is None:
        raise InputError("verifier.model", "no model writes these summaries that could check itself", "Name a model")
    return Verifier(generator, settings, min_words=annotator.min_words, max_words=annotator.max_words)


def chosen_letter(outcome: Reply | Failed) -> str | None:
    """The letter of the image that the model chooses, the likelier one where it ranks them; None if neither."""
    if isinstance(outcome, Failed):
        return None
    if outcome.ranking and any(map(math.isfinite, outcome.ranking.logprobs)):
        first, second = outcome.ranking.logprobs
        return None if first == second else LETTERS[second > first]
    return read_answer(outcome.answer, LETTERS, "tolerant")


def probability_of_yes(outcome: Reply | Failed) -> float | None:
    """From log-probabilities of yes and no where the model has them, otherwise 0 or 1 from its text; or None."""
    if isinstance(outcome, Failed):
        return None
    if outcome.ranking:
        highest = max(outcome.ranking.logprobs)
        if math.isfinite(highest):
            weights = [math.exp(logprob - highest) for logprob in outcome.ranking.logprobs]
            return sum(weights[::2]) / sum(weights)
    said = _YES_OR_NO.match(outcome.text)
    return None if said is None else float(said["yes"] is not None)
