"""Recipes: read once, and checked before a YAML library loads them; a short file can become gigabytes of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, check_regular

MAX_BYTES = 200_000
MAX_DEPTH = 20  # lists and mappings within each other
MAX_NODES = 10_000  # values, with each alias counted as what it stands for
_HINT = "Write the recipe as plain YAML in UTF-8"


def with_packaged_recipes(arguments: Sequence[str], packaged: Mapping[str, Path]) -> list[str]:
    """A command's arguments, with the file of each packaged recipe that `--config` names.

    Args:
        arguments: of the command.
        packaged: name → file; a file of the user that has such a name wins.
    """
    written = list[str]()
    words = iter(arguments)
    for word in words:
        key, equals, value = word.partition("=")
        if key != "--config":
            written.append(word)
            continue
        name = value if equals else next(words, None)
        written.append(key)
        if name is not None:
            written.append(str(packaged[name]) if name in packaged and not Path(name).is_file() else name)
    return written


def read_recipes(arguments: Iterable[str]) -> list[tuple[Path, Json]]:
    """The recipes that `--config` names among a command's arguments, in their order: file and content.

    Raises:
        InputError: one is missing, not a file, too large, not YAML, or its aliases or its depth make it too large.
    """
    is_next, files = False, list[Path]()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if is_next or (key == "--config" and equals):
            files.append(Path(argument if is_next else value))
        is_next = key == "--config" and not equals
    return [(file, _read(file)) for file in files]


def _read(file: Path) -> Json:
    """The content of `file`, a small YAML mapping in UTF-8; what its keys mean is checked later."""
    import yaml

    check_regular(file, _HINT)
    try:
        with file.open("rb") as content:
            data = content.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"recipe {str(file)[:200]!r}", f"it cannot be read ({reason})", "Check its name") from error
    if len(data) > MAX_BYTES:
        raise InputError(str(file), f"it has more than {MAX_BYTES:,} bytes", _HINT)
    try:
        text = data.decode("utf-8-sig")
        first = _check_size(yaml.parse(text, yaml.SafeLoader))
        if first is not None and not isinstance(first, yaml.MappingStartEvent):
            raise InputError(str(file), "it is not a mapping of keys to values", _HINT)
        read: Json = yaml.safe_load(text) or {}
    except UnicodeDecodeError as error:
        raise InputError(str(file), "it is not UTF-8 text", _HINT) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: too large, or an impossible date
        raise InputError(str(file), f"it is not a recipe ({' '.join(str(error).split())[:300]})", _HINT) from error
    return read


class _TooLargeError(ValueError):
    """A recipe that would become too large."""


def _check_size(events: Iterable[object]) -> object:
    """Count the values of a document, and return the event that begins it; None for an empty one."""
    import yaml

    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and what was counted before it
    total, first, documents = 0, None, 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _TooLargeError("it has more than one document")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _TooLargeError(f"*{event.anchor} stands for nothing that is complete")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > MAX_DEPTH:
                raise _TooLargeError(f"more than {MAX_DEPTH} lists and mappings within each other")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            total += 1
            if anchor:
                sizes[anchor] = total - before
        if total > MAX_NODES:
            raise _TooLargeError(f"more than {MAX_NODES:,} values")
        if first is None and isinstance(event, yaml.NodeEvent):
            first = event
    return first
