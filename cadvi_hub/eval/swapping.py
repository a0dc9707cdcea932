"""A question about two images with the images in the other order, which shows whether a model prefers one position."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.core.image_order import NAMED, other_place
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER

_SIDE = re.compile(r"\b(?:left|right|first|second|1st|2nd|former|latter|leftmost|rightmost)\b", re.I)


def swap_images(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row with its two images swapped, and with the answer that is then right.

    Where the options are the letters of the two images, the other letter is right. Of a statement about both images
    (NLVR2) the answer stays; if it names an image by its place ("the left image"), the other place is written. A row
    with `swap_words` ("first" and "second") has them changed in its question, options and answer.

    Returns:
        The swapped row; None where nobody knows what is true after the swap: a question about one image or three, one
        of a set of your own without `swap_words`, or a statement that has a word for a side which may mean something
        within an image ("a dog facing left").
    """
    words = row.get("swap_words")
    if len(row["images"]) != 2 or words == []:
        return None
    if words:
        return _with_words_swapped(row, words)
    images = row["images"][::-1]
    if tuple(row["options"]) == IMAGE_LETTERS:
        first, second = IMAGE_LETTERS
        return {**row, "images": images, "answer": second if row["answer"] == first else first}
    start, end = _statement(row["question"])
    question, statement = row["question"], row["question"][start:end]
    if _SIDE.search(NAMED.sub("", statement)):
        return None
    return {
        **row,
        "images": images,
        "question": question[:start] + NAMED.sub(other_place, statement) + question[end:],
    }


def _with_words_swapped(row: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    first, second = (word.casefold() for word in words)
    each = re.compile(rf"\b(?:{re.escape(first)}|{re.escape(second)})\b", re.I)

    def other(found: re.Match[str]) -> str:
        word = second if found[0].casefold() == first else first
        return word.capitalize() if found[0][:1].isupper() else word

    question, answer = (each.sub(other, row[key]) for key in ("question", "answer"))
    options = [each.sub(other, option) for option in row["options"]]
    return {**row, "images": row["images"][::-1], "question": question, "options": options, "answer": answer}


def _statement(question: str) -> tuple[int, int]:
    """Where the statement is: what is quoted after the last image, or all of it. What is before names the places."""
    start = question.rfind(IMAGE_PLACEHOLDER) + len(IMAGE_PLACEHOLDER)
    quoted = re.compile(r'"(.*)"', re.S).search(question, start)
    return quoted.span(1) if quoted else (start, len(question))
