"""A question about two images with the images in the other order, which shows whether a model prefers one position."""

import re
from collections.abc import Mapping
from typing import Any

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.answers import IMAGE_LETTERS

_IMAGE = r"(?:images?|pictures?|photos?|photographs?)"
# An image named by its place: "the left image", "the right-hand picture", "the image on the right", "Image 1"
_NAMED = re.compile(
    rf"\b(?:(?:left|right|first|second)(?:-hand)?(?:\s+side)?\s+{_IMAGE}"
    rf"|{_IMAGE}\s+on\s+the\s+(?:left|right)(?!\s+(?:side\s+)?of)|{_IMAGE}\s+[12])\b",
    re.I,
)
_SIDE = re.compile(r"\b(?:left|right|first|second|1st|2nd|former|latter|leftmost|rightmost)\b", re.I)
_OTHER = {"left": "right", "right": "left", "first": "second", "second": "first", "1": "2", "2": "1"}


def swap_images(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row with its two images swapped, and with the answer that is then right.

    Where the options are the letters of the two images, the other letter is right. Of a statement about both images
    (NLVR2) the answer stays; if it names an image by its place ("the left image"), the other place is written.

    Returns:
        The swapped row; None where a statement has a word for a side that may mean something within an image ("a dog
        facing left"), for then nobody knows what is true after the swap.
    """
    images = row["images"][::-1]
    if tuple(row["options"]) == IMAGE_LETTERS:
        first, second = IMAGE_LETTERS
        return {**row, "images": images, "answer": second if row["answer"] == first else first}
    start, end = _statement(row["question"])
    question, statement = row["question"], row["question"][start:end]
    if _SIDE.search(_NAMED.sub("", statement)):
        return None
    return {
        **row,
        "images": images,
        "question": question[:start] + _NAMED.sub(_other_place, statement) + question[end:],
    }


def _statement(question: str) -> tuple[int, int]:
    """Where the statement is: what is quoted after the last image, or all of it. What is before names the places."""
    start = question.rfind(IMAGE_PLACEHOLDER) + len(IMAGE_PLACEHOLDER)
    quoted = re.compile(r'"(.*)"', re.S).search(question, start)
    return quoted.span(1) if quoted else (start, len(question))


def _other_place(named: re.Match[str]) -> str:
    return re.sub(r"\b(?:left|right|first|second|[12])\b", _other_word, named[0], flags=re.I)


def _other_word(side: re.Match[str]) -> str:
    other = _OTHER[side[0].lower()]
    return other.capitalize() if side[0].istitle() else other
