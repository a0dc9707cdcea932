"""The texts of a row for its two images in the other order; what cannot be said of it is refused."""

import pytest

from cadvi_hub.core.image_order import swap_order
from cadvi_hub.core.schema import message

COMPARE = "Image 1: <image>\nImage 2: <image>\nCompare the two images."
SUMMARY = """Commonalities:
Both images show a dog on the left.

Differences:
1. Counts: Image 1 shows two dogs, while image 2 shows one.
2. Locations: The dog is on the right in the second image."""
WHICH = 'Which image suits the caption "a dog" better?\nA. Image 1\nB. Image 2\nAnswer with the letter.'


def turns(*texts: str) -> list[dict[str, object]]:
    return [message("user" if number % 2 == 0 else "assistant", text) for number, text in enumerate(texts)]


def test_a_summary_and_its_which_image_turn_are_true_of_the_other_order() -> None:
    other = SUMMARY.replace("Image 1", "Image 0").replace("image 2", "image 1").replace("Image 0", "Image 2")
    other = other.replace("the second image", "the first image")
    assert swap_order(turns(COMPARE, SUMMARY, WHICH, "A")) == turns(COMPARE, other, WHICH, "B")


def test_swapping_twice_gives_the_row_back() -> None:
    row = turns(COMPARE, SUMMARY, WHICH, "B")
    once = swap_order(row)
    assert once is not None
    assert swap_order(once) == row


@pytest.mark.parametrize(
    ("question", "answer", "swapped_question", "swapped_answer"),
    [
        ("Is image 1 darker?", "Yes.", "Is image 2 darker?", "Yes."),
        ("What is in the first image?", "A dog.", "What is in the second image?", "A dog."),
        ("Which one?\n(A) the left image\n(B) the right image", "(A)",
         "Which one?\n(A) the left image\n(B) the right image", "(B)"),
        ("Do images 1 and 2 show a dog?", "Yes.", "Do images 2 and 1 show a dog?", "Yes."),
        ("Is it in the first and the second image?", "Yes.", "Is it in the second and the first image?", "Yes."),
        ("Where is the dog?", "It is at the top left of Image 1.", "Where is the dog?",
         "It is at the top left of Image 2."),
    ],
)  # fmt: skip
def test_names_change_places_in_questions_and_answers(
    question: str, answer: str, swapped_question: str, swapped_answer: str
) -> None:
    asked = turns(f"<image><image>{question}", answer)
    assert swap_order(asked) == turns(f"<image><image>{swapped_question}", swapped_answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What differs?", "The car is larger."),  # than in which image?
        ("Image 1: <image>\nImage 2: <image>\nWhat differs?", "The car is larger."),
        ("What differs?", "Differences:\n1. Counts: two dogs.\n2. Attributes: Image 1 is red."),
        ("What changed?", "Image 2 has no car."),
        ("What differs?", "The car of Image 1 is gone."),
        ("What differs?", "Image 1 shows a dog, the second a cat."),
        ("What differs?", "The left image shows a dog on the right."),  # of the image, or of both?
        ("Compare Image 1 and Image 2.", "The left shows a dog."),
        ("Is Image A darker?", "Yes."),
        ("Which of Image 1 and Image 2 is darker?", "A"),  # of which options?
        ("Which one?\nA. Image 1\nB. Image 2", "the darker one"),
    ],
)
def test_what_may_mean_either_order_is_refused(question: str, answer: str) -> None:
    shown = "" if "<image>" in question else "<image><image>"
    assert swap_order(turns(f"{shown}{question}", answer)) is None
