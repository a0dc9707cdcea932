"""The lines of a summary in the layouts that LLMs use: aspect headings, lists, groups per image, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cadvi_hub.core.non_answers import is_filler
from cadvi_hub.core.schema import Aspect

ASPECT_NAMES = {
    Aspect.OBJECT_TYPES: "object types?|types? of objects?|objects?",
    Aspect.ATTRIBUTES: (
        "(?:object |visual )?attributes?|colou?rs?(?: scheme)?|(?:visual |physical )?appearances?|clothing|sizes?"
    ),
    Aspect.COUNTS: "(?:object )?counts?|numbers?|quantit(?:y|ies)|counting",
    Aspect.ACTIONS: "(?:object )?actions?|activit(?:y|ies)",
    Aspect.LOCATIONS: "(?:object )?locations?|settings?|backgrounds?|environments?|scenes?",
    Aspect.RELATIVE_POSITIONS: (
        "(?:relative |spatial |object )?positions?|(?:relative|spatial) (?:locations?|relations?|relationships?)"
    ),
}

MARK = r"[ \t]*(?:(?:[-*•–+]|#+|\(?\d{1,2}[.)]|[a-f][.)])[ \t]+)*"  # bullets, heading signs, numbers
_NAMES = "|".join(f"(?P<{aspect.name}>{names})" for aspect, names in ASPECT_NAMES.items())
ANY_ASPECT = "|".join(ASPECT_NAMES.values())
# What may follow the name: "Number of objects", "Actions/Activities", "Locations and settings", "Attributes (colour)".
_MORE = (
    r"(?:[ \t]+of[ \t]+(?:the[ \t]+)?(?:objects|items|things|people))?"
    r"(?:[ \t]*(?:/|&|\band\b|\bor\b)[ \t]*\w+)?(?:[ \t]*\([^()]*\))?"
)
_ASPECT = re.compile(
    rf"{MARK}(?:differences?[ \t]+(?:in|of)[ \t]+)?(?:{_NAMES}){_MORE}[ \t]*(?:(?::|[-–—][ \t])[ \t]*(?P<text>.*)|$)",
    re.IGNORECASE,
)
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d]+[ \t]*")
_MARKED = re.compile(r"[ \t]*(?:[-*•–+]|\(?\d{1,2}[.)]|[a-z][.)])[ \t]+")
_ABOUT_ONE_IMAGE = re.compile(r"(?:in )?(?:(?:the )?(?:first|second) image|image [12ab])\b", re.IGNORECASE)
_NUMBERED = re.compile(r"\(?\d{1,2}[.)][ \t]+")
_IMAGE_HEADING = re.compile(
    rf"{MARK}(?:in[ \t]+)?(?:the[ \t]+)?(?:(?:image|picture|photo)[ \t]+(?P<number>[12ab])|"
    r"(?P<ordinal>first|second)[ \t]+(?:image|picture|photo))(?:[ \t]*\([^()]*\))?[ \t]*:?",
    re.IGNORECASE,
)
_SECOND = {"2", "b", "second"}
_UNKNOWN_HEADING = re.compile(r"[A-Z][\w /&-]{0,40}:(?:\s|$)")
_CLOSING = re.compile(
    r"\W*(?:overall|in (?:summary|conclusion|short)|to (?:summari[sz]e|sum up)|note\b|please|let me|i hope|feel free|"
    r"these\b|this\b|those\b|if you|is there|would you|do you|hope\b|as you)",
    re.IGNORECASE,
)


def _rule(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


_BY_RULE = (
    (Aspect.RELATIVE_POSITIONS, _rule(r"(?:left|right|front|top) of|next to|behind|beside|above|below|between")),
    (
        Aspect.COUNTS,
        _rule("(?:two|three|four|five|six|seven|eight|nine|ten|several|many|number|fewer|more)(?! images)"),
    ),
    (Aspect.ACTIONS, _rule(r"(?:is|are) \w+ing\b(?! (?:of|with))")),
    (Aspect.ATTRIBUTES, _rule("colou?r(?:ed|s)?|red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y")),
    (Aspect.LOCATIONS, _rule("background|setting|indoors?|outdoors?|located|takes place|scene")),
)


def plain_layout(text: str) -> str:
    """The text without HTML tags, rules, emoji and characters of other widths, which only decorate."""
    text = re.sub(r"<br\s*/?>|</p>", "\n", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(?:b|strong|i|em|p|ul|ol|li|h\d|u|div|span)>", "", text, flags=re.IGNORECASE)
    text = re.sub(r"^[ \t]*[-*_=]{3,}[ \t]*$", "", text, flags=re.MULTILINE)
    return _EMOJI.sub("", text).replace("：", ":").replace("\u00a0", " ")


def aspect_named(name: str) -> Aspect:
    found = _ASPECT.fullmatch(name.strip())
    if found is None or found["text"]:
        raise ValueError(f"{name!r} is not a known aspect")
    return _aspect_in(found)


def read_items(lines: Iterable[str]) -> Iterator[tuple[Aspect, str]]:
    """Aspect and text of every difference, all of them; the lines after an aspect heading belong to it.

    Raises:
        ValueError: a table or a numbered difference of an unknown aspect.
    """
    bodies = [line.strip() for line in lines]
    rows = [_cells(body) for body in bodies if body.startswith("|")]
    bodies = [body for body in bodies if not body.startswith("|")]
    headings = [_ASPECT.fullmatch(body) for body in bodies]
    after_last = max((k for k, heading in enumerate(headings) if heading), default=-1)
    aspect, image, is_numbered, is_bare = None, "", False, False  # bare: a numbered item without heading
    texts: list[str] = []

    def item() -> Iterator[tuple[Aspect, str]]:
        if aspect and not is_filler(text := joined(texts)):
            yield aspect, text if not image or _ABOUT_ONE_IMAGE.search(text) else f"{image}: {text}"

    for number, (body, heading) in enumerate(zip(bodies, headings, strict=True)):
        if heading:
            yield from item()
            aspect, is_numbered, is_bare = _aspect_in(heading), bool(_NUMBERED.match(body)), False
            texts = [heading["text"] or ""]
        elif image_named(body) and _next_is_heading(bodies, headings, number):
            yield from item()
            aspect, image, texts = None, image_named(body) or "", []
        elif body:
            about_one_image = _ABOUT_ONE_IMAGE.match(_MARKED.sub("", body))
            begins_new = _NUMBERED.match(body) and (aspect is None or is_bare or (is_numbered and not about_one_image))
            if begins_new and _UNKNOWN_HEADING.match(_NUMBERED.sub("", body)):
                raise ValueError(f"difference of no known aspect: {body[:60]!r}")
            if number > after_last and number and not bodies[number - 1] and _CLOSING.match(body):
                break
            if aspect is None and body.endswith(":"):
                continue  # "Here is how they differ:"
            if begins_new or aspect is None:
                yield from item()
                aspect, is_bare, texts = aspect_by_rule(body), bool(begins_new), [body]
            else:
                texts.append(body)
    yield from item()
    yield from _table(rows)


def image_named(heading: str) -> str | None:
    """ "Image 1" or "Image 2" if the heading names one of them: "In the second image:", "Image B"."""
    found = _IMAGE_HEADING.fullmatch(heading)
    return found and f"Image {2 if (found['number'] or found['ordinal']).lower() in _SECOND else 1}"


def _next_is_heading(bodies: list[str], headings: list[re.Match[str] | None], number: int) -> bool:
    return next((bool(headings[k]) for k in range(number + 1, len(bodies)) if bodies[k]), False)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _table(rows: list[list[str]]) -> Iterator[tuple[Aspect, str]]:
    """The differences of a table `| Aspect | Image 1 | Image 2 |` or `| Aspect | Difference |`, one row per aspect."""
    if not rows:
        return
    head, *rest = rows
    images = [_IMAGE_HEADING.fullmatch(cell) for cell in head[1:]]
    one_text = len(head) == 2 and re.fullmatch("differences?|description", head[1], re.IGNORECASE)
    if not one_text and (len(head) != 3 or not all(images)):
        raise ValueError("table of another form")
    for row in rest:
        if all(set(cell) <= set(":- ") for cell in row):
            continue
        if len(row) != len(head):
            raise ValueError("table of another form")
        sides = zip(("Image 1", "Image 2"), row[1:], strict=False)
        text = joined(f"{image}: {cell}" for image, cell in sides if not is_filler(cell))
        yield aspect_named(row[0]), row[1] if one_text else text


def _aspect_in(heading: re.Match[str]) -> Aspect:
    return next(aspect for aspect in Aspect if heading[aspect.name])


def aspect_by_rule(text: str) -> Aspect:
    """The aspect of a difference without a heading; one that fits no other says which things an image shows."""
    return next((aspect for aspect, words in _BY_RULE if words.search(text)), Aspect.OBJECT_TYPES)


def joined(lines: Iterable[str]) -> str:
    """Lines of a paragraph or list as running text; a list item ends with a full stop."""
    text = ""
    for line in lines:
        body = _MARKED.sub("", line, count=1).strip() if _MARKED.match(line) else line.strip()
        new_item = _MARKED.match(line) or _ABOUT_ONE_IMAGE.match(body)
        if text and new_item and text[-1] not in ".!?:;,":
            text += "."
        text = f"{text} {body}".strip()
    return text
