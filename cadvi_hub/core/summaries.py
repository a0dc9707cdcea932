"""The text form of a CaD summary: written in one layout, read from the many layouts that LLMs use.

Layout (paper, section 3.1): a `Commonalities:` paragraph, then `Differences:` as a numbered list with an aspect
heading per item. Aspects without a difference are omitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cadvi_hub.core.json_stream import parse_json
from cadvi_hub.core.schema import Aspect, CadSummary, Difference

ASPECT_NAMES = {
    Aspect.OBJECT_TYPES: "object types?|types? of objects?|objects?",
    Aspect.ATTRIBUTES: "(?:object )?attributes?",
    Aspect.COUNTS: "(?:object )?counts?|numbers?|quantit(?:y|ies)",
    Aspect.ACTIONS: "(?:object )?actions?|activit(?:y|ies)",
    Aspect.LOCATIONS: "(?:object )?locations?|settings?",
    Aspect.RELATIVE_POSITIONS: (
        "(?:relative |spatial |object )?positions?|(?:relative|spatial) (?:locations?|relations?|relationships?)"
    ),
}
FILLERS = {"none", "n/a", "na", "not mentioned", "not specified", "not applicable", "no difference", "no differences"}

_MARK = r"[ \t]*(?:(?:[-*•–+]|#+|\(?\d{1,2}[.)]|[a-f][.)])[ \t]+)*"  # bullets, heading signs, numbers
_NAMES = "|".join(f"(?P<{aspect.name}>{names})" for aspect, names in ASPECT_NAMES.items())
_PLAIN_NAMES = "|".join(ASPECT_NAMES.values())
# What may follow the name: "Number of objects", "Actions/Activities", "Locations and settings", "Attributes (colour)".
_MORE = (
    r"(?:[ \t]+of[ \t]+(?:the[ \t]+)?(?:objects|items|things|people))?"
    r"(?:[ \t]*(?:/|&|\band\b|\bor\b)[ \t]*\w+)?(?:[ \t]*\([^()]*\))?"
)
_ASPECT = re.compile(
    rf"{_MARK}(?:differences?[ \t]+(?:in|of)[ \t]+)?(?:{_NAMES}){_MORE}[ \t]*(?:(?::|[-–—][ \t])[ \t]*(?P<text>.*)|$)",
    re.IGNORECASE,
)
_SECTION = re.compile(
    rf"{_MARK}(?:(?:key|main|the)[ \t]+)*(?:(?P<same>commonalit(?:y|ies)|similarit(?:y|ies))|(?P<differ>differences?))"
    r"(?:[ \t]+(?:between|of|in)[ \t]+(?:the[ \t]+)?(?:two[ \t]+)?(?:images|pictures|photos))?"
    r"[ \t]*(?::[ \t]*(?P<text>.*)|$)",
    re.IGNORECASE,
)
# Restore the line breaks of a summary on one line.
_INLINE_SECTION = re.compile(r"(?<=[.!?])(?<!^\d\.)[ \t]+(?=Differences:)", re.MULTILINE)
_INLINE_ASPECT = re.compile(rf"[ \t]+(?=\d{{1,2}}[.)][ \t]+(?:{_PLAIN_NAMES}):)", re.IGNORECASE)
_EMPHASIS = re.compile(
    r"^((?:[ \t]|#|[-*•–+][ \t]|\(?\d{1,2}[.)][ \t])*)(\*|_{1,2})(?=\w)([^*_\n]{1,60})\2", re.MULTILINE
)
_FENCE = re.compile(r"\A\s*`{3}\w*|`{3}\s*\Z")
_MARKED = re.compile(r"[ \t]*(?:[-*•–+]|\(?\d{1,2}[.)]|[a-z][.)])[ \t]+")
_ABOUT_ONE_IMAGE = re.compile(r"(?:in )?(?:(?:the )?(?:first|second) image|image [12ab])\b", re.IGNORECASE)
_NUMBERED = re.compile(r"\(?\d{1,2}[.)][ \t]+")

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

    It also reads bold, italic or numbered headings, bullets, aspect synonyms, sub-lists per image, a summary on one
    line, and JSON. Remarks before the first heading or after the list are ignored. A table counts as no differences.

    Raises:
        ValueError: no commonalities, no differences, a section twice, or a numbered difference of an unknown aspect.
    """
    canonical = _parse_canonical(text.strip())
    if canonical is not None:
        return canonical
    if _FENCE.sub("", text).lstrip().startswith("{"):
        return parse_summary_json(text)
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
    return _summary(_joined(same), _items(differences.split("\n")))


def parse_summary_json(text: str) -> CadSummary:
    """Read a summary in JSON with the form of `summary_json_schema`, with or without code fence, any aspect names.

    Raises:
        ValueError: not JSON, another form, or no commonalities or differences.
    """
    try:
        data = parse_json(_FENCE.sub("", text))
        pairs = [(_aspect(item["aspect"]), str(item["text"])) for item in data["differences"]]
        return _summary(str(data["commonalities"]), pairs)
    except (KeyError, TypeError) as error:
        raise ValueError(f"JSON of another form ({error!r})") from error


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


def _aspect(name: str) -> Aspect:
    found = _ASPECT.fullmatch(name.strip())
    if found is None or found["text"]:
        raise ValueError(f"{name!r} is not a known aspect")
    return next(aspect for aspect in Aspect if found[aspect.name])


def _summary(commonalities: str, items: Iterable[tuple[Aspect, str]]) -> CadSummary:
    """One text per aspect, in the order of the enumeration."""
    texts: dict[Aspect, list[str]] = {aspect: [] for aspect in Aspect}
    for aspect, text in items:
        text = normalize(text)
        if text and text.rstrip(".").casefold() not in FILLERS and text not in texts[aspect]:
            texts[aspect].append(text)
    differences = tuple(Difference(aspect, " ".join(found)) for aspect, found in texts.items() if found)
    commonalities = normalize(commonalities)
    if not commonalities or commonalities.rstrip(".").casefold() in FILLERS:
        raise ValueError("no commonalities")
    if not differences:
        raise ValueError("no differences")
    return CadSummary(commonalities, differences)


def _items(lines: Iterable[str]) -> Iterator[tuple[Aspect, str]]:
    """Aspect and text of every difference; the lines after an aspect heading belong to it."""
    aspect: Aspect | None = None
    texts: list[str] = []
    after_blank = False
    for line in lines:
        heading = _ASPECT.fullmatch(line.strip())
        if heading is not None:
            if aspect:
                yield aspect, _joined(texts)
            aspect = next(name for name in Aspect if heading[name.name])
            texts = [heading["text"] or ""]
        elif line.strip():
            about_one_image = _ABOUT_ONE_IMAGE.match(_MARKED.sub("", line.strip()))
            if _NUMBERED.match(line) and not about_one_image:
                raise ValueError(f"difference of no known aspect: {line.strip()[:60]!r}")
            if after_blank and any(texts) and not about_one_image and not _MARKED.match(line):
                break  # a closing remark
            texts.append(line)
        after_blank = not line.strip()
    if aspect:
        yield aspect, _joined(texts)


def _joined(lines: Iterable[str]) -> str:
    """Lines of a paragraph or list as running text; a list item ends with a full stop."""
    text = ""
    for line in lines:
        body = _MARKED.sub("", line, count=1).strip() if _MARKED.match(line) else line.strip()
        new_item = _MARKED.match(line) or _ABOUT_ONE_IMAGE.match(body)
        if text and new_item and text[-1] not in ".!?:;,":
            text += "."
        text = f"{text} {body}".strip()
    return text
