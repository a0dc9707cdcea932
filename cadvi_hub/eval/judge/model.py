"""The model that rates open answers: how it is reached, who it is, and what it is asked."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from cadvi_hub.annotation.prompt import prompt_hash
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.judge.rating import PROMPTS, Answered, rating_request, read_rating
from cadvi_hub.eval.judge.settings import JudgeModelSettings
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Reply, ask, public_name
from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.store import StoredGenerator

_T = TypeVar("_T")
SERVED = ("root", "revision")  # of what `GET /models` says about a model; vLLM's root is what it loaded


class Rated(NamedTuple):
    """One answer's rating, as its row holds it.

    Attributes:
        rating: 0 to 5; None where it cannot be read.
        reason: the judge's reason, or its whole reply where that cannot be read.
        readable: whether there is a rating.
        fault: why there is none; "" where there is one.
        cut: whether the answer was too long, so that the judge saw its beginning only.
    """

    rating: float | None
    reason: str
    readable: bool
    fault: str
    cut: bool


class Judge:
    """Rates answers; every reply is stored in `replies`.

    Raises:
        InputError: no model is named, or it cannot be loaded; from `rate`: the endpoint keeps failing.
    """

    def __init__(self, settings: JudgeModelSettings, replies: Path):
        self._settings = settings
        self._schema = settings.json_schema and bool(settings.base_url)  # only a server can enforce it
        if not settings.model:
            raise InputError("judge.model", "no model is named", "Name the model that rates")
        self._generator = make_generator(
            settings.model,
            settings if settings.base_url else None,
            revision=settings.revision,
            batch_size=settings.batch_size,
            replies=replies,
            retry_unreadable=settings.retry_unreadable,
        )
        self.name = self._generator.name  # with the revision

    @property
    def folder_name(self) -> str:
        """The judge's name in the form of a folder name."""
        return re.sub(r"[^\w.@-]", "_", self.name.replace("/", "--")).lstrip(".") or "judge"

    def described(self, task: str) -> dict[str, str]:
        """What is recorded with every score: the judge, its prompt's SHA-256, and how it is asked."""
        asked = {"json_schema": self._schema, "max_chars": self._settings.max_chars}
        decoding = {**asdict(self._decoding), **asked, **self._generator.request_changes}
        return {
            "judge": self.name,
            "judge_prompt": prompt_hash(PROMPTS[task]),
            "judge_decoding": json.dumps(decoding, sort_keys=True),
        }

    @property
    def uses_schema(self) -> bool:
        """Whether replies are held to a JSON schema."""
        return self._schema

    def ask(self, items: Sequence[_T], request: Callable[[_T], ChatRequest]) -> Iterator[tuple[_T, Reply | Failed]]:
        """Each of `items` with the judge's reply or failure, in their order."""
        return ask(self._generator, items, request)

    def rate(self, task: str, answered: Sequence[Answered]) -> Iterator[Rated]:
        """The rating of each answer, in their order."""
        most = self._settings.max_chars

        def request(each: Answered) -> ChatRequest:
            asked = rating_request(task, each, most, self._decoding, self._schema)
            return replace(asked, is_readable=lambda reply: read_rating(reply)[0] is not None)

        for each, outcome in ask(self._generator, answered, request):
            value, reason, problem = read_rating(outcome)
            yield Rated(value, reason, value is not None, problem, cut=len(each.answer) > most)

    def served(self) -> dict[str, str]:
        """What the endpoint says about the judge's weights, or said last; nothing where it says nothing."""
        facts = self._generator.served() if isinstance(self._generator, StoredGenerator) else {}
        return {key: public_name(str(facts[key])) for key in SERVED if key in facts}

    @property
    def _decoding(self) -> Decoding:
        return Decoding(max_tokens=self._settings.max_tokens)
