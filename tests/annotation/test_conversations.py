"""Training conversations show both images first, never a caption in the summary turn, and follow the seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cadvi_hub.annotation.conversations import (
    difference_note_messages,
    told_apart_messages,
    v1_messages,
    v2_messages,
    which_image_messages,
)
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Message
from cadvi_hub.core.summaries import render_summary

CAPTIONS = ("A red ball\non the grass.", 'A sign that says "<image>".')
PAIR = ImagePair("p-1", ("a.png", "b.png"), "test", captions=CAPTIONS, context="The ball is gone.")
SUMMARY = CadSummary("Both show grass, no <image>.", (Difference(Aspect.OBJECT_TYPES, "A ball, and a sign."),))
BISON = Path(__file__).parents[3] / "shared/data/questions/BISON.jsonl"


def text(message: Message) -> str:
    return "".join("<image>" if part["type"] == "image" else part["text"] for part in message["content"])


def parts(messages: list[Message]) -> int:
    return sum(part["type"] == "image" for message in messages for part in message["content"])


def pair(number: int) -> ImagePair:
    return ImagePair(f"p-{number}", ("a.png", "b.png"), "test", captions=("A red ball.", "A sign."), context="Gone.")


def test_v1_has_a_summary_turn_without_captions_and_a_which_image_turn() -> None:
    messages = v1_messages(PAIR, SUMMARY, seed=0)
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert text(messages[0]).startswith("Image 1: <image>\nImage 2: <image>\n")
    assert "ball" not in text(messages[0])
    assert text(messages[1]) == render_summary(SUMMARY).replace("<image>", "[image]")
    which = "AB".index(text(messages[3]))
    caption = ("A red ball on the grass.", 'A sign that says "[image]".')[which]
    assert text(messages[2]).startswith(f'Which image suits the caption "{caption}" better?\n')


def test_placeholders_in_data_never_become_image_parts() -> None:
    for seed in range(8):
        assert parts(v1_messages(PAIR, SUMMARY, seed)) == 2
        assert parts(which_image_messages(PAIR, seed)) == 2
    noted = ImagePair("p", ("a.png", "b.png"), "test", context="An <image> is gone.")
    assert parts(difference_note_messages(noted)) == 2


def test_conversations_follow_seed_and_pair_alone() -> None:
    assert v1_messages(pair(1), SUMMARY, 3) == v1_messages(pair(1), SUMMARY, 3)
    answers = [text(v1_messages(pair(number), SUMMARY, 0)[-1]) for number in range(400)]
    assert 160 < answers.count("A") < 240
    other_seed = [text(v1_messages(pair(number), SUMMARY, 1)[-1]) for number in range(400)]
    assert answers != other_seed


def test_all_wordings_of_the_request_occur_and_all_are_short() -> None:
    requests = {text(v2_messages(pair(number), SUMMARY, 0)[0]) for number in range(100)}
    assert len(requests) == 5
    assert all(len(request) < 120 for request in requests)


def test_v2_is_the_summary_turn_of_v1() -> None:
    assert v2_messages(PAIR, SUMMARY, 5) == v1_messages(PAIR, SUMMARY, 5)[:2]


def test_the_which_image_ablation_asks_what_v1_asks_with_the_images_in_it() -> None:
    alone, full = which_image_messages(PAIR, 4), v1_messages(PAIR, SUMMARY, 4)
    assert text(alone[0]) == "Image 1: <image>\nImage 2: <image>\n" + text(full[2])
    assert alone[1] == full[3]


def test_every_verified_difference_becomes_a_turn_until_there_are_three() -> None:
    tells = ("There is a cat.", "There are two dogs."), ("There is one dog.", "It is all in the snow.")
    text_of = "Image 1 shows a cat and two dogs, while image 2 shows one dog. Image 2 is in the snow."
    told = CadSummary("Both images show a boat.", (Difference(Aspect.COUNTS, text_of),))
    asked: set[tuple[str, str]] = set()
    orders: set[str] = set()
    for number in range(200):
        messages = told_apart_messages(pair(number), told, seed=0)
        assert [message["role"] for message in messages] == ["user", "assistant"] * 3
        assert parts(messages[:1]) == parts(messages) == 2
        captions = [text(message).partition('"')[2].partition('"')[0] for message in messages[::2]]
        answers = [text(message) for message in messages[1::2]]
        assert all(caption in tells["AB".index(answer)] for caption, answer in zip(captions, answers, strict=True))
        assert len(set(captions)) == 3
        asked.update(zip(captions, answers, strict=True))
        orders.add("".join(answers))
    assert len(asked) == 4
    assert orders == {"AAB", "ABA", "BAA", "ABB", "BAB", "BBA"}
    alone = (Difference(Aspect.COUNTS, "Only image 2 shows one dog. Image 1 shows no cat."),)
    (asked_once, answer) = told_apart_messages(pair(0), CadSummary("Both images show a boat.", alone), seed=0)
    assert '"There is one dog."' in text(asked_once)
    assert text(answer) == "B"
    assert told_apart_messages(pair(0), CadSummary("Both images show a boat.", ()), seed=0) == []


def test_the_difference_note_ablation_gives_the_note_as_it_stands() -> None:
    question, answer = difference_note_messages(PAIR)
    assert text(question) == "Image 1: <image>\nImage 2: <image>\nWhat is different?"
    assert text(answer) == "The ball is gone."


def test_pairs_without_captions_or_note_are_named() -> None:
    bare = ImagePair("p-9", ("a.png", "b.png"), "test")
    with pytest.raises(InputError, match=r"p-9.*no captions"):
        v1_messages(bare, SUMMARY, 0)
    with pytest.raises(InputError, match=r"p-9.*no difference note"):
        difference_note_messages(bare)


@pytest.mark.skipif(not BISON.exists(), reason=f"no {BISON.name} in ../shared/data/questions")
def test_the_which_image_question_has_the_form_of_the_papers_bison_file() -> None:
    for line in BISON.read_text().splitlines():
        question = json.loads(line)["text"]
        caption = question.split('caption "', 1)[1].rsplit('" better?', 1)[0]
        asked = ImagePair("p", ("a.png", "b.png"), "test", captions=(caption, caption))
        assert text(which_image_messages(asked, 0)[0]) == question.replace(caption, " ".join(caption.split()))
