"""Worse answers: of the summary of a pair, others that say something wrong, or less. Pure functions, seeded per pair.

After MIA-DPO (arXiv 2410.17637), whose worse answers look at another image, and CcDPO (2505.22396), whose worse ones
swap or leave out what belongs to each image.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

from cadvi_hub.core.image_order import NAMED, other_place
from cadvi_hub.core.schema import CadSummary, Difference

Rejection = Literal["swapped_sides", "missing_aspect", "contradicted", "other_pair"]
REJECTIONS: tuple[Rejection, ...] = get_args(Rejection)


# What joins the texts of two images: "Image 1 shows a dog, while image 2 shows a cat."
_JOINT = re.compile(r"[,.;]?\s*(?:\b(?:while|whereas|and|but)\s+)?(?:\bin\s+)?(?:the\s+)?\Z", re.I)


def swap_contents(text: str) -> str:
    """`text` with what it says of one image said of the other one.

    Where two names follow each other, they stay, and what is said of them changes places: with the names in the other
    order, a model could tell the worse answer by that alone.
    """
    names = list(NAMED.finditer(text))
    pieces, start, number = [], 0, 0
    while number < len(names):
        here = names[number]
        pieces.append(text[start : here.start()])
        start = here.end()
        following = names[number + 1] if number + 1 < len(names) else None
        if following is None or other_place(here).casefold() != following[0].casefold():
            pieces.append(other_place(here))
            number += 1
            continue
        end = names[number + 2].start() if number + 2 < len(names) else len(text)
        both = text[here.end() : following.start()], text[following.end() : end]
        first, second = (_JOINT.sub("", part, count=1) for part in both)
        joints = both[0][len(first) :], both[1][len(second) :]
        pieces += [here[0], second, joints[0], following[0], first, joints[1]]
        start, number = end, number + 2
    return "".join([*pieces, text[start:]])


def confuse_images(summary: CadSummary) -> CadSummary:
    """`summary` with the contents of each difference swapped."""
    swapped = (replace(difference, text=swap_contents(difference.text)) for difference in summary.differences)
    return replace(summary, differences=tuple(swapped))


def worse_answers(
    summary: CadSummary,
    others: Sequence[CadSummary],
    is_contradicted: Callable[[Difference], bool],
    drawn: random.Random,
) -> dict[Rejection, CadSummary]:
    """One worse answer of each kind that can be made of `summary`.

    `swapped_sides` says of image 1 what holds of image 2; `missing_aspect` leaves out one aspect; `contradicted` has
    one difference of another pair that is wrong here; `other_pair` is the summary of another pair.

    Args:
        summary: the better answer.
        others: summaries of other pairs.
        is_contradicted: whether a difference is known to be wrong for this pair.
        drawn: decides which aspect and which other pair.
    """
    worse: dict[Rejection, CadSummary] = {}
    others = drawn.sample(others, len(others))
    order = drawn.sample(range(len(summary.differences)), len(summary.differences))
    if (swapped := confuse_images(summary)) != summary:
        worse["swapped_sides"] = swapped
    if len(order) > 1:
        rest = summary.differences[: order[0]] + summary.differences[order[0] + 1 :]
        worse["missing_aspect"] = replace(summary, differences=rest)
    wrong = (
        (place, difference)
        for place in order
        for other in others
        for difference in other.differences
        if difference.aspect == summary.differences[place].aspect and is_contradicted(difference)
    )
    if found := next(wrong, None):
        place, difference = found
        changed = (*summary.differences[:place], difference, *summary.differences[place + 1 :])
        worse["contradicted"] = replace(summary, differences=changed)
    if other_summary := next((other for other in others if other != summary), None):
        worse["other_pair"] = other_summary
    return worse
