"""The text form of a CaD summary: written in one layout, read from the many layouts that LLMs use.

Layout (paper, section 3.1): a `Commonalities:` paragraph, then `Differences:` as a numbered list with an aspect
heading per item. Aspects without a difference are omitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cadvi_hub.core.json_text import read_json, text_of
from cadvi_hub.core.non_answers import is_filler
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.core.summary_layouts import (
    ANY_ASPECT,
    MARK,
    aspect_named,
    image_named,
    joined,
    plain_layout,
    read_items,
)

_SECTION = re.compile(
    rf"{MARK}(?:(?:key|main|notable|major|the|(?:a[ \t]+)?(?:summary|list|overview)[ \t]+of)[ \t]+)*"
    r"(?:(?P<same>commonalit(?:y|ies)|similarit(?:y|ies))|(?P<differ>differences?))"
    r"(?:[ \t]+(?:between|of|in|across|among)[ \t]+(?:(?:the[ \t]+)?(?:(?:two|both)[ \t]+)?(?:images|pictures|photos)"
    r"|image[ \t]+(?:1|a)[ \t]+and[ \t]+(?:image[ \t]+)?(?:2|b)))?"
    r"[ \t]*(?::[ \t]*(?P<text>.*)|$)",
    re.IGNORECASE,
)
# Restore the line breaks of a summary on one line.
_INLINE_SECTION = re.compile(r"(?<=[.!?])(?<!^\d\.)[ \t]+(?=Differences:)", re.MULTILINE)
_INLINE_ASPECT = re.compile(rf"[ \t]+(?=\d{{1,2}}[.)][ \t]+(?:{ANY_ASPECT}):)", re.IGNORECASE)
_EMPHASIS = re.compile(
    r"^((?:[ \t]|#|[-*•–+][ \t]|\(?\d{1,2}[.)][ \t])*)(\*|_{1,2})(?=\w)([^*_\n]{1,60})\2", re.MULTILINE
)
_JSON = re.compile(r'^\s*\{\s*"(?:commonalit|similarit|differ)', re.IGNORECASE | re.MULTILINE)
_SECTION_NAME = re.compile("commonalit(?:y|ies)|similarit(?:y|ies)|differences?", re.IGNORECASE)
_FENCE = re.compile(r"\A\s*`{3}\w*|`{3}\s*\Z")
_CANONICAL = re.compile(r"Commonalities:\n([^\n]+)\n\nDifferences:\n([^\n]+(?:\n[^\n]+)*)")
_CANONICAL_ITEM = re.compile(rf"\d+\. ({'|'.join(Aspect)}): (.+)")


def normalize(text: str) -> str:
    """`text` on one line, without bold marks; idempotent."""
    return " ".join(re.sub(r"\*{2,}", "", text).split())


def render_summary(summary: CadSummary) -> str:
    """The summary in the canonical layout: aspects in the order of the enumeration, without empty ones."""
    order = list(Aspect)
    differences = sorted(summary.differences, key=lambda difference: order.index(difference.aspect))
    items = [f"{difference.aspect}: {normalize(difference.text)}" for difference in differences if difference.text]
    numbered = "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))
    return f"Commonalities:\n{normalize(summary.commonalities)}\n\nDifferences:\n{numbered}"


def parse_summary(text: str) -> CadSummary:
    """Read a summary; the inverse of `render_summary` if texts are normalised and not just fillers.

    It also reads bold, italic or numbered headings, bullets, aspect synonyms, sub-lists per image, aspects per image,
    a table of aspects, a summary on one line, and JSON. A numbered difference without a heading gets its aspect by
    rule. Remarks before the first heading or after the list are ignored.

    Raises:
        ValueError: no commonalities, no differences, a section twice, or a numbered difference of an unknown aspect:
            a reply is read completely or not at all.
    """
    canonical = _parse_canonical(text.strip())
    if canonical is not None:
        return canonical
    if _FENCE.sub("", text).lstrip().startswith("{") or _JSON.search(text):
        return parse_summary_json(text)
    text = plain_layout(text)
    text = _INLINE_SECTION.sub("\n", _EMPHASIS.sub(r"\1\3", re.sub(r"\*{2,}|`{3}\w*", "", text)))
    sections: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.split("\n"):
        found = _SECTION.fullmatch(line.strip())
        if found is None:
            if lines is not None:
                lines.append(line.rstrip())
            continue
        name = "Commonalities" if found["same"] else "Differences"
        if name in sections:
            raise ValueError(f"two {name} sections")
        lines = sections[name] = [found["text"] or ""]
    if not sections:
        raise ValueError("no section headings")
    same = [line for line in sections.get("Commonalities", []) if line.strip()]
    differences = _INLINE_ASPECT.sub("\n", "\n".join(sections.get("Differences", [])))
    return _summary(joined(same), read_items(differences.split("\n")))


def parse_summary_json(text: str) -> CadSummary:
    """Read a summary in JSON with the form of `summary_json_schema`, with or without code fence, any aspect names.

    Raises:
        ValueError: not JSON, another form, or no commonalities or differences.
    """
    data = read_json(text)
    try:
        same = next(data[name] for name in data if _SECTION_NAME.fullmatch(name) and name[0] in "cCsS")
        differ = next(data[name] for name in data if _SECTION_NAME.fullmatch(name) and name[0] in "dD")
        return _summary(text_of(same), list(_json_items(differ)))
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError) as error:
        raise ValueError(f"JSON of another form ({error!r})") from error


def _json_items(differences: Any) -> Iterator[tuple[Aspect, str]]:
    """Of a list of `{"aspect": …, "text": …}`, or of an object of aspects, perhaps one per image."""
    if isinstance(differences, list):
        for item in differences:
            yield aspect_named(item["aspect"]), text_of(item["text"])
        return
    for name, value in differences.items():
        if image := image_named(name):
            for aspect, text in _json_items(value):
                yield aspect, f"{image}: {text}" if text and not is_filler(text) else ""
        else:
            yield aspect_named(name), text_of(value)


def summary_json_schema(max_commonalities: int = 600, max_difference: int = 300) -> dict[str, Any]:
    """JSON schema of a summary; lengths in characters are bounded, because a model may not end a string."""
    aspect = {"type": "string", "enum": [str(aspect) for aspect in Aspect]}
    difference = object_schema(aspect=aspect, text={"type": "string", "maxLength": max_difference})
    return object_schema(
        commonalities={"type": "string", "maxLength": max_commonalities},
        differences={"type": "array", "items": difference, "minItems": 1, "maxItems": len(Aspect)},
    )


def object_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of an object that has exactly these properties, in this order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _parse_canonical(text: str) -> CadSummary | None:
    found = _CANONICAL.fullmatch(text)
    items = [_CANONICAL_ITEM.fullmatch(line) for line in found[2].split("\n")] if found else []
    if found is None or not all(items):
        return None
    return _summary(found[1], ((Aspect(item[1]), item[2]) for item in items if item))


def _summary(commonalities: str, items: Iterable[tuple[Aspect, str]]) -> CadSummary:
    """One text per aspect, in the order of the enumeration."""
    texts: dict[Aspect, list[str]] = {aspect: [] for aspect in Aspect}
    for aspect, text in items:
        text = normalize(text)
        if not is_filler(text) and text not in texts[aspect]:
            texts[aspect].append(text)
    differences = tuple(
        Difference(aspect, joined(found) if len(found) > 1 else found[0]) for aspect, found in texts.items() if found
    )
    commonalities = normalize(commonalities)
    if is_filler(commonalities):
        raise ValueError("no commonalities")
    if not differences:
        raise ValueError("no differences")
    return CadSummary(commonalities, differences)
