"""The options of a request, ranked from the log-probabilities that an endpoint returns for its first token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cadvi_hub.generation.chat import Ranking

ASKED_FOR: Mapping[str, Any] = {"logprobs": True, "top_logprobs": 20}  # 20 is the most that the API allows


def ranking_of(choice: Mapping[str, Any], options: Sequence[str]) -> Ranking | None:
    """The ranking of `options` by the likeliest first tokens; None where the endpoint returns none of them.

    An option gets the probability of the token that equals it, spaces aside. One that is not among the tokens gets
    none (minus infinity).
    """
    try:
        first = choice["logprobs"]["content"][0]
        tokens = {str(token["token"]).strip(): float(token["logprob"]) for token in reversed(first["top_logprobs"])}
        written = str(first["token"]).strip()
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    logprobs = tuple(tokens.get(option, -math.inf) for option in options)
    if not any(math.isfinite(logprob) for logprob in logprobs):
        return None
    return Ranking(logprobs, tuple(option == written for option in options), tuple(() for _ in options))
