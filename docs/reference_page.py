"""The page "Reference": every key of every command, from the settings' docstrings. `mkdocs.yml` names it as a hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser

from cadvi_hub.cli import COMMANDS, Command
from cadvi_hub.core.ranges import Range
from cadvi_hub.training.settings import DataArguments

PAGE = "reference.md"
HEAD = """# Reference

Every key of every command, with its default and what it takes. A recipe (`--config FILE.yaml`) has the same keys,
without the dashes. `cadvi COMMAND --help` prints them, too.
"""
TRAINING = """
## cadvi train

`cadvi train` (in several processes `accelerate launch -m cadvi_hub.training.sft`) takes these keys, those of TRL's
`SFTConfig`, `DPOConfig` or `GRPOConfig`, by `--method`, and those of its `ModelConfig`. `--help` lists all of them.
`cadvi_hub/training/recipe.py` has the defaults that differ from TRL's.
"""


def reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    for name, command in COMMANDS.items():
        parts.append(f"\n## cadvi {name}\n\n{_sentence(command.summary)}\n")
        parts.append(_table(command.load(command.settings), command))
    parts += [TRAINING, _table(DataArguments, None)]
    return "\n".join(parts)


def on_files(files: Any, config: Any) -> Any:
    """MkDocs' hook: adds the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=reference()))
    return files


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _table(settings_class: Any, command: Command | None) -> str:
    lines = ["| key | what it is | takes | default |", "|---|---|---|---|"]
    lines += [f"| `--{key}` | {about} | {takes} | {default} |" for key, about, takes, default in keys(settings_class)]
    positional = command.positional if command else None
    if positional and positional.field:  # `cadvi build v1`: the key has another name than the field
        lines = [line.replace(f"| `--{positional.field}` |", f"| `--{positional.key}` |") for line in lines]
    return "\n".join(lines) + "\n"


def keys(settings_class: Any, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, description, type with range, and default of every setting, also of settings within the settings."""
    about = _descriptions(settings_class)
    hints = get_type_hints(settings_class, include_extras=True)
    for field in dataclasses.fields(settings_class):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from keys(hint, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", _cell(about.get(field.name, "")), _cell(_takes(hint)), _default(field)


def _descriptions(settings_class: Any) -> dict[str, str]:
    """Field → description, from the docstrings of the class and of those that it inherits from."""
    found: dict[str, str] = {}
    for ancestor in reversed(settings_class.__mro__):
        for key in docstring_parser.parse(ancestor.__dict__.get("__doc__") or "").params:
            found[key.arg_name] = key.description or ""
    return found


def _takes(hint: Any) -> str:
    if allowed := next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)), None):
        return f"{get_args(hint)[0].__name__}, {allowed!r}"
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
    return {"str": "text", "bool": "true or false", "Path": "path", "Any": "any value"}.get(name, name)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "**required**" if field.default is dataclasses.MISSING else _shown(field.default)


def _shown(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return _cell(f"`{value}`")


def _cell(text: str) -> str:
    """`text` in one line, as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
