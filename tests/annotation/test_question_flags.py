"""A flag falls on what is wrong with a question, and on nothing else; checked by eye on the published questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadvi_hub.annotation.question_flags import Flag, count_flags, question_flags
from cadvi_hub.annotation.question_layout import QuestionAnswer
from cadvi_hub.sources.cad_qa_file import PairQuestion

CAD_QA = Path(__file__).parents[3] / "shared/data/questions/CaD_QA_first300.jsonl"


def flags(question: str, answer: str) -> list[Flag]:
    return [flag for flag, detail in question_flags(QuestionAnswer(question, answer), max_words=30) if detail]


@pytest.mark.parametrize(
    ("question", "answer", "flag"),
    [
        ("What do both images show?", " ", Flag.EMPTY),
        ("", "Both images show dogs.", Flag.EMPTY),
        ("What do both images show?", "Both images show a dog that runs along the", Flag.CUT_OFF),
        ("What do both images show?", "I'm sorry, I cannot see the images.", Flag.REFUSAL),
        ("What do both images show?", "Both show dogs. User: And the sky? Assistant: It is blue.", Flag.LEAKED_TURN),
        ("What do both images show?", "Both show dogs.\n\nIs the sky blue?\n\nYes.", Flag.LEAKED_TURN),
        ("What do both images show?", "Both show dogs.\n**Question 2:** Is it day? Yes.", Flag.LEAKED_TURN),
        ("What do both images show? Answer: Dogs.", "Both show dogs.", Flag.LEAKED_TURN),
        ("What do both images show?", "Both show dogs.</s>", Flag.LEAKED_TURN),
        ("What do both images show?", "Both show a caf\ufffd.", Flag.GARBLED),
        ("What do both images show?", "Both captions mention a dog.", Flag.MENTIONS_CAPTION),
        ("What does the summary say about both images?", "Both show dogs.", Flag.MENTIONS_CAPTION),
        ("How large are the rooms in both images?", "One is described as spacious.", Flag.MENTIONS_CAPTION),
        ("How is the light in both images?", "That is not mentioned.", Flag.MENTIONS_CAPTION),
        ("What is the dog in Image 1 doing?", "The dog in Image 1 runs.", Flag.ONE_IMAGE),
        ("What is the weather like in the second image?", "It is sunny.", Flag.ONE_IMAGE),
        ("What are both dogs in Image 2 doing?", "They run.", Flag.ONE_IMAGE),
        ("Is the dog happy?", "Yes, it is happy.", Flag.ONE_IMAGE),
        ("What else do both images show?", "Both show a tree.", Flag.FOLLOW_UP),
        ("And the two images' skies?", "Both are blue.", Flag.FOLLOW_UP),
        ("Are there any other people in the images?", "There is a child in Image 1.", Flag.FOLLOW_UP),
        ("What do both images show?", "Both show " + "dogs and " * 30 + "cats.", Flag.TOO_LONG),
    ],
)
def test_each_fault_has_its_flag_alone(question: str, answer: str, flag: Flag) -> None:
    assert flags(question, answer) == [flag]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How would you describe the light in the two images?", "Image 1 is dark. Image 2 is bright."),
        ("Which image shows a dog?", "Image 2"),
        ("What is in Image 2 but not in Image 1?", "Image 2 has a red kite (a small one)."),
        ("How does the dog in Image 1 differ from the other one?", "It is larger."),
        ("How is the first image brighter than the second one?", 'There is a sign that says "Sun!"'),
        ("Is there a text on a sign in either image?", 'The text in Image 1 reads "Who is next?" in red letters.'),
        ("What do the humans in both images do?", "They read a user manual: it lies on a table."),
        ("Are there any other people in the images besides the players?", "There is a child in Image 1."),
        ("What happens at the end of the two photos' roads?", "In the left photo the road ends at a lake."),
    ],
)
def test_sound_questions_have_no_flag(question: str, answer: str) -> None:
    assert flags(question, answer) == []


def test_a_question_may_have_several_flags() -> None:
    assert flags("And what is in Image 1?", "The caption says that there is a") == [
        Flag.CUT_OFF,
        Flag.MENTIONS_CAPTION,
        Flag.ONE_IMAGE,
        Flag.FOLLOW_UP,
    ]


def test_the_lines_that_place_the_images_name_none() -> None:
    text = "Image 1: <image>\nImage 2: <image>\nWhat is the dog in Image 1 doing?"
    question = PairQuestion("7", ("a.png", "b.png"), text, "It runs.", "test")
    counted = count_flags([question, question], max_words=30).as_dict()
    assert {flag: entry["count"] for flag, entry in counted.items()} == {Flag.ONE_IMAGE: 2}
    assert counted["one_image"]["first"][0] == "7: What is the dog in Image 1 doing?"


def published() -> list[PairQuestion]:
    from cadvi_hub.core.json_stream import json_lines

    if not CAD_QA.exists():
        pytest.skip("the published CaD-QA questions are not here")
    import json

    rows = [json.loads(line) for _, line in json_lines(CAD_QA)]
    return [
        PairQuestion(row["question_id"], tuple(row["image"]), row["text"], row["answer"], "cad_qa") for row in rows
    ]


def test_the_flags_of_the_published_questions_are_those_that_a_reader_finds() -> None:
    counted = count_flags(published(), max_words=100).as_dict()
    # Read by eye: all 141 ask and tell of one image alone; "is described as spacious", "does not provide much
    # information"; "any other objects" and the like, without the turn that named the first ones.
    assert {flag: entry["count"] for flag, entry in counted.items()} == {
        Flag.ONE_IMAGE: 141,
        Flag.MENTIONS_CAPTION: 2,
        Flag.FOLLOW_UP: 6,
    }


def test_turns_that_leak_into_published_answers_and_cut_off_ones_are_found() -> None:
    """The first 300 have none, so that faults like those of the whole set are put into them."""
    questions = published()[:90]
    leaks = ("\n\nUser: What about Image 2?\nAssistant: It is dark.", "\nHuman: Why?", " Q: How many? A: Two.")
    for k, leak in enumerate(leaks * 10):
        questions.append(replaced(questions[k], questions[k].answer + leak))
        questions.append(replaced(questions[k], questions[k].answer.rstrip(".")[:-2]))
    counted = count_flags(questions, max_words=200).as_dict()
    assert counted[Flag.LEAKED_TURN]["count"] == 30
    assert counted[Flag.CUT_OFF]["count"] == 30


def replaced(question: PairQuestion, answer: str) -> PairQuestion:
    return PairQuestion(question.id, question.images, question.question, answer, question.source)
