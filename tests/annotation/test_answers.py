import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.annotation.answers import READINGS, read_answer

LETTERS, STATEMENT, FOUR = ("A", "B"), ("True", "False"), ("A", "B", "C", "D")


@pytest.mark.parametrize("text", ["A", " A", "A\n", "\tA \n"])
def test_strictly_only_whitespace_around_an_answer_is_forgiven(text: str) -> None:
    assert read_answer(text, LETTERS, "strict") == "A"


@pytest.mark.parametrize(
    "text", ["", "a", "A.", "C", "AA", "A B", "The answer is A", "(A)", "A</s>", "True", "Image A"]
)
def test_strictly_anything_but_an_option_is_unreadable(text: str) -> None:
    assert read_answer(text, LETTERS, "strict") is None


@pytest.mark.parametrize(
    ("text", "option"),
    [
        # the option and marks around it
        ("A", "A"),
        ("a", "A"),
        ("A.", "A"),
        ("(a)", "A"),
        ("[B]", "B"),
        ("B)", "B"),
        ("**A**", "A"),
        ("A</s>", "A"),
        ("'B'", "B"),
        ("<answer>A</answer>", "A"),
        (r"$\boxed{\text{B}}$", "B"),
        # the image that it stands for
        ("Image 1", "A"),
        ("image 2.", "B"),
        ("Picture two", "B"),
        ("1", "A"),
        ("second", "B"),
        ("The first image.", "A"),
        ("the left image", "A"),
        ("The right-hand picture", "B"),
        ("The right one", "B"),
        ("A. Image 1", "A"),
        ("(B) the second image", "B"),
        # an option in a sentence
        ("Option A", "A"),
        ("option (B).", "B"),
        ("The answer is A", "A"),
        ("The answer is: B.", "B"),
        ("Answer: B", "B"),
        ("A is the correct answer.", "A"),
        ("I would pick B.", "B"),
        ("The image on the right matches better.", "B"),
        ("The caption describes the first picture.", "A"),
        # with a reason
        ("A\n\nBecause the dog is red.", "A"),
        ("A because the dog is red", "A"),
        ("B, because image 1 shows no dog.", "B"),
        ("Image 1 suits the caption better than Image 2.", "A"),
        ("A is better than B", "A"),
        # one option denied, the other named
        ("Not A, but B", "B"),
        ("A, not B", "A"),
        # reasoning before a final answer
        ("Let me see. Image 1 shows a dog. Image 2 shows a cat.\nThe answer is B.", "B"),
        ("Image 1 has a dog, image 2 a cat.\n\nB", "B"),
        ("<think>A or B? The answer is A.</think>B", "B"),
        ("The answer is A. No, wait: the answer is B.", "B"),
    ],
)
def test_the_tolerant_reading_finds_the_image_that_an_answer_chooses(text: str, option: str) -> None:
    assert read_answer(text, LETTERS, "tolerant") == option


@pytest.mark.parametrize(
    "text",
    [
        # nothing
        "",
        " \n",
        "...",
        "**",
        # letters that are none of the options
        "The",
        "A cat on a mat.",
        "A cat",
        "a dog",
        "A Cat Sits",
        "AB",
        "Apple",
        "Bananas",
        "C",
        "True",
        # both or neither
        "Both",
        "Both images",
        "A or B",
        "A/B",
        "A, B",
        "A B",
        "A and B",
        "A\nB",
        "Either A or B",
        "Neither A nor B",
        "Neither.",
        "The first image and the second image",
        "Image 1 is a dog, Image 2 is a cat",
        "A. Image 1\nB. Image 2",
        "A. Image 2",
        "The answer is A or B",
        # denied, and nothing named instead
        "Not A",
        "The answer is not A.",
        "The first image does not match.",
        # in doubt
        "I cannot see image 1.",
        "I am sorry, but I can't tell which image.",
        "Which image suits the caption better?",
        "<think>It may be A. Or",
        # words for a side that name no image
        "The dog is on the left of the image.",
        "It is a photo of a dog.",
    ],
)
def test_what_chooses_no_image_or_both_is_unreadable(text: str) -> None:
    assert read_answer(text, LETTERS, "tolerant") is None


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("true.", "True"),
        ("TRUE", "True"),
        ("Yes", "True"),
        ("Yes, both images show dogs.", "True"),
        ("Correct.", "True"),
        ("The statement is correct.", "True"),
        ("It is true that there are no dogs.", "True"),
        ("The answer is True.", "True"),
        ("no", "False"),
        ("False, because the left image is empty.", "False"),
        ("The statement is not true.", "False"),
        ("That isn't correct.", "False"),
        ("Not true.", "False"),
        ("The correct answer is False.", "False"),
        ("The", None),
        ("T", None),
        ("A", None),
        ("Trueish", None),
        ("True or False", None),
        ("True/False", None),
        ("No dogs are in the left image.", None),
        ("No, the statement is true.", None),
        ("There are two dogs.", None),
        ("Not sure.", None),
        ("It is impossible to say whether it is true.", None),
    ],
)
def test_the_tolerant_reading_of_statements(text: str, option: str | None) -> None:
    assert read_answer(text, STATEMENT, "tolerant") == option


@pytest.mark.parametrize(
    ("options", "text", "option"),
    [
        (FOUR, "D", "D"),
        (FOUR, "(c) a red kite", "C"),
        (FOUR, "C: two dogs", "C"),
        (FOUR, "Image 1", None),  # of four choices the letters stand for no image
        (FOUR, "A dog", None),
        (FOUR, "A. Dog\nB. Cat\nC. Kite", None),
        (("red", "dark red"), "It is dark red.", "dark red"),
        (("red", "dark red"), "The red.", "red"),
        (("red", "blue"), "The kite is blue.", "blue"),
        (("red", "blue"), "not red", None),
        (("red", "blue"), "red and blue", None),
        (("red", "blue"), "reddish", None),
        (("yes", "no"), "Yes, it is.", "yes"),
        (("a+b", "(c"), "a+b", "a+b"),  # an option is no pattern
    ],
)
def test_the_tolerant_reading_of_other_options(options: tuple[str, ...], text: str, option: str | None) -> None:
    assert read_answer(text, options, "tolerant") == option


def test_an_open_answer_is_any_text() -> None:
    assert read_answer(" Two dogs. ", (), "strict") == "Two dogs."
    assert read_answer(" Two dogs. ", (), "tolerant") == read_answer("two dogs", (), "tolerant") == "two dogs"
    assert read_answer("  ", (), "strict") is read_answer(" . ", (), "tolerant") is None


@given(st.text(), st.sampled_from([LETTERS, STATEMENT, FOUR, ("red", "dark red")]))
def test_a_reading_is_an_option_or_none_and_what_is_read_strictly_is_read_alike_tolerantly(
    text: str, options: tuple[str, ...]
) -> None:
    strict, tolerant = (read_answer(text, options, reading) for reading in READINGS)
    assert {strict, tolerant} <= {*options, None}
    assert strict in (None, tolerant)
    assert {read_answer(option, options, "tolerant") == option for option in options} == {True}
