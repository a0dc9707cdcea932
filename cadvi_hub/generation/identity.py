"""Which model an endpoint serves, as far as its list of models says it.

A name alone does not identify a model: another one can be served under it. So everything in `FACTS` is a part of the
key under which a reply is stored. `created` is not: vLLM and others put the time of the request there, so that every
restart would ask everything again. What stays the same cannot be distinguished: other weights under the same name, at
the same path (`root`), with the same owner and context length. Give those a `revision` where the command has one, or
start over with another reply store.
"""

from __future__ import annotations

import logging
from typing import Any

from cadvi_hub.generation.settings import EndpointSettings

FACTS = ("id", "root", "owned_by", "max_model_len", "revision")
_SECONDS = 10.0

logger = logging.getLogger(__name__)

Facts = dict[str, str | int]


def served_facts(model: str, settings: EndpointSettings, key: str) -> Facts | None:
    """What the first endpoint that answers says about `model`.

    Args:
        model: its name there.
        settings: the endpoints.
        key: the key of the endpoints.

    Returns:
        `FACTS`, as far as they are known: none of them where the endpoint lists no models, or not this one; None where
        no endpoint can be reached.
    """
    for address in filter(None, settings.addresses):
        listed = listed_models(address, key)
        if listed is None:
            continue
        named = [entry for entry in listed if isinstance(entry, dict) and entry.get("id") == model]
        only = listed if len(listed) == 1 and isinstance(listed[0], dict) else []  # some servers take any name
        for entry in named or only:
            return {fact: entry[fact] for fact in FACTS if isinstance(entry.get(fact), str | int)}
        return {}
    return None


def listed_models(address: str, key: str) -> list[Any] | None:
    """The models that an endpoint lists; none where it lists none, and None where it cannot be reached now."""
    from openai import APIConnectionError, InternalServerError, OpenAI, OpenAIError

    from cadvi_hub.generation.bounded_http import BoundedClient

    try:
        bounded = BoundedClient(_SECONDS)
        with OpenAI(base_url=address, api_key=key, timeout=_SECONDS, max_retries=0, http_client=bounded) as client:
            listed = client.get("/models", cast_to=object)
    except (APIConnectionError, InternalServerError) as error:
        if getattr(error, "status_code", None) == 501:  # it does not know this request
            return []
        logger.info("an endpoint does not list its models now (%s)", type(error).__name__)
        return None
    except (OpenAIError, ValueError, RecursionError) as error:
        logger.info("an endpoint does not list its models (%s)", type(error).__name__)
        return []
    models = listed.get("data") if isinstance(listed, dict) else None
    return models if isinstance(models, list) else []
