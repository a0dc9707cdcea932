"""The keys of settings: what each takes and is for, from the dataclasses and their docstrings.

`--help`, the page "Reference" and the check of a command's arguments all read them here.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cadvi_hub.core.ranges import MOST, Range

NOTHING = "–"  # a default that is empty
_WORDS = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "Path": "path",
    "Any": "any value",
}


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        name: with the names of the groups that it is in, as `pairs.min_shared`.
        hint: its type.
        about: what it is, a line of text.
        takes: which values, a line of text.
        default: as text; "" for a required key.
        group: the settings within the settings that it belongs to, "" at the top.
    """

    name: str
    hint: Any
    about: str
    takes: str
    default: str
    group: str = ""

    @property
    def is_flag(self) -> bool:
        return bool in _parts(self.hint)

    @property
    def is_list(self) -> bool:
        """Whether several values can be given."""
        return any(_is_list(part) for part in _parts(self.hint))

    @property
    def takes_one(self) -> bool:
        """Whether one value alone is not a list."""
        return any(not _is_list(part) for part in _parts(self.hint) if part is not type(None))

    @property
    def is_mapping(self) -> bool:
        return any(get_origin(part) is dict for part in _parts(self.hint))


def keys_of(settings_class: Any, renamed: Mapping[str, str] | None = None) -> Iterator[Key]:
    """Every key of the settings, also of settings within the settings; `renamed` maps fields to other names."""
    renamed = renamed or {}
    for key in _keys(settings_class, ""):
        yield dataclasses.replace(key, name=renamed.get(key.name, key.name))


def groups_of(settings_class: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The name and the description of each group: settings within the settings."""
    about = descriptions(settings_class)
    for name, hint in get_type_hints(settings_class).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield f"{prefix}{name}", _line(about.get(name, ""))
            yield from groups_of(hint, f"{prefix}{name}.")


def descriptions(settings_class: Any) -> dict[str, str]:
    """Field → description, from the docstrings of the class and of those that it inherits from."""
    import docstring_parser

    found: dict[str, str] = {}
    for ancestor in reversed(settings_class.__mro__):
        for key in docstring_parser.parse(ancestor.__dict__.get("__doc__") or "").params:
            found[key.arg_name] = key.description or ""
    return found


def help_text(settings_class: Any, usage: str, summary: str, example: str, renamed: Mapping[str, str]) -> str:
    """What `cadvi COMMAND --help` prints: an example, the required keys, then the others by group."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    keys = list(keys_of(settings_class, renamed))
    required = [key for key in keys if not key.default]
    lines = [f"usage: {usage}", "", *textwrap.wrap(f"{summary[0].upper()}{summary[1:]}.", width)]
    lines += ["", "example:", f"  {example}"]
    lines += _section("required:", required, width)
    others = [key for key in keys if key.default]
    lines += _section("optional:", [key for key in others if not key.group], width)
    for group, about in groups_of(settings_class):
        lines += _section(f"{group}: {about}", [key for key in others if key.group == group], width)
    lines += [
        "",
        "A recipe can have the same keys: `--config FILE.yaml`, or the name of a packaged one. The command line wins.",
        "Lists take commas or spaces (JSON where a value has a comma); a flag needs no value.",
        "`--print_config` prints all settings as YAML, `--debug` shows where in the program an error arises.",
    ]
    return "\n".join(lines)


def _section(title: str, keys: Iterable[Key], width: int) -> list[str]:
    lines: list[str] = []
    for key in keys:
        lines.append(f"  --{key.name}" + ("" if key.is_flag else f" {_metavar(key)}"))
        default = f" Default: {key.default}." if key.default not in ("", NOTHING) else ""
        lines += textwrap.wrap(
            f"{key.about}{default}".replace("`", ""), width, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
    return ["", *textwrap.wrap(title, width, subsequent_indent="  "), *lines] if lines else []


def _metavar(key: Key) -> str:
    plain = key.takes.replace("`", "").replace("whole number", "int")
    if any(get_origin(part) is Literal for part in _parts(key.hint)):
        return f"{{{plain.replace(', ', ',')}}}"
    return plain.upper() if " " not in plain else f"({plain})"


def _keys(settings_class: Any, prefix: str) -> Iterator[Key]:
    about = descriptions(settings_class)
    hints = get_type_hints(settings_class, include_extras=True)
    for field in dataclasses.fields(settings_class):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _keys(hint, f"{prefix}{field.name}.")
        else:
            yield Key(
                f"{prefix}{field.name}",
                hint,
                _line(about.get(field.name, "")),
                _line(_takes(hint)),
                _default(field),
                prefix.removesuffix("."),
            )


def _parts(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    origin, parts = get_origin(hint), get_args(hint)
    if not parts or origin is Literal or _is_list(hint) or origin is dict or hasattr(hint, "__metadata__"):
        return (hint,)
    return parts


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, Sequence)


def _takes(hint: Any) -> str:
    if allowed := next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)), None):
        if allowed.most == MOST:  # a bound against nonsense, which no reader needs to know
            allowed = dataclasses.replace(allowed, most=math.inf)
        return f"{_WORDS[get_args(hint)[0].__name__]}, {allowed!r}"
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is dict:
        return f"mapping of {_takes(parts[0])} to {_takes(parts[1])}"
    if origin in (list, Sequence):
        return f"list of {_takes(parts[0])}"
    if parts:  # a union
        return " or ".join(_takes(part) for part in parts if part is not type(None))
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(name, name)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "" if field.default is dataclasses.MISSING else _shown(field.default)


def _shown(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    return _line(f"`{value}`")


def _line(text: str) -> str:
    return " ".join(text.split())
