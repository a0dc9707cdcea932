"""The model that rates open answers: how it is reached, who it is, and what it is asked."""

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cadvi_hub.annotation.prompt import prompt_hash
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.judge.rating import PROMPTS, Answered, rating_request, read_rating
from cadvi_hub.generation.chat import Decoding, MadeAsRead, public_name
from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.settings import EndpointSettings

TOLD = ("root", "revision")  # of what `GET /models` says of a model; vLLM's root is what it loaded

logger = logging.getLogger(__name__)


@dataclass
class JudgeModelSettings(EndpointSettings):
    """The judge, and how it is asked; always greedily.

    Attributes:
        model: its name at the endpoint; without an address a Hub id or folder.
        revision: of its weights, where the endpoint does not tell; stands beside every score, and replies of one
            revision are not taken for those of another.
        base_url: address of the endpoint, up to and including `/v1`, or a list of endpoints that serve the same model;
            "" runs the judge in this process.
        json_schema: whether the endpoint holds replies to a JSON schema; without it, replies are read tolerantly.
        max_tokens: longest reply.
        max_chars: longer answers are shown to the judge up to there; how many is counted.
        batch_size: requests per forward pass in this process.
    """

    model: str = "mistralai/Mixtral-8x7B-Instruct-v0.1"  # paper: Mixtral 8×7B Instruct
    revision: str = ""
    base_url: str | list[str] = "http://127.0.0.1:8000/v1"
    json_schema: bool = True
    max_tokens: int = 256
    max_chars: int = 4000
    batch_size: int = 8


class Judge:
    """Rates answers; every reply is kept in `replies`.

    Raises:
        InputError: no model is named, or it cannot be loaded; from `rate`: the endpoint fails for good.
    """

    def __init__(self, settings: JudgeModelSettings, replies: Path):
        self._settings = settings
        self._schema = settings.json_schema and bool(settings.base_url)  # only a server can hold a model to it
        if not settings.model:
            raise InputError("judge.model", "no model is named", "Name the model that rates")
        self._generator = make_generator(
            settings.model,
            settings if settings.base_url else None,
            revision=settings.revision,
            batch_size=settings.batch_size,
            replies=replies,
        )
        self.name = self._generator.name  # with the revision

    @property
    def folder_name(self) -> str:
        """The judge's name as the name of a folder."""
        return re.sub(r"[^\w.@-]", "_", self.name.replace("/", "--")).lstrip(".") or "judge"

    def described(self, task: str) -> dict[str, str]:
        """What stands beside every score: the judge, its prompt's SHA-256, and how it is asked."""
        decoding = {**asdict(self._decoding), "json_schema": self._schema, "max_chars": self._settings.max_chars}
        return {
            "judge": self.name,
            "judge_prompt": prompt_hash(PROMPTS[task]),
            "judge_decoding": json.dumps(decoding, sort_keys=True),
        }

    def rate(self, task: str, answered: Sequence[Answered]) -> Iterator[dict[str, Any]]:
        """`rating`, `reason`, `readable`, `problem` and `cut` per answer, in their order."""
        settings, unread = self._settings, iter(answered)
        requests = (rating_request(task, each, settings.max_chars, self._decoding, self._schema) for each in unread)
        outcomes = self._generator.generate(MadeAsRead(requests, unread))
        for each, outcome in zip(answered, outcomes, strict=True):
            rating = read_rating(outcome)
            yield {
                "rating": rating.value,
                "reason": rating.reason,
                "readable": rating.value is not None,
                "fault": rating.problem,
                "cut": len(each.answer) > settings.max_chars,
            }

    def told(self) -> dict[str, str]:
        """What the endpoint tells of the judge's weights; nothing where it tells nothing, or cannot be reached now."""
        settings = self._settings
        addresses = [settings.base_url] if isinstance(settings.base_url, str) else settings.base_url
        for address in filter(None, addresses):
            for known in _models(address, os.environ.get(settings.api_key_env) or "EMPTY"):
                if isinstance(known, dict) and known.get("id") == settings.model:
                    return {key: public_name(known[key]) for key in TOLD if isinstance(known.get(key), str)}
        return {}

    @property
    def _decoding(self) -> Decoding:
        return Decoding(max_tokens=self._settings.max_tokens)


def _models(address: str, key: str) -> list[Any]:
    """The models that an endpoint lists; none where it lists none, which is no reason not to ask it for ratings."""
    from openai import OpenAI, OpenAIError

    try:
        with OpenAI(base_url=address, api_key=key, timeout=10, max_retries=0) as client:
            listed = client.get("/models", cast_to=object)
    except (OpenAIError, ValueError) as error:
        logger.info("the judge's endpoint does not list its models (%s)", type(error).__name__)
        return []
    models = listed.get("data") if isinstance(listed, dict) else None
    return models if isinstance(models, list) else []
