"""Worse answers of four kinds, each from the summary of a pair."""

import random

import pytest

from cadvi_hub.annotation.preferences import REJECTIONS, swap_contents, worse_answers
from cadvi_hub.core.schema import Aspect, CadSummary, Difference

OURS = CadSummary(
    "Both show a dog.",
    (
        Difference(Aspect.COUNTS, "Image 1 shows two dogs, while image 2 shows one dog."),
        Difference(Aspect.LOCATIONS, "Image 2 shows a dog at the top."),
    ),
)
OTHER = CadSummary("Both show a cat.", (Difference(Aspect.COUNTS, "Image 1 shows three cats."),))


def test_each_kind_is_made_where_it_can_be() -> None:
    worse = worse_answers(OURS, [OTHER], lambda difference: True, random.Random(0))
    assert set(worse) == set(REJECTIONS)
    assert worse["swapped_sides"].differences == (
        Difference(Aspect.COUNTS, "Image 1 shows one dog, while image 2 shows two dogs."),
        Difference(Aspect.LOCATIONS, "Image 1 shows a dog at the top."),
    )
    assert worse["missing_aspect"].differences in (OURS.differences[:1], OURS.differences[1:])
    assert worse["contradicted"].differences == (OTHER.differences[0], OURS.differences[1])
    assert worse["other_pair"] == OTHER


def test_nothing_is_made_of_what_is_not_there() -> None:
    plain = CadSummary("Both show a dog.", (Difference(Aspect.COUNTS, "One shows more dogs."),))
    assert worse_answers(plain, [plain], lambda difference: False, random.Random(0)) == {}


def test_only_contradicted_differences_of_the_same_aspect_are_borrowed() -> None:
    asked: list[Difference] = []

    def is_contradicted(difference: Difference) -> bool:
        asked.append(difference)
        return False

    worse = worse_answers(OURS, [OTHER], is_contradicted, random.Random(0))
    assert "contradicted" not in worse
    assert asked == list(OTHER.differences)


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("Image 1 shows a dog. Image 2 shows a cat.", "Image 1 shows a cat. Image 2 shows a dog."),
        ("The first image has two; the second image has one.", "The first image has one; the second image has two."),
        ("In image 1 a is below b, while in image 2 c is above d.",
         "In image 1 c is above d, while in image 2 a is below b."),
        ("Image 1 shows a dog. Image 2 shows a cat. Image 1 is on the grass.",
         "Image 1 shows a cat. Image 2 shows a dog. Image 2 is on the grass."),
        ("Both are red.", "Both are red."),
    ],
)  # fmt: skip
def test_contents_change_places_and_names_stay_in_order(text: str, swapped: str) -> None:
    assert swap_contents(text) == swapped
