"""Aspects that a summary leaves out are asked about each image, and what differs becomes a verified difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cadvi_hub.annotation.missing import missing_questions, missing_statements, read_answer
from cadvi_hub.annotation.settings import VerifierSettings
from cadvi_hub.annotation.verify import Verifier
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair
from tests.annotation.test_verify import Oracle

SUMMARY = CadSummary(
    "Both images show a cat. Both images are on the beach.",
    (Difference(Aspect.ATTRIBUTES, "Image 1 shows two red boxes, while image 2 shows a cat."),),
)


def test_each_image_is_asked_about_every_thing_in_the_aspects_that_are_missing() -> None:
    questions = missing_questions(SUMMARY, SUMMARY)
    assert [text for image, text in questions if image == 0] == [
        "How many cats are there?",
        "How many boxes are there?",
        "What is the cat doing?",
        "What is the box doing?",
        "Where in the image is the cat?",
        "Where in the image is the box?",
        "Where is all this?",
    ]
    assert questions[7:] == [(1, text) for _, text in questions[:7]]


@pytest.mark.parametrize(
    ("difference", "is_asked"),
    [
        ("Image 1 shows two cats, while image 2 shows one cat.", False),
        ("Image 1 shows no cat, while image 2 shows one cat.", False),
        ("Only image 1 shows two cats.", False),
        ("Image 1 shows two cats.", True),  # and image 2?
    ],
)
def test_an_aspect_is_missing_unless_the_difference_says_both_sides(difference: str, is_asked: bool) -> None:
    left = CadSummary("Both images show a cat.", (Difference(Aspect.COUNTS, difference),))
    assert any("How many cats" in text for _, text in missing_questions(SUMMARY, left)) == is_asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("in the snow", ("in the", "snow")),
        ("All this is on a beach.", ("on the", "beach")),
        ("snow", None),
        ("I do not know.", None),
    ],
)
def test_a_setting_is_read_from_a_short_answer(answer: str, said: tuple[str, str] | None) -> None:
    mention = read_answer(Aspect.LOCATIONS, "", answer)
    assert (mention and (mention.article, mention.kind)) == said


@pytest.mark.parametrize(
    ("answer", "attribute"),
    [("Red.", "red"), ("The cat is small.", "small"), ("black and white", None), ("I see no cat.", None)],
)
def test_a_color_or_a_size_is_read_from_a_short_answer(answer: str, attribute: str | None) -> None:
    mention = read_answer(Aspect.ATTRIBUTES, "cat", answer)
    assert (mention and mention.attributes) == (attribute and (attribute,))


@pytest.mark.parametrize(
    ("aspect", "answer", "said"),
    [
        (Aspect.COUNTS, "two", (2, "", "")),
        (Aspect.COUNTS, "There are 3 cats in the image.", (3, "", "")),
        (Aspect.COUNTS, "There is one cat.", (1, "", "")),
        (Aspect.COUNTS, "There are no cats.", (-1, "", "")),
        (Aspect.COUNTS, "I cannot say.", None),
        (Aspect.ACTIONS, "sleeping", (0, "sleeping", "")),
        (Aspect.ACTIONS, "The cat is jumping over a fence.", (0, "jumping", "")),
        (Aspect.ACTIONS, "Nothing.", None),
        (Aspect.ACTIONS, "It is doing nothing.", None),
        (Aspect.LOCATIONS, "top left", (0, "", "at the top left")),
        (Aspect.LOCATIONS, "The cat is in the upper-right corner.", (0, "", "at the top right")),
        (Aspect.LOCATIONS, "At the bottom.", (0, "", "at the bottom")),
        (Aspect.LOCATIONS, "right", (0, "", "on the right")),
        (Aspect.LOCATIONS, "In the middle of the image", (0, "", "in the center")),
        (Aspect.LOCATIONS, "on the sofa", None),
        (Aspect.LOCATIONS, "between the left and the right edge", None),
    ],
)
def test_a_short_answer_is_read_or_left_out(aspect: Aspect, answer: str, said: tuple[int, str, str] | None) -> None:
    mention = read_answer(aspect, "cat", answer)
    assert (mention and (mention.count, mention.action, mention.place)) == said


def test_answers_that_differ_become_differences_and_those_that_agree_commonalities() -> None:
    answers = dict.fromkeys(missing_questions(SUMMARY, SUMMARY), "no idea")
    answers |= {(0, "How many cats are there?"): "two", (1, "How many cats are there?"): "one"}
    answers |= {(0, "How many boxes are there?"): "three", (1, "How many boxes are there?"): "There are none."}
    answers |= {(image, "Where in the image is the cat?"): "top" for image in (0, 1)}
    answers |= {(0, "What is the cat doing?"): "running", (1, "What is the cat doing?"): "eating"}
    answers |= {(image, f"What is the {thing} doing?"): "jumping" for image in (0, 1) for thing in ("box", "dog")}
    answers |= {(image, "Where is all this?"): "in the snow" for image in (0, 1)}
    counts = (
        "Image 1 shows two cats, while image 2 shows one cat. Image 1 shows three boxes, while image 2 shows no box."
    )
    written = CadSummary(f"{SUMMARY.commonalities} Both images show a dog sleeping.", SUMMARY.differences)
    assert missing_statements(written, SUMMARY, answers) == CadSummary(
        "Both images show a dog jumping. Both images are in the snow.",  # nothing is said of what a box is doing
        (
            Difference(Aspect.COUNTS, counts),
            Difference(Aspect.ACTIONS, "Image 1 shows a cat running, while image 2 shows a cat eating."),
        ),
    )


def test_what_is_added_is_verified_like_all_else(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red" if name == "a.png" else "blue").save(tmp_path / name)
    red = (tmp_path / "a.png").read_bytes()
    written = CadSummary("Both images show a cat.", (Difference(Aspect.ATTRIBUTES, "Image 1 shows a red cat."),))

    class Model(Oracle):
        """Counts two cats in image 1 and three in image 2; when asked again, it sees no three."""

        def generate(self, requests, on_replies=None):  # type: ignore[no-untyped-def]
            for request in requests:
                question = request.messages[0]["content"][1]["text"].strip()
                if question == "How many cats are there?":
                    self.answer = "two" if request.images == (red,) else "three"
                else:
                    self.answer = (
                        "yes"
                        if question == "Is there a cat?"
                        or (question == "Are there two cats?" and request.images == (red,))
                        else "no"
                    )
                yield from super().generate([request])

    pair = ImagePair("p", ("a.png", "b.png"), "test")
    settings = VerifierSettings(model="x", missing_aspects=True)
    model = Model("")
    (one,) = Verifier(model, settings, min_words=1, max_words=100).verify(
        iter([(pair, written)]), ImageFolders([tmp_path])
    )
    assert one.summary == CadSummary(
        "Both images show a cat.", (Difference(Aspect.COUNTS, "Image 1 shows two cats."),)
    )
    assert one.questions == len(model.asked) == 4 + 12 + 8


def test_what_a_difference_says_of_one_image_alone_is_completed_and_nothing_is_said_twice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red" if name == "a.png" else "blue").save(tmp_path / name)
    first = (tmp_path / "a.png").read_bytes()
    text = "Image 1 is in the snow, while image 2 is in the snow."
    dogs = Difference(Aspect.ATTRIBUTES, "Image 1 shows a small red dog.")
    written = CadSummary("Both images show a dog.", (dogs, Difference(Aspect.LOCATIONS, text)))
    shown = {
        True: {"small red dog", "red dog", "small dog", "in the snow"},
        False: {"blue dog", "small dog", "on the beach"},
    }
    short = {"color": ("red", "blue"), "size": ("small", "small"), "all this": ("in the snow", "on the beach")}

    class Model(Oracle):
        def generate(self, requests, on_replies=None):  # type: ignore[no-untyped-def]
            for request in requests:
                is_first = request.images == (first,)
                question = request.messages[0]["content"][1]["text"].strip()
                told = [of[not is_first] for word, of in short.items() if word in question]
                holds = question.rstrip("?").endswith((" a dog", *shown[is_first]))
                self.answer = told[0] if told else "yes" if holds else "no"
                yield from super().generate([request])

    pair = ImagePair("p", ("a.png", "b.png"), "test")
    settings = VerifierSettings(model="x", missing_aspects=True)
    (one,) = Verifier(Model(""), settings, min_words=1, max_words=100).verify(
        iter([(pair, written)]), ImageFolders([tmp_path])
    )
    assert one.summary == CadSummary(
        "Both images show a dog.",
        (
            Difference(Aspect.ATTRIBUTES, "Image 1 shows a small red dog. Image 2 shows a blue dog."),
            Difference(Aspect.LOCATIONS, "Image 1 is in the snow, while image 2 is on the beach."),
        ),
    )
