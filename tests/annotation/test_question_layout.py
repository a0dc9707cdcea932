"""What is rendered is read back, and so is what LLMs write instead of the layout that they were asked for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.annotation.question_flags import Flag, question_flags
from cadvi_hub.annotation.question_layout import (
    QuestionAnswer,
    parse_questions,
    parse_questions_json,
    questions_json_schema,
    render_questions,
)
from cadvi_hub.core.summaries import normalize

DOGS = [
    QuestionAnswer("How many dogs are there in each image?", "One in Image 1, and two in Image 2."),
    QuestionAnswer("Do both images show grass?", "Yes, there is grass in both images. It is wet in Image 2."),
]

texts = st.text(max_size=60).map(normalize).filter(bool)
turns = st.lists(st.builds(QuestionAnswer, texts, texts), min_size=1, max_size=6)


@given(turns)
def test_parsing_inverts_rendering(turns: list[QuestionAnswer]) -> None:
    assert parse_questions(render_questions(turns)) == turns


@given(turns)
def test_json_is_read_back(turns: list[QuestionAnswer]) -> None:
    text = json.dumps({"questions": [{"question": turn.question, "answer": turn.answer} for turn in turns]})
    assert parse_questions_json(text) == turns


@given(st.text(alphabet=st.sampled_from("Question:Answer\n123.-*#?Q UserAssistant"), max_size=200))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    try:
        turns = parse_questions(text)
    except ValueError:
        return
    assert turns
    assert all(turn.question == normalize(turn.question) for turn in turns)


LABELS = """Sure! Here is the conversation.

Q1: How many dogs are there in each image?
A1: One in Image 1, and two in Image 2.
Q2: Do both images show grass?
A2: Yes, there is grass in both images.
It is wet in Image 2.

I hope this helps!
"""
BOLD = """**Question 1:** How many dogs are there in each image?
**Answer 1:** One in Image 1, and two in Image 2.
---
**Question 2:**
Do both images show grass?

**Answer 2:**

Yes, there is grass in both images. It is wet in Image 2.
"""
HEADINGS = """### Turn 1
### Question 1
How many dogs are there in each image?
### Answer 1
One in Image 1, and two in Image 2.
### Turn 2
- Question #2: Do both images show grass?
- Answer #2: Yes, there is grass in both images. It is wet in Image 2.
"""
NUMBERED_LABELS = """1. Question: How many dogs are there in each image?
   Answer: One in Image 1, and two in Image 2.
2. Question: Do both images show grass?
   Answer: Yes, there is grass in both images. It is wet in Image 2.
"""
NUMBERED = """1. How many dogs are there in each image?
One in Image 1, and two in Image 2.

2) Do both images show grass? Yes, there is grass in both images.
It is wet in Image 2.
"""
NUMBERED_ANSWERS = """1. **How many dogs are there in each image?**

   Answer: One in Image 1, and two in Image 2.

2. **Do both images show grass?**

   A: Yes, there is grass in both images. It is wet in Image 2.
"""
TURNS = """User: How many dogs are there in each image?
Assistant: One in Image 1, and two in Image 2.

User: Do both images show grass?
Assistant: Yes, there is grass in both images. It is wet in Image 2.
"""
ONE_LINE = (
    "Question: How many dogs are there in each image? Answer: One in Image 1, and two in Image 2. Question: Do both "
    "images show grass? Answer: Yes, there is grass in both images. It is wet in Image 2."
)


@pytest.mark.parametrize(
    "text", [LABELS, BOLD, HEADINGS, NUMBERED_LABELS, NUMBERED, NUMBERED_ANSWERS, TURNS, ONE_LINE, TURNS.upper()]
)
def test_what_llms_write_is_read(text: str) -> None:
    read = parse_questions(text)
    assert [turn.question.casefold() for turn in read] == [turn.question.casefold() for turn in DOGS]
    assert [turn.answer.casefold() for turn in read] == [turn.answer.casefold() for turn in DOGS]


def test_what_is_missing_is_read_as_empty_and_moves_no_answer_to_another_question() -> None:
    text = "Question: One?\nQuestion: Two?\nAnswer: To two.\nAnswer: To none.\nQuestion: Three?\nAnswer: To three."
    assert parse_questions(text) == [
        QuestionAnswer("One?", ""),
        QuestionAnswer("Two?", "To two."),
        QuestionAnswer("", "To none."),
        QuestionAnswer("Three?", "To three."),
    ]


def test_the_labels_of_another_layout_stay_in_the_answer_where_they_are_flagged() -> None:
    (turn,) = parse_questions("Question: Do both images show dogs?\nAnswer: Yes.\nUser: And cats?\nAssistant: No.")
    assert turn.answer == "Yes. User: And cats? Assistant: No."


@pytest.mark.parametrize("text", ["", "Both images show a dog.", "Answer: Yes.", "1. A dog.\n2. A cat."])
def test_text_without_a_question_raises(text: str) -> None:
    with pytest.raises(ValueError, match="no question"):
        parse_questions(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "another form"),
        ('{"questions": ["x"]}', "another form"),
        ('{"questions": [{"question": "x"}]}', "another form"),
        ('{"questions": [{"question": "x", "answer": 5}]}', "another form"),
        ('{"questions": []}', "no question"),
        ("[" * 100_000, "another form"),
    ],
)
def test_json_of_another_form_raises(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_questions_json(text)


def test_the_json_schema_bounds_every_string() -> None:
    turn = questions_json_schema(max_question=10, max_answer=20)["properties"]["questions"]["items"]["properties"]
    assert (turn["question"]["maxLength"], turn["answer"]["maxLength"]) == (10, 20)


def test_half_a_surrogate_pair_in_json_is_marked_as_garbled() -> None:
    text = '{"questions": [{"question": "What do both images show?", "answer": "Both show \\ud800 dogs."}]}'
    (turn,) = parse_questions_json(text)
    assert turn.answer == "Both show \ufffd dogs."
    assert [flag for flag, _ in question_flags(turn, max_words=100)] == [Flag.GARBLED]


def test_fenced_json_with_a_preamble_is_read() -> None:
    text = 'Here:\n```json\n{"questions": [{"question": "What is it?", "answer": ["A dog", "a cat."]}]}\n```'
    assert parse_questions_json(text) == [QuestionAnswer("What is it?", "A dog. a cat.")]
