"""A command's arguments as people write them → as the parser of settings reads them.

`--tasks bison,nlvr2` and `--tasks bison nlvr2` become JSON, `--both_orders` becomes `--both_orders=true`,
`--output_dir` becomes `--out`, and a key that does not exist is refused with the nearest one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.keys import Key

# Names that other tools of the ecosystem have for our keys; the first of ours that a command has is meant.
ALIASES = {
    "model_name_or_path": ("model",),
    "pretrained_model_name_or_path": ("model",),
    "output_dir": ("out",),
    "dataset_name": ("data", "source.path"),
    "per_device_eval_batch_size": ("batch_size",),
    "max_new_tokens": ("max_tokens",),
    "num_proc": ("workers",),
}
_ALWAYS = ("config", "help", "debug", "print_config")


def written_out(keys: Sequence[Key], arguments: Sequence[str]) -> list[str]:
    """`arguments`, each key with its own name and one value.

    Raises:
        InputError: a key does not exist; the error names those that look like it.
    """
    known = {key.name: key for key in keys}
    written: list[str] = []
    for key_text, values in _by_key(arguments):
        if not key_text:
            written += values
            continue
        key_text, equals, value = key_text.partition("=")
        name = _own_name(key_text[2:], known)
        values = [value, *values] if equals else values
        key = known.get(name)
        if key is None:
            _check(name, known)
            written += [f"--{name}={value}", *values[1:]] if equals else [f"--{name}", *values]
        elif key.is_flag and not values:
            written.append(f"--{name}=true")
        elif key.is_list and values:
            written.append(f"--{name}={_listed(key, values)}")
        elif values:
            written += [f"--{name}={values[0]}", *values[1:]]
        else:
            written.append(f"--{name}")
    return written


def check_recipe_keys(file: str, recipe: Any, keys: Sequence[Key]) -> None:
    """Check the keys of a recipe, the content of `file`.

    Raises:
        InputError: one does not exist; the error names those that look like it.
    """
    known = {key.name: key for key in keys}
    for name in _names(recipe, known):
        try:
            _check(name, known)
        except InputError as error:
            raise InputError(file, f"{name}: {error.problem}", error.hint) from None


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The keys and groups of keys that somebody may mean who writes `name`, at most three."""
    last = name.rpartition(".")[2]
    ends = [key for key in known if key.rpartition(".")[2] == last]
    groups = dict.fromkeys(key.rpartition(".")[0] for key in known if "." in key)
    close = difflib.get_close_matches(name, [*known, *groups], 3, 0.7)
    by_end = {key.rpartition(".")[2]: key for key in reversed(known)}
    close += [by_end[end] for end in difflib.get_close_matches(last, list(by_end), 2, 0.75)]
    return list(dict.fromkeys([*ends, *close]))[:3]


def meant(name: str, known: Sequence[str], dashes: str = "--") -> str:
    """A hint with the keys that look like `name`."""
    found = [f"{dashes}{key}" for key in nearest(name, known)]
    return f"Did you mean {' or '.join(found)}?" if found else "See --help for every key"


def _by_key(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each key with the words after it; "" with the words before the first key."""
    key, values = "", list[str]()
    for argument in arguments:
        if argument.startswith("--") and argument != "--":
            if key or values:
                yield key, values
            key, values = argument, []
        else:
            values.append(argument)
    if key or values:
        yield key, values


def _own_name(name: str, known: Mapping[str, Key]) -> str:
    if name in known:
        return name
    return next((own for own in ALIASES.get(name, ()) if own in known), name)


def _check(name: str, known: Mapping[str, Key]) -> None:
    plain = name.removesuffix("+")
    if plain in known or plain in _ALWAYS or any(key.startswith(f"{plain}.") for key in known):
        return
    group = plain
    while group:  # `--trainings.v1 folder` is an item of the mapping `trainings`
        group = group.rpartition(".")[0]
        if group in known and known[group].is_mapping:
            return
    raise InputError(f"--{name}"[:100], "there is no such key", meant(plain, list(known)))


def _listed(key: Key, values: Sequence[str]) -> str:
    """`values` as JSON; as it is where it is JSON, or one value of a key that also takes one alone."""
    first = values[0].strip()
    if len(values) == 1 and (first.startswith(("[", "{")) or first in ("null", "")):
        return values[0]
    parts: list[str] = []
    for value in values:
        is_whole = "," not in value or Path(value).exists()
        parts += [value] if is_whole else [part.strip() for part in value.split(",") if part.strip()]
    if len(parts) == 1 and key.takes_one:
        return parts[0]
    return json.dumps(parts, ensure_ascii=False)


def _names(recipe: Any, known: Mapping[str, Key], prefix: str = "") -> Iterator[str]:
    """The dotted names in a recipe, as far as they are groups of settings."""
    for name, value in recipe.items() if isinstance(recipe, dict) else ():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict) and any(key.startswith(f"{dotted}.") for key in known):
            yield from _names(value, known, f"{dotted}.")
        else:
            yield dotted
