"""Refusals, fillers and talk about the source are told from content."""

from __future__ import annotations

import pytest

from cadvi_hub.core.non_answers import is_filler, refusal, refusal_within, source_talk


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't compare the two pictures.",
        "I’m sorry, but I can’t compare the two pictures.",
        "I cannot help with that.",
        "Unfortunately, I do not have access to pictures.",
        "As an AI language model, I see no pictures.",
        "As a large language model I cannot look at them.",
        "Your message was empty. What should I describe?",
        "It looks as if there was nothing in your message.",
        "Please provide the picture.",
        "No image was attached, so I wait for one.",
    ],
)
def test_a_refusal_is_found_however_it_is_written(text: str) -> None:
    assert refusal(text)
    assert refusal_within(text)


@pytest.mark.parametrize(
    "text",
    [
        "A sorry looking dog can be seen on a lawn.",
        "In this picture I can see a man, I cannot see his face.",
        "A sign with a message on an empty road.",
        "There is a laptop that shows the words of an AI.",
        "A boy provides food for a dog.",
    ],
)
def test_a_caption_is_no_refusal(text: str) -> None:
    assert refusal(text) == ""


def test_a_refusal_inside_a_text_is_found_too() -> None:
    assert refusal_within("Both may show a dog, but I cannot view the images.")
    assert refusal_within("The dog is brown. As an AI language model, I am not sure of more.")
    assert refusal("Both may show a dog, but I cannot view the images.") == ""


@pytest.mark.parametrize(
    "text",
    [
        "None",
        "none.",
        "N/A",
        "None specified",
        "None mentioned.",
        "Not applicable",
        "Not specified in either image.",
        "Same in both",
        "The same in both images.",
        "There is no difference in colour.",
        "No significant differences",
        "There are no commonalities between the two images.",
        "No information given",
        "-",
        " ",
        "In.",
        "Image 1",
        "In image 2, a",
    ],
)
def test_a_filler_says_nothing(text: str) -> None:
    assert is_filler(text)


@pytest.mark.parametrize(
    "text",
    [
        "Image 1 shows a dog, while image 2 shows none.",
        "There is no difference in number, but the dog in image 2 is bigger.",
        "Both images show the same dog in a park.",
        "No dog is in image 2.",
        "One and two.",
        "Indoors.",
        "Bananas on both",
        "Three.",
    ],
)
def test_content_is_no_filler(text: str) -> None:
    assert not is_filler(text)


@pytest.mark.parametrize(
    "text",
    [
        "The second text does not mention a dog.",
        "The dog’s colour isn’t stated; the text doesn’t specify it.",
        "The dog's colour is not specified in Image 2.",
        "The dog is described as brown.",
        "Both captions speak of dogs.",
        "There is no mention of a boat.",
        "The number is unspecified.",
    ],
)
def test_talk_about_the_source_is_found(text: str) -> None:
    assert source_talk(text)


@pytest.mark.parametrize("text", ["A sign with text on it.", "A man takes a note.", "The dog is not on the lawn."])
def test_text_in_a_picture_is_no_talk_about_the_source(text: str) -> None:
    assert source_talk(text) == ""
