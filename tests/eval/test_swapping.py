from typing import Any

import pytest

from cadvi_hub.eval.swapping import swap_images

QUESTION = 'Image 1: <image>\nImage 2: <image>\nIs this statement true? "{}"\nImage 1 is the left image.'


def statement(sentence: str, question: str = QUESTION) -> dict[str, Any]:
    return {"images": [1, 2], "question": question.format(sentence), "options": ["True", "False"], "answer": "True"}


def test_the_other_letter_is_right_once_the_images_are_swapped() -> None:
    row = {
        "images": [1, 2],
        "question": "left <image> right <image>?",
        "options": ["A", "B"],
        "answer": "A",
        "id": "7",
    }
    swapped = swap_images(row)
    assert swapped == {**row, "images": [2, 1], "answer": "B"}
    assert swap_images(swapped) == row


@pytest.mark.parametrize(
    ("sentence", "swapped"),
    [
        ("Both images show a dog.", "Both images show a dog."),
        ("There are 2 bright dogs in one image.", "There are 2 bright dogs in one image."),
        ("The left image shows a dog.", "The right image shows a dog."),
        ("The left image has more dogs than the right one.", None),
        (
            "The right-hand picture is darker than the left picture.",
            "The left-hand picture is darker than the right picture.",
        ),
        ("The dog in the image on the left sleeps.", "The dog in the image on the right sleeps."),
        ("Image 2 has two dogs more than image 1.", "Image 1 has two dogs more than image 2."),
        ("The First image shows the second photo.", "The Second image shows the first photo."),
        ("The dog faces left.", None),
        ("A dog is to the right of a cat in the left image.", None),
        ("The image on the left of the wall is a painting.", None),
        ("The leftmost dog sleeps.", None),
        ("The second dog sleeps.", None),
    ],
)
def test_a_statement_that_names_an_image_by_its_place_names_the_other_place(
    sentence: str, swapped: str | None
) -> None:
    expected = {**statement(swapped), "images": [2, 1]} if swapped else None
    assert swap_images(statement(sentence)) == expected


def test_without_quotes_all_that_follows_the_images_is_the_statement() -> None:
    plain = "Left image: <image>\nRight image: <image>\nTrue or False: {}"
    swapped = swap_images(statement("The left image is red.", plain))
    assert swapped == {**statement("The right image is red.", plain), "images": [2, 1]}
