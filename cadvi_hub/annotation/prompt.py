"""Prompts are Jinja files in `prompts/`, one file per prompt, one block per turn.

A block is named after its role, `system`, `user` or `assistant`, with a number where a role has more than one turn
(`user_1`, `assistant_1`, `user_2`); turns follow the order in the file. No data value can open a new turn or place an
image: blocks are split before values are filled in, and image placeholders inside values become plain text.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, ImagePair, Message, Provenance, message
from cadvi_hub.generation.chat import Decoding, Generator
from cadvi_hub.generation.settings import SamplingSettings

if TYPE_CHECKING:
    from jinja2 import Template


def plain(text: str) -> str:
    """`text` with image placeholders as plain text: a caption that says `<image>` must not become a picture."""
    return text.replace(IMAGE_PLACEHOLDER, "[image]")


def _source(name: str) -> str:
    return (resources.files(__package__) / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")


def prompt_hash(name: str) -> str:
    """SHA-256 of the template file of prompt `name`, in hexadecimal."""
    return hashlib.sha256(_source(name).encode()).hexdigest()


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    # Autoescaping is for HTML; a prompt is plain text, and its quotes must stay unchanged.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    return environment.from_string(_source(name))


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    return value


def render_prompt(name: str, **values: Any) -> list[Message]:
    """The messages of prompt `name`, filled with `values`: strings, numbers, and lists of strings.

    Raises:
        jinja2.UndefinedError: the prompt needs a value that is missing.
    """
    template = _template(name)
    context = template.new_context({key: _harmless(value) for key, value in values.items()})
    deque(template.root_render_func(context), maxlen=0)  # defines what is outside the blocks: macros
    return [
        message(block.partition("_")[0], "".join(render(context)).strip()) for block, render in template.blocks.items()
    ]


def captions_of(pair: ImagePair) -> tuple[str, str]:
    """The captions of `pair`, each on one line; InputError where it has none."""
    if len(pair.captions) != 2:
        raise InputError(f"pair {pair.pair_id}", "it has no captions", "Take pairs that were mined from captions")
    first, second = pair.captions
    return " ".join(first.split()), " ".join(second.split())


def seeded(pair: ImagePair, seed: int, purpose: str) -> random.Random:
    """The random numbers of `pair` for one purpose; they depend on nothing else."""
    return random.Random(f"{seed}/{purpose}/{pair.pair_id}")


def decoding_of(generator: Generator, prompt: str, settings: SamplingSettings) -> tuple[Decoding, Provenance]:
    """How replies to `prompt` are sampled, and what each row that comes from one records."""
    decoding = Decoding(settings.temperature, settings.max_tokens, settings.top_p, settings.seed)
    recorded = {**asdict(decoding), "json_schema": settings.json_schema, **generator.request_changes}
    return decoding, Provenance(generator.name, prompt_hash(prompt), json.dumps(recorded, sort_keys=True))
