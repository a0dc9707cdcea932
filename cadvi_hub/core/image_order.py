"""Texts about two images, for the same images in the other order: "Image 1" and "Image 2" change places.

What cannot be said truly of the other order is refused: texts whose order is only implied ("the car is gone"), and
words that may mean an image or a place within one ("the left shows a dog").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cadvi_hub.core.schema import Message

_IMAGE = r"(?:images?|pictures?|photos?|photographs?)"
_PLACE = r"(?:left|right|first|second)"
# An image named by its place: "the left image", "the right-hand picture", "the image on the right", "Images 1 and 2"
NAMED = re.compile(
    rf"\b(?:(?:{_PLACE}\s+(?:and|or)\s+(?:the\s+)?)?{_PLACE}(?:-hand)?(?:\s+side)?\s+{_IMAGE}"
    rf"|{_IMAGE}\s+on\s+the\s+(?:left|right)(?!\s+(?:side\s+)?of)"
    rf"|{_IMAGE}\s+[12](?:\s*(?:and|or|&|,)\s*(?:{_IMAGE}\s+)?[12])?)\b",
    re.I,
)
_OTHER = {"left": "right", "right": "left", "first": "second", "second": "first", "1": "2", "2": "1"}
# What can imply an order that no name shows
_IMPLIED = re.compile(
    rf"\b(?:first|second|1st|2nd|former|latter|leftmost|rightmost|before|after|afterwards|previous(?:ly)?|earlier|later"
    r"|originally|now|then|still|already|no\s+longer|any\s?more|gone|vanish\w*|disappear\w*|appear(?:s|ed)|add(?:s|ed)"
    r"|remov(?:es|ed)|chang(?:es?|ed|ing)|bec(?:omes?|ame)|replace[sd]?|instead|new(?:er|ly)?|mov(?:es|ed)|turn(?:s|ed)"
    rf"|the\s+(?:left|right)(?:\s+one|(?=\s+(?:shows?|has|is|depicts?|contains?|features?)\b))|{_IMAGE}\s+(?-i:[ABXY]))\b",
    re.I,
)
_BY_SIDE = re.compile(r"\b(?:left|right)\b", re.I)
_LABEL = re.compile(rf"{_IMAGE}\s+[12]\W*$", re.I)  # right before an image
_OPTION = re.compile(rf"^\W*(?P<letter>[A-D])\W\s*(?:the\s+)?(?P<image>{NAMED.pattern})\W*$", re.I | re.M)
_ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s")


def other_place(named: re.Match[str]) -> str:
    """What `NAMED` matched, with the other place: "the first image" is "the second image"."""
    return re.sub(rf"\b(?:{_PLACE}|[12])\b", _other_word, named[0], flags=re.I)


def _other_word(side: re.Match[str]) -> str:
    other = _OTHER[side[0].lower()]
    return other.capitalize() if side[0].istitle() else other


def swap_sides(text: str) -> str:
    """`text` with the names of the two images swapped, whatever else it says."""
    return NAMED.sub(other_place, text)


def swap_order(messages: Sequence[Message]) -> list[Message] | None:
    """The messages of a row with two images, as they are true when the images come in the other order.

    Labels right before an image ("Image 1: <image>") and options ("A. Image 1") stay where they are, and the letter of
    the right option becomes the other one.

    Returns:
        None where nobody knows what is true then. That is so if neither question nor answer names an image, if an item
        of a list of differences does not, or if a word may imply the order.
    """
    swapped: list[Message] = []
    options: dict[str, str] = {}  # letter of an option → letter of the option that is right instead
    is_named = False
    for turn in messages:
        text = "\n".join(_said(turn, number)[0] for number in range(len(turn["content"])))
        if turn["role"] == "assistant":
            letter = re.fullmatch(r"\W*([A-D])\W*", text)
            if letter and letter[1] in options:
                other = text.replace(letter[1], options[letter[1]])
                swapped.append({**turn, "content": [{"type": "text", "text": other}]})
                continue
            if letter or options or not (is_named or NAMED.search(text)) or not _every_item_names(text):
                return None
        else:
            images = {option["image"].casefold(): option["letter"] for option in _OPTION.finditer(text)}
            options = {images[name]: images[mirrored] for name in images if (mirrored := swap_sides(name)) in images}
            is_named = bool(NAMED.search(_OPTION.sub("", text)))
        parts = [_swapped_part(turn, number) for number in range(len(turn["content"]))]
        if None in parts:
            return None
        swapped.append({**turn, "content": parts})
    return swapped


def _every_item_names(text: str) -> bool:
    """Whether each item of a list names an image; what is no list passes."""
    return all(NAMED.search(line) for line in text.splitlines() if _ITEM.match(line))


def _said(turn: Message, number: int) -> tuple[str, str]:
    """The text of a part, and the label of the image after it."""
    text = turn["content"][number]["text"] or ""
    following = turn["content"][number + 1 :]
    label = _LABEL.search(text) if following and following[0]["type"] == "image" else None
    return (text[: label.start()], label[0]) if label else (text, "")


def _swapped_part(turn: Message, number: int) -> dict[str, str | None] | None:
    """A part of a message in the other order; None if it cannot be said."""
    part = turn["content"][number]
    text = part["text"]
    if part["type"] != "text" or not text:
        return dict(part)
    said, label = _said(turn, number)
    kept = list(_OPTION.finditer(said))
    names = [named[0] for named in NAMED.finditer(said)]
    rest = NAMED.sub("", said)
    if _IMPLIED.search(rest) or (_BY_SIDE.search(" ".join(names)) and _BY_SIDE.search(rest)):
        return None
    pieces, start = [], 0
    for option in kept:
        pieces += [swap_sides(said[start : option.start()]), option[0]]
        start = option.end()
    return {**part, "text": "".join([*pieces, swap_sides(said[start:])]) + label}
