"""Numbers with a range, as the types of settings: one check for recipes, the command line and Python.

A settings dataclass annotates its numbers with a type from here and inherits from `Ranged`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Annotated, Any, get_args, get_type_hints

from cadvi_hub.core.errors import InputError


@dataclass(frozen=True, repr=False)
class Range:
    """The finite numbers from `least` to `most`; `open_below` leaves `least` out."""

    least: float
    most: float = math.inf
    open_below: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value < math.inf:
            return False  # NaN included
        return (self.least < value if self.open_below else self.least <= value) and value <= self.most

    def __repr__(self) -> str:
        """As `--help` and errors show it."""
        least = f"above {self.least:,}" if self.open_below else f"{self.least:,}"
        if self.most == math.inf:
            return least if self.open_below else f"{least} or more"
        return f"{least} and at most {self.most:,}" if self.open_below else f"{least} to {self.most:,}"


LONGEST_NAME, LONGEST_PATH = 255, 4_000  # bytes, on every usual file system
MOST = 10**12  # rows, samples: more than any disk holds, less than what any library counts with

Count = Annotated[int, Range(1, MOST)]
CountOrZero = Annotated[int, Range(0, MOST)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what NumPy takes
Tokens = Annotated[int, Range(1, 10_000_000)]  # also words and characters of one text
Words = Annotated[int, Range(0, 10_000_000)]
Pixels = Annotated[int, Range(28 * 28, MOST)]  # of a picture; with less there is not even one patch
BatchSize = Annotated[int, Range(1, 100_000)]
Parallel = Annotated[int, Range(1, 10_000)]  # processes, requests at once
Retries = Annotated[int, Range(0, 1_000)]
Resamples = Annotated[int, Range(1, 1_000_000)]
Seconds = Annotated[float, Range(0, 7 * 24 * 3600, open_below=True)]
Share = Annotated[float, Range(0, 1)]
ShareAboveZero = Annotated[float, Range(0, 1, open_below=True)]
Temperature = Annotated[float, Range(0, 100)]
Port = Annotated[int, Range(0, 65_535)]  # 0 takes any that is free


@dataclass
class Ranged:  # a dataclass without fields: jsonargparse would take settings with another base for a class to choose
    """Settings that check the ranges of their numbers when they are made."""

    def __post_init__(self) -> None:
        check_ranges(type(self), vars(self))


def check_ranges(settings_class: type, values: Mapping[str, Any], prefix: str = "") -> None:
    """Check the numbers and paths in `values`, field name → value, also those of settings within them.

    Raises:
        InputError: a number is out of its range, or no file can have a path; the error names the key after `prefix`.
    """
    for name, hint, inner in _checked_fields(settings_class):
        value = values.get(name)
        for place in _places(value):
            _check_place(f"{prefix}{name}", place)
        if inner is not None:
            within = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
            check_ranges(inner, within, f"{prefix}{name}.")
            continue
        for each, allowed in _numbers(hint, value):
            check_range(f"{prefix}{name}", each, allowed)


def check_range(key: str, value: Any, allowed: Range) -> None:
    """InputError unless `value`, the setting `key`, is within its range."""
    if value not in allowed:
        raise InputError(f"setting {key}", f"it is {_shown(value)}", f"Give a number, {allowed!r}")


def _shown(value: Any) -> str:
    """`value` as a message shows it: of a number with thousands of digits, only the first."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _places(value: Any) -> Iterator[str | PurePath]:
    """The texts and paths of `value`."""
    if isinstance(value, str | PurePath):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (key, *_places(inner)) if isinstance(key, str) else _places(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _places(inner)


def _check_place(key: str, place: str | PurePath) -> None:
    """Refuse what no file system takes; a text may be anything but NUL."""
    shown = repr(str(place)[:60])
    if "\0" in str(place):
        raise InputError(f"setting {key}", f"it has a NUL character ({shown})", "Remove it")
    if isinstance(place, PurePath):
        longest = max((len(os.fsencode(part)) for part in place.parts), default=0)
        if longest > LONGEST_NAME or len(os.fsencode(place)) > LONGEST_PATH:
            hint = f"A name has at most {LONGEST_NAME} bytes, a path {LONGEST_PATH}"
            raise InputError(f"setting {key}", f"it is too long for a path ({shown} …)", hint)


@lru_cache
def _checked_fields(settings_class: type) -> list[tuple[str, Any, type | None]]:
    """Name, type and, for settings within the settings, their class."""
    hints = get_type_hints(settings_class, include_extras=True)
    return [(name, hint, hint if is_dataclass(hint) else None) for name, hint in hints.items()]  # type: ignore[misc]


def _numbers(hint: Any, value: Any) -> Iterator[tuple[Any, Range]]:
    """The numbers of `value` with their ranges, where `hint` is such a type, optional, or a collection of such."""
    if value is None:
        return
    if allowed := next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)), None):
        yield value, allowed
        return
    if isinstance(value, Mapping):
        value = list(value.values())
    for part in get_args(hint):
        for each in value if isinstance(value, Sequence) and not isinstance(value, str) else (value,):
            yield from _numbers(part, each)
