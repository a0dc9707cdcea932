"""What is asked about a summary's statements, and what the summary says once the answers are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from cadvi_hub.annotation.claim_questions import aspect_of, question_of, sentence_of
from cadvi_hub.annotation.statements import Checked, Outcome, Question, Statements
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.check import COMMONALITIES
from cadvi_hub.grounding.claims import read_claims


def summary(commonalities: str, **differences: str) -> CadSummary:
    return CadSummary(commonalities, tuple(Difference(Aspect[name], text) for name, text in differences.items()))


SNOW = "It is all in the snow."
SMALL = "Image 1 shows a small cat, while image 2 shows no red dog."


def checked(
    written: CadSummary, no: Collection[Question] = (), also: Collection[Question] = (), threshold: float = 0.5
) -> Checked:
    """What is left where the model says yes to what is said of each image and to `also`, but not to `no`."""
    statements = Statements(written)
    assert {*no, *also} <= set(statements.questions())
    texts = [(written.commonalities, True), *((difference.text, False) for difference in written.differences)]
    said = {
        (image, question_of(claim.content))
        for text, common in texts
        for claim in read_claims(text, common)
        if claim.content is not None
        for image in claim.shown_in
    }
    yes = (said | set(also)) - set(no)
    return statements.check(
        {question: 0.9 if question in yes else 0.1 for question in statements.questions()}, threshold
    )


def left(
    written: CadSummary, no: Collection[Question] = (), also: Collection[Question] = ()
) -> tuple[str, dict[str, str]]:
    """Commonalities and differences that are left."""
    summary = checked(written, no, also).summary
    return summary.commonalities, {difference.aspect.name: difference.text for difference in summary.differences}


@pytest.mark.parametrize(
    ("text", "question", "aspect"),
    [
        ("a cat", "Is there a cat?", Aspect.OBJECT_TYPES),
        ("an orange cat", "Is there an orange cat?", Aspect.ATTRIBUTES),
        ("the small cat at the top left", "Is there a small cat at the top left?", Aspect.LOCATIONS),
        ("a cat is sleeping", "Is there a cat sleeping?", Aspect.ACTIONS),
        ("two red cats", "Are there two red cats?", Aspect.COUNTS),
        ("three boxes", "Are there three boxes?", Aspect.COUNTS),
        ("a cat is above a red ball", "Is it right that a cat is above a red ball?", Aspect.RELATIVE_POSITIONS),
    ],
)
def test_a_statement_becomes_a_question_and_has_an_aspect(text: str, question: str, aspect: Aspect) -> None:
    (claim,) = read_claims(f"Image 1 shows {text}.", common=False)
    assert claim.content is not None
    assert question_of(claim.content) == question
    assert aspect_of(claim.content) == aspect


def test_a_setting_is_asked_for_as_the_base_was_taught() -> None:
    (claim,) = read_claims("Both images are on the wet street.", common=True)
    assert claim.content is not None
    assert question_of(claim.content) == "Is it right that it is all on the wet street?"
    assert aspect_of(claim.content) == Aspect.LOCATIONS


def test_a_number_of_another_piece_is_asked_for_with_its_noun_in_the_plural() -> None:
    statements = Statements(summary("Both images show a dog.", COUNTS="A box is in image 1 and three in image 2."))
    assert (1, "Are there three boxes?") in statements.questions()


@pytest.mark.parametrize(
    "sentence",
    [
        "Both images show a cat.",
        "Both images are in the snow.",
        "In both images, a cat is above a dog.",
        "Image 1 shows two red cats.",
        "Image 2 is on the beach.",
        "Only image 1 shows a dog.",
        "Image 2 shows no dog.",
    ],
)
def test_a_claim_in_plain_words_reads_as_the_same_claim(sentence: str) -> None:
    (claim,) = read_claims(sentence, common="both" in sentence.lower())
    assert sentence_of(claim) == sentence


def test_what_holds_stays_in_its_own_words() -> None:
    written = summary("Both images show a cat.", ATTRIBUTES="In image 1, there is a red cat, while image 2 has a dog.")
    assert left(written) == (written.commonalities, {"ATTRIBUTES": written.differences[0].text})


def test_the_piece_that_fails_is_cut_out_and_the_rest_is_a_sentence() -> None:
    written = summary("Both images show a cat.", ATTRIBUTES="Image 1 has a red cat, while image 2 has a blue dog.")
    assert left(written, {(0, "Is there a red cat?")})[1] == {"ATTRIBUTES": "Image 2 has a blue dog."}
    assert left(written, {(1, "Is there a blue dog?")})[1] == {"ATTRIBUTES": "Image 1 has a red cat."}
    assert left(written, {(0, "Is there a red cat?"), (1, "Is there a blue dog?")})[1] == {}


def test_one_of_several_things_is_removed_and_the_others_are_said_again() -> None:
    written = summary("Both images show a cat.", OBJECT_TYPES="Image 1 shows a dog, a bird and a tree.")
    assert left(written, {(0, "Is there a bird?")})[1] == {
        "OBJECT_TYPES": "Image 1 shows a dog. Image 1 shows a tree."
    }


def test_what_took_its_noun_from_a_removed_piece_says_it_itself() -> None:
    written = summary("Both images show a cat.", COUNTS="Two dogs are in image 1 and three in image 2.")
    assert left(written, {(0, "Are there two dogs?")})[1] == {"COUNTS": "Image 2 shows three dogs."}


def test_what_only_one_image_shows_must_be_missing_in_the_other() -> None:
    written = summary("Both images show a cat.", OBJECT_TYPES="Only image 1 shows a dog.")
    assert left(written)[1] == {"OBJECT_TYPES": "Only image 1 shows a dog."}
    assert left(written, also={(1, "Is there a dog?")})[1] == {}


def test_a_commonality_that_holds_in_one_image_becomes_a_difference() -> None:
    written = summary("Both images show a cat. Both images are in the snow.", ATTRIBUTES="Image 1 shows a red cat.")
    common, differences = left(written, {(1, "Is it right that it is all in the snow?")})
    assert common == "Both images show a cat."
    assert differences == {"ATTRIBUTES": "Image 1 shows a red cat.", "LOCATIONS": "Image 1 is in the snow."}


def test_a_difference_that_says_the_same_of_both_images_becomes_a_commonality() -> None:
    written = summary("Both images show a cat.", ATTRIBUTES="Image 1 shows a dog, while image 2 shows a dog.")
    assert left(written) == ("Both images show a cat. Both images show a dog.", {})
    assert left(written, {(1, "Is there a dog?")})[1] == {"ATTRIBUTES": "Image 1 shows a dog."}


def test_what_is_said_of_one_image_and_holds_in_both_becomes_a_commonality() -> None:
    written = summary("Both images show a cat.", OBJECT_TYPES="Image 1 shows a dog, while image 2 shows a car.")
    assert left(written, also={(1, "Is there a dog?")}) == (
        "Both images show a cat. Both images show a dog.",
        {"OBJECT_TYPES": "Image 2 shows a car."},
    )


def test_what_is_left_of_the_differences_says_which_image_each_is_of() -> None:
    text = "Image 1 shows a red cat and a dog, while image 2 shows two birds."
    written = summary("Both images show a cat.", ATTRIBUTES=text, LOCATIONS="Image 2 is in the snow.")
    first, second = [(0, "There is a red cat."), (0, "There is a dog.")], [(1, "There are two birds."), (1, SNOW)]
    assert Statements(checked(written).summary).to_place() == first + second
    without_dog = checked(written, also={(1, "Is there a dog?")}).summary
    assert Statements(without_dog).to_place() == first[:1] + second
    unsure = dict.fromkeys(Statements(written).questions(), 0.4) | {(0, "Is there a dog?"): 0.9}
    left_unsure = Statements(written).check(unsure, 0.7).summary  # 0.4 neither confirms nor denies
    assert left_unsure.differences == ()
    assert Statements(left_unsure).to_place() == []


def test_what_is_not_denied_of_the_other_image_is_no_difference() -> None:
    text = "Image 1 shows a red cat, while image 2 shows no bird."
    statements = Statements(summary("Both images show a dog.", OBJECT_TYPES=text))

    def left(**yes: float) -> str:
        answers: dict[Question, float | None] = dict.fromkeys(statements.questions(), 0.9)
        answers |= {(1, f"Is there a {thing}?"): 0.1 for thing in ("red cat", "bird")}
        answers |= {(int(name[-1]), f"Is there a {name[:-1].replace('_', ' ')}?"): p for name, p in yes.items()}
        checked = statements.check(answers, 0.8)
        return " ".join(difference.text for difference in checked.summary.differences)

    assert left() == text
    assert left(red_cat1=0.5) == "Image 2 shows no bird."  # image 2 may well show one
    assert left(bird0=0.5) == "Image 1 shows a red cat."
    assert left(red_cat1=0.5, bird0=0.1) == ""  # neither image shows a bird


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Image 1 shows a cat, while image 2 shows no dog.", ""),  # what is said with more words, or in the same
        ("Image 2 shows a cat. Image 1 shows no dog.", "Image 2 shows a cat. Image 1 shows no dog."),
        (SMALL, SMALL),
        ("The light is softer.", "The light is softer."),
    ],
)
def test_a_summary_without_what_another_says_too(text: str, rest: str) -> None:
    other = summary("Both images show a boat.", COUNTS="Image 1 shows two red cats, while image 2 shows no dog.")
    without = Statements(summary("Both images show a boat. Both images show a car.", ATTRIBUTES=text)).without(other)
    assert without.commonalities == "Both images show a car."
    assert " ".join(difference.text for difference in without.differences) == rest


def test_a_commonality_is_not_said_twice() -> None:
    written = summary("Both images show a dog.", ATTRIBUTES="Image 1 shows a dog, while image 2 shows a dog.")
    assert left(written) == ("Both images show a dog.", {})


def test_what_moves_is_not_said_where_something_says_it_and_more() -> None:
    text = "Image 1 shows a dog and a small red dog, while image 2 shows a red dog and a small red dog at the top."
    also = {(1, "Is there a dog?"), (1, "Is there a small red dog?"), (0, "Is there a red dog?")}
    written = summary("Both images show a bird.", ATTRIBUTES=text)
    assert left(written, also=also)[0] == "Both images show a bird. Both images show a small red dog."
    text = "Image 1 shows two red dogs, while image 2 shows a blue dog and a red car."
    also = {(1, "Are there two red dogs?"), (0, "Is there a blue dog?"), (0, "Is there a red car?")}
    assert left(summary("Both images show a bird.", ATTRIBUTES=text), also=also)[0].count("Both") == 4


def test_a_relation_that_moves_is_not_said_again_in_other_articles() -> None:
    text = "In image 1 the cat is above a dog, while in image 2 a cat is above the dog."
    written = summary("Both images show a bird. In both images, a cat is above a dog.", RELATIVE_POSITIONS=text)
    assert left(written) == (written.commonalities, {})


def test_a_number_holds_where_one_more_and_one_fewer_do_not() -> None:
    statements = Statements(summary("Both images show a cat.", COUNTS="Image 1 shows three cats."))
    asked = [question for image, question in statements.questions() if image == 0]
    assert asked == ["Are there four cats?", "Are there three cats?", "Are there two cats?", "Is there a cat?"]

    def left(**yes: float) -> Checked:
        answers: dict[Question, float | None] = dict.fromkeys(statements.questions(), 0.1)
        answers |= {(image, "Is there a cat?"): 0.9 for image in (0, 1)}
        return statements.check(answers | {(0, f"Are there {n} cats?"): p for n, p in yes.items()}, 0.8)

    assert left(three=0.9).summary.differences[0].text == "Image 1 shows three cats."
    assert Statements(left(three=0.9).summary).to_place() == [(0, "There are three cats.")]
    for other in ("two", "four"):
        assert left(three=0.95, **{other: 0.9}).summary.differences == ()
    assert left().summary.differences == ()


def test_a_number_that_could_be_another_is_neither_held_nor_denied() -> None:
    statements = Statements(summary("Both images show a cat.", COUNTS="Only image 1 shows one cat."))
    answers: dict[Question, float | None] = dict.fromkeys(statements.questions(), 0.9)
    answers[0, "Are there two cats?"] = 0.1
    checked = statements.check(answers, 0.8)  # of image 2, one is as likely as two
    assert checked.summary.differences == ()
    assert Statements(checked.summary).to_place() == []
    answers[1, "Is there one cat?"] = 0.1
    certain = statements.check(answers, 0.8).summary
    assert certain.differences[0].text == "Only image 1 shows one cat."
    assert Statements(certain).to_place() == [(0, "There is one cat.")]


def test_outcomes_are_counted_by_section() -> None:
    text = "Image 1 shows a red cat, while image 2 shows a dog. It is darker than before."
    statements = Statements(summary("Both images show a cat. Both images show a bird.", ATTRIBUTES=text))
    answers: dict[Question, float | None] = dict.fromkeys(statements.questions(), 0.9)
    answers |= {(0, "Is there a bird?"): 0.1, (1, "Is there a dog?"): None, (0, "Is there a red cat?"): 0.1}
    assert statements.check(answers, 0.5).outcomes == Counter(
        {
            (COMMONALITIES, Outcome.KEPT): 1,
            (COMMONALITIES, Outcome.MOVED): 1,
            ("Attributes", Outcome.REMOVED): 1,
            ("Attributes", Outcome.UNANSWERED): 1,
            ("Attributes", Outcome.UNREAD): 1,
        }
    )


def test_the_threshold_is_the_smallest_probability_that_stays() -> None:
    statements = Statements(summary("Both images show a cat.", ATTRIBUTES="Image 1 shows a red cat."))
    answers = dict.fromkeys(statements.questions(), 0.7) | {(1, "Is there a red cat?"): 0.1}
    assert statements.check(answers, 0.7).summary.differences
    assert not statements.check(answers, 0.71).summary.differences
