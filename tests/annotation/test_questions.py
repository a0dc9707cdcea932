"""Every pair gets one sound question or a named reason; the model sees exactly the prompts in `snapshots/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest

from cadvi_hub.annotation.filters import Dropped, DropReason
from cadvi_hub.annotation.prompt import prompt_hash, render_prompt
from cadvi_hub.annotation.question_flags import Flag, question_flags
from cadvi_hub.annotation.question_layout import QuestionAnswer, questions_json_schema, render_questions
from cadvi_hub.annotation.questions import (
    QuestionWriter,
    WrittenQuestions,
    read_questions,
    with_images,
)
from cadvi_hub.annotation.settings import QuestionSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Message
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
SUMMARY = CadSummary(
    "Both images show a dog <image> outdoors.",
    (Difference(Aspect.COUNTS, "There is one dog in Image 1 and there are two in Image 2."),),
)
TURNS = [
    QuestionAnswer(f"What do the dogs in both images do, for the {k}th time?", f"Both images show {k} dogs that run.")
    for k in range(4)
]


class FakeModel:
    """Gives the replies that it was made with, one after the other, and keeps the requests."""

    name = "fake@1"
    request_changes: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, *replies: Reply | Failed):
        self.replies, self.requests = replies, list[ChatRequest]()

    def generate(self, requests: Iterable[ChatRequest], on_replies: object = None) -> Iterator[Reply | Failed]:
        for number, request in enumerate(requests):
            self.requests.append(request)
            yield self.replies[number % len(self.replies)]


def shown(messages: list[Message]) -> str:
    assert all(part["type"] == "text" for turn in messages for part in turn["content"])
    return "\n".join(f"=== {turn['role']} ===\n{turn['content'][0]['text']}\n" for turn in messages)


def pair(number: int) -> ImagePair:
    captions = (f"A dog <image>\n\nQuestion: no. {number}?", "Two 'dogs' & {{ summary }}.")
    return ImagePair(f"a{number}.png|b.png", (f"a{number}.png", "b.png"), "test", captions, ("dog",))


def summarized(number: int) -> list[tuple[ImagePair, CadSummary]]:
    return [(pair(k), SUMMARY) for k in range(number)]


def written(
    *replies: Reply | Failed, pairs: int = 1, settings: QuestionSettings | None = None
) -> list[WrittenQuestions]:
    writer = QuestionWriter(FakeModel(*replies), settings or QuestionSettings())
    return [result for _, _, result in writer.write(summarized(pairs))]


def reply(*turns: QuestionAnswer, finish_reason: Literal["stop", "length"] = "stop") -> Reply:
    return Reply(render_questions(turns), finish_reason, 1, 768)


@pytest.mark.parametrize(
    ("snapshot", "example", "as_json"),
    [
        ("questions_from_summary_0", 0, False),
        ("questions_from_summary_1", 1, False),
        ("questions_from_summary_2", 2, False),
        ("questions_from_summary_json", 3, True),
    ],
)
def test_the_model_sees_exactly_the_prompt_of_the_snapshot(snapshot: str, example: int, as_json: bool) -> None:
    model = FakeModel(reply(*TURNS))
    writer = QuestionWriter(model, QuestionSettings(json_schema=as_json))
    list(writer.write(summarized(60)))
    texts = {shown(request.messages) for request in model.requests}
    captions = [" ".join(caption.split()) for caption in pair(0).captions]
    summary = "Commonalities:\nBoth images show a dog [image] outdoors.\n\nDifferences:\n"
    summary += "1. Counts: There is one dog in Image 1 and there are two in Image 2."
    expected = render_prompt(
        "questions_from_summary", captions=captions, summary=summary, example=example, as_json=as_json
    )
    assert shown(expected) == (SNAPSHOTS / f"{snapshot}.txt").read_text()
    starts = {text.partition("=== user ===\nImage 1: A dog")[0] for text in texts}
    assert shown(expected).partition("=== user ===\nImage 1: A dog")[0] in starts
    assert len(starts) == 3  # every example is drawn for some pair


@pytest.mark.parametrize("as_json", [False, True])
def test_the_examples_in_the_prompt_are_conversations_without_a_flag(as_json: bool) -> None:
    numbers = []
    for example in range(3):
        values = {"captions": ["A.", "B."], "summary": "C.", "example": example, "as_json": as_json}
        (text,) = [
            turn["content"][0]["text"]
            for turn in render_prompt("questions_from_summary", **values)
            if turn["role"] == "assistant"
        ]
        turns = read_questions(Reply(text, "stop", 0, 0), as_json)
        assert isinstance(turns, list)
        assert as_json or render_questions(turns) == text
        assert [list(question_flags(turn, max_words=60)) for turn in turns] == [[]] * len(turns)
        numbers.append(len(turns))
    assert numbers == [4, 3, 5]


def test_one_sound_question_is_kept_at_random_and_follows_seed_and_pair_alone() -> None:
    kept = [result.kept for result in written(reply(*TURNS), pairs=400)]
    assert all(70 < kept.count(turn) < 130 for turn in TURNS)
    assert [result.kept for result in written(reply(*TURNS), pairs=20)] == kept[:20]
    assert [result.kept for result in written(reply(*TURNS), pairs=20, settings=QuestionSettings(seed=1))] != kept[:20]


def test_flagged_questions_are_left_out_and_each_has_its_flag() -> None:
    one = QuestionAnswer("What is the dog in Image 1 doing?", "It runs.")
    told = QuestionAnswer("What do both images show?", "Both captions mention dogs.")
    (result,) = written(reply(one, TURNS[0], told))
    assert result.kept == TURNS[0]
    assert result.flagged == ((Flag.ONE_IMAGE, one.question), (Flag.MENTIONS_CAPTION, "captions"))


def test_a_pair_of_whose_questions_none_is_sound_is_dropped_with_the_flags() -> None:
    one = QuestionAnswer("What is the dog in Image 1 doing?", "It runs.")
    (result,) = written(reply(one, one))
    assert result.kept == Dropped(DropReason.NO_QUESTION_LEFT, "one_image, one_image")
    assert len(result.flagged) == 2


def test_of_a_reply_that_was_cut_off_only_the_last_question_is_lost() -> None:
    cut = reply(TURNS[0], TURNS[1], QuestionAnswer("What do both images", "x"), finish_reason="length")
    for text in (cut.text, cut.text.removesuffix("\nAnswer: x")):
        turns = read_questions(Reply(text, "length", 1, 768), as_json=False)
        assert turns == TURNS[:2]
    (result,) = written(cut)
    assert result.kept in TURNS[:2]
    assert result.flagged == ((Flag.CUT_OFF, "stopped after 768 tokens"),)


def test_of_json_that_was_cut_off_every_whole_question_is_read() -> None:
    whole = json.dumps({"questions": [{"question": t.question, "answer": t.answer} for t in TURNS]})
    for end in range(len(whole)):
        turns = read_questions(Reply(whole[:end], "length", 1, 768), as_json=True)
        complete = whole[:end].count("}")
        expected: list[QuestionAnswer] | Dropped = TURNS[:complete]
        assert turns == (expected or Dropped(DropReason.CUT_OFF, "stopped after 768 tokens"))
    assert read_questions(Reply(whole, "stop", 1, 768), as_json=True) == TURNS
    assert read_questions(Reply(whole + "  \n", "length", 1, 768), as_json=True) == TURNS


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Failed("too long"), DropReason.REQUEST_FAILED),
        (Reply("I'm sorry, but I cannot see the images.", "stop", 1, 9), DropReason.REFUSAL),
        (Reply("Both images show dogs.", "stop", 1, 9), DropReason.UNPARSED),
        (Reply("Question: What do both images", "length", 1, 768), DropReason.NO_QUESTION_LEFT),
        (Reply("Sure! Here is", "length", 1, 768), DropReason.CUT_OFF),
    ],
)
def test_a_reply_without_a_question_drops_its_pair_with_the_reason(outcome: Reply | Failed, reason: str) -> None:
    (result,) = written(outcome)
    assert isinstance(result.kept, Dropped)
    assert result.kept.reason == reason
    assert result.kept.detail


def test_provenance_names_model_prompt_and_decoding() -> None:
    provenance = QuestionWriter(FakeModel(), QuestionSettings(temperature=0.5, seed=3)).provenance
    assert (provenance.annotator, provenance.prompt_hash) == ("fake@1", prompt_hash("questions_from_summary"))
    decoding = json.loads(provenance.decoding)
    assert (decoding["temperature"], decoding["seed"], decoding["json_schema"]) == (0.5, 3, False)


def test_requests_are_made_as_the_model_reads_them_and_the_schema_goes_with_them() -> None:
    model = FakeModel(Reply(json.dumps({"questions": [{"question": "q", "answer": "a"}]}), "stop", 1, 1))
    results = QuestionWriter(model, QuestionSettings(json_schema=True)).write(summarized(50))
    next(results)
    assert len(model.requests) == 1
    assert model.requests[0].json_schema == questions_json_schema()
    assert len(list(results)) == 49


def test_a_pair_without_captions_is_named() -> None:
    bare = ImagePair("p-7", ("a.png", "b.png"), "test")
    with pytest.raises(InputError, match="p-7"):
        list(QuestionWriter(FakeModel(reply(*TURNS)), QuestionSettings()).write([(bare, SUMMARY)]))


def test_what_the_captions_say_opens_no_turn_and_places_no_image() -> None:
    model = FakeModel(reply(*TURNS))
    list(QuestionWriter(model, QuestionSettings()).write(summarized(1)))
    messages = model.requests[0].messages
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"][0]["text"].startswith(
        "Image 1: A dog [image] Question: no. 0?\nImage 2: Two 'dogs' &"
    )


def test_a_row_holds_both_images_before_the_question_and_no_other() -> None:
    text = with_images("Do both images show an <image> in a frame?")
    assert text == "Image 1: <image>\nImage 2: <image>\nDo both images show an [image] in a frame?"


def test_the_recipe_holds_the_papers_threshold() -> None:
    recipe = parse_settings("build", ["cad_qa", "--config", "cad_qa"])
    assert (recipe.config, recipe.pairs.min_shared, recipe.annotator.kind) == ("cad_qa", 8, "server")
