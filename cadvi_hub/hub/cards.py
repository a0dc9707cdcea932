"""Cards of data sets and models: templates of `dataset_cards/` and `model_cards/`, filled with counted values.

Text from data, models or settings is escaped for Markdown and HTML, so that a hostile caption or prompt stays text.
huggingface_hub's own card templates do not escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import CardData

MAX_CHARACTERS = 300
# Everything but letters, digits and harmless marks. A colon without a space after it may make a link; an underscore
# that is not between letters or digits may make italics.
_SPECIAL = re.compile(r"""[^\w .,;?!/%(){}="'+:-]|:(?! )|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.""")
# The folders of an absolute path, at the start of a word.
_FOLDERS = re.compile(r"""(?:^|(?<=[\s,(='"]))(?:[A-Za-z]:)?[/\\](?:[^\s,/\\]+[/\\])+(?=[^\s,/\\])""")


def shipped(folder: str) -> Path:
    """A top-level folder of the project: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    installed = package / "shipped" / folder
    return installed if installed.is_dir() else package.parent / folder


class Verbatim(str):
    """Checked text that is not escaped (for code blocks)."""

    __slots__ = ()


def escape(value: Any, most: int = MAX_CHARACTERS) -> str:
    """`value` as text for one line of Markdown, at most `most` characters of it.

    Floats get at least four digits. Absolute paths, which belong to somebody's machine, keep only their last part.
    Characters that do not print are removed.
    """
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    text = _FOLDERS.sub("", " ".join(str(value).split()))
    if len(text) > most:
        text = text[: most - 1] + "…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", "".join(filter(str.isprintable, text)))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The scalars in JSON `value` with their dotted names, in order. A list of scalars counts as one scalar."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for number, item in enumerate(value, start=1):
            yield from leaves(item, f"{name}.{number}" if name else str(number))
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, "none" if value is None else value


def sections(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """A JSON record as titled tables of names and values: first its scalars, then one table per other key."""
    scalars = {key: value for key, value in record.items() if not isinstance(value, (Mapping, list))}
    tables = [("build", list(leaves(scalars)))]
    tables += [(key, list(leaves(value))) for key, value in record.items() if key not in scalars]
    return [(title.replace("_", " ").capitalize(), rows) for title, rows in tables if rows]


def render_card(folder: str, metadata: CardData, template: str = "card.md.jinja", **values: Any) -> str:
    """The card from a template in the top-level `folder`: metadata as YAML, then text. Equal values give equal cards.

    Raises:
        InputError: the card would hold the user's own token.
    """
    from huggingface_hub import get_token
    from jinja2 import Environment, StrictUndefined

    # HTML escaping is not enough for Markdown: `finalize` escapes every value for both.
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=escape
    )
    source = (shipped(folder) / template).read_text(encoding="utf-8")
    card = f"---\n{metadata.to_yaml()}\n---\n\n{environment.from_string(source).render(values)}"
    token = get_token()
    if token and token in card:
        raise InputError("README.md", "a value for the card holds your access token", "Remove it from the records")
    return card


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent, with one decimal."""
    return f"{100 * part / whole:.1f}%" if whole else "–"


def size_category(rows: int) -> str:
    """The Hub's name for the size of a data set."""
    bounds: Sequence[tuple[int, str]] = ((1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"))
    lower = ""
    for bound, name in bounds:
        if rows < bound:
            return f"{lower}n<{name}"
        lower = f"{name}<"
    return "1M<n<10M"
