"""Summaries from captions: what the two captions mention, aspect by aspect, and nothing else."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadvi_hub.annotation import mentions
from cadvi_hub.annotation.caption_reader import CaptionReading, read_captions
from cadvi_hub.annotation.mentions import Mentions
from cadvi_hub.core.schema import Aspect, CadSummary
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.world.captions import PLACES, SETTINGS, Caption, Phrase, Relation, Setting, make_caption, plural
from cadvi_hub.world.scene import Look, draw_scene

REAL = Path(__file__).parents[3] / "shared/data/captioned_images/captions.jsonl"
MENTIONS = Mentions()

# Words of the summary's own sentences; numbers may stand for what "a" and "two … and a …" add up to.
FRAME = set("both image images 1 2 show shows is are in while and a an".split())  # noqa: SIM905
NUMBERS = set("one two three four five six seven eight nine ten".split())  # noqa: SIM905


def drawn(number: int, seed: int = 0) -> list[Caption]:
    rng = random.Random(seed)
    looks: list[Look] = ["boxes" if index % 10 == 0 else "sketch" for index in range(number)]
    return [make_caption(rng, draw_scene(rng, "train", look)) for look in looks]


PAIRS = [(first.text, second.text) for first, second in zip(drawn(100), drawn(100, seed=1), strict=True)]


def made_of(caption: Caption) -> tuple[Any, ...]:
    """What a reader can find of the caption's statements, told in the reader's terms."""
    phrases = [statement for statement in caption.statements if isinstance(statement, Phrase)]
    mentions = [
        (
            p.kind if p.count == 1 else plural(p.kind),
            p.count if p.count > 1 else 0,
            tuple(word for word in (p.size, p.fill, p.color) if word not in ("", "plain")),
            p.action if p.action != "standing" else "",
            PLACES.get(p.place, ""),
        )
        for p in phrases
    ]
    where = [SETTINGS[s.backdrop] for s in caption.statements if isinstance(s, Setting)]
    return mentions, where, [s.text() for s in caption.statements if isinstance(s, Relation)]


def found_in(reading: CaptionReading) -> tuple[Any, ...]:
    things = [
        (t.plural, t.count, t.attributes, t.action, t.place)
        if t.count > 1
        else (t.kind, 0, t.attributes, t.action, t.place)
        for t in reading.things
    ]
    return things, reading.settings, reading.relations


def test_what_a_caption_was_made_of_is_read_back() -> None:
    captions = drawn(300)
    readings = read_captions(caption.text for caption in captions)
    wrong = [c.text for c, reading in zip(captions, readings, strict=True) if found_in(reading) != made_of(c)]
    assert len(wrong) <= 9, wrong  # the parser takes them apart; nothing is read that is not there


def words(text: str) -> set[str]:
    """The words of a text, plurals as singulars."""
    found = re.findall(r"\w+", text.lower())
    return {"box" if word == "boxes" else word if word == "grass" else word.rstrip("s") for word in found}


def said(summary: CadSummary) -> str:
    return " ".join([summary.commonalities, *(difference.text for difference in summary.differences)])


def test_a_summary_says_nothing_that_is_in_neither_caption() -> None:
    frame = {word for text in FRAME | NUMBERS for word in words(text)}
    for captions in PAIRS:
        assert words(said(MENTIONS.summarize(captions))) <= words(" ".join(captions)) | frame, captions


def sides(text: str) -> tuple[set[str], set[str]]:
    """What a text says of image 1, and of image 2."""
    told: tuple[set[str], set[str]] = (set(), set())
    for part in re.split(r"(?<=\.) |, while ", text.rstrip(".")):
        image = re.match(r"(?:in )?image ([12]) (.*)", part, re.IGNORECASE)
        assert image, text
        told[int(image[1]) - 1].add(image[2].rstrip("."))
    return told


def test_what_a_summary_says_of_an_image_is_in_the_caption_of_that_image() -> None:
    frame = {word for text in FRAME | NUMBERS for word in words(text)}
    for captions in PAIRS:
        summary = MENTIONS.summarize(captions)
        for difference in summary.differences:
            for caption, told in zip(captions, sides(difference.text), strict=True):
                assert words(" ".join(told)) <= words(caption) | frame, (difference, caption)
        both = words(summary.commonalities) - frame
        assert both <= words(captions[0]) & words(captions[1]), (summary.commonalities, captions)


def test_equal_captions_have_no_differences() -> None:
    for caption in drawn(60):
        summary = MENTIONS.summarize((caption.text, caption.text))
        assert summary.differences == ()
        assert summary.commonalities


def test_swapped_captions_swap_the_images_of_every_difference() -> None:
    for first, second in PAIRS[:60]:
        there, back = MENTIONS.summarize((first, second)), MENTIONS.summarize((second, first))
        assert words(there.commonalities) == words(back.commonalities)
        assert [d.aspect for d in there.differences] == [d.aspect for d in back.differences]
        for one, other in zip(there.differences, back.differences, strict=True):
            there_said, back_said = ([words(" ".join(told)) for told in sides(d.text)] for d in (one, other))
            assert there_said == back_said[::-1]


def test_summaries_of_drawn_captions_speak_of_all_six_aspects() -> None:
    aspects = {difference.aspect for captions in PAIRS for difference in MENTIONS.summarize(captions).differences}
    assert aspects == set(Aspect)


def test_a_summary_is_told_aspect_by_aspect() -> None:
    first = "A small red cat sleeping at the top left and two boats. It is all on the beach. A cat is above a boat."
    second = "There are three cats and a blue dog on the right. It is all on the beach."
    summary = MENTIONS.summarize((first, second))
    assert summary.commonalities == "Both images show a cat. Both images are on the beach."
    assert {str(difference.aspect): difference.text for difference in summary.differences} == {
        "Object types": "Image 1 shows a boat, while image 2 shows a dog.",
        "Attributes": "Image 1 shows a small red cat, while image 2 shows a blue dog.",
        "Counts": "Image 1 shows one cat, while image 2 shows three cats.",
        "Actions": "Image 1 shows a cat sleeping.",
        "Locations": "Image 1 shows a cat at the top left, while image 2 shows a dog on the right.",
        "Relative positions": "In image 1 a cat is above a boat.",
    }


def test_articles_suit_the_word_that_follows() -> None:
    summary = MENTIONS.summarize(("An orange cat sleeping at the top left.", "A dog."))
    assert not re.search(r"\ban [^aeiou]|\ba [aeiou]", said(summary), re.IGNORECASE)


def test_a_possessive_is_no_part_of_a_things_name() -> None:
    summary = MENTIONS.summarize(("A planet in our solar system.", "My planet and your blue moon."))
    assert "a blue moon" in said(summary)
    assert not re.search(r"\b(?:my|your|our)\b", said(summary))


def test_a_counted_thing_is_named_in_the_plural_though_no_caption_does() -> None:
    summary = MENTIONS.summarize(("A big box on the left.", "A blue box at the top left and a red box on the right."))
    assert "Image 1 shows one box, while image 2 shows two boxes." in said(summary)


def differences(first: str, second: str) -> dict[str, str]:
    return {str(each.aspect): each.text for each in MENTIONS.summarize((first, second)).differences}


def test_captions_of_people_are_read_by_their_grammar() -> None:
    first = "Two men are riding a brown horse in a field. A small dog sits next to a wooden fence."
    second = "A man wearing a hat is standing on a beach with a fire truck."
    summary = MENTIONS.summarize((first, second))
    assert summary.commonalities == "Both images show a man."
    assert differences(first, second) == {
        "Object types": (
            "Image 1 shows a horse, a field, a dog and a fence, while image 2 shows a hat, a beach and a fire truck."
        ),
        "Attributes": "Image 1 shows a brown horse, a small dog and a wooden fence.",
        "Counts": "Image 1 shows two men, while image 2 shows one man.",
        "Actions": (
            "Image 1 shows two men riding a brown horse and a dog sitting, while image 2 shows a man wearing a hat."
        ),
        "Relative positions": "In image 1 a small dog is next to a wooden fence.",
    }


def test_a_noun_of_both_captions_is_no_difference_under_whatever_name() -> None:
    told = differences("A hibiscus flower in a vase.", "A pink flower and a boy.")
    assert told["Attributes"] == "Image 1 shows a hibiscus flower, while image 2 shows a pink flower."
    assert told["Object types"] == "Image 1 shows a vase, while image 2 shows a boy."
    assert differences("A person with a kite.", "A woman with a kite and a cup.") == {
        "Object types": "Image 2 shows a cup."
    }
    assert "lion" not in MENTIONS.summarize(("A sea lion on a rock.", "A lion on a rock.")).commonalities


@pytest.mark.parametrize(
    "caption",
    [
        "If the dreidel lands there, you take everything in the middle.",
        "This gun was used during a war.",
        "He would like no dog.",
        "A photo of the day.",
        "Car emblems to put on the cat.",
        "Stickers to put on a red cat.",
        "Give me your cat!",
        "One of the giants in our red cat.",
        "on of and, the",
    ],
)
def test_what_is_uncertain_is_left_out(caption: str) -> None:
    assert MENTIONS.summarize((caption, "A red cat.")).commonalities == ""
    assert "image 1" not in said(MENTIONS.summarize((caption, "A red cat."))).lower()


@pytest.mark.parametrize(("first", "second", "common"), [
    ("A little cat.", "Cats are sleeping.", "a cat"), ("The old tower.", "A square tower.", "a tower"),
    ("Red trees.", "Two green trees.", "trees"), ("A hibiscus flower.", "Flowers near a road.", "a flower"),
    ("Water in a glass.", "Dirty water.", "water"), ("Two vases.", "A big vase.", "a vase"),
    ("A toy dump truck.", "A toy tow truck.", "a toy truck"), ("A head of lettuce.", "A bolted lettuce.", "lettuce"),
    ("An adjustable wrench.", "A plumber’s wrench.", "a wrench"), ("Mars—the red planet.", "Our planet!", "a planet"),
])  # fmt: skip
def test_what_is_said_of_both_holds_of_both(first: str, second: str, common: str) -> None:
    for captions in ((first, second), (second, first)):
        assert MENTIONS.summarize(captions).commonalities == f"Both images show {common}."


def test_things_that_are_named_twice_are_shown_once() -> None:
    summary = said(MENTIONS.summarize(("Tux and a spider - two friends.", "A man and a woman, two friends.")))
    assert "friend" not in summary
    assert "a spider" in summary


def test_a_verb_is_no_thing_and_a_group_is_what_it_is_made_of() -> None:
    assert differences("A boy rides a horse.", "A boy with a kite.") == {
        "Object types": "Image 1 shows a horse, while image 2 shows a kite.",
        "Actions": "Image 1 shows a boy riding a horse.",
    }
    assert "Both images show giraffes." in said(
        MENTIONS.summarize(("A herd of giraffes.", "A group of giraffes and a bus."))
    )
    assert "people" in said(MENTIONS.summarize(("A couple of people and a cat.", "Many people."))).lower()


def test_numbers_that_are_unknown_are_not_compared() -> None:
    assert "Counts" not in differences("Some trees and a car.", "A tree and the cars.")
    assert differences("A dog.", "Two dogs.")["Counts"] == "Image 1 shows one dog, while image 2 shows two dogs."


def test_equal_captions_are_parsed_once_and_pairs_come_in_order() -> None:
    pairs = [("A red cat.", "A blue dog."), ("A blue dog.", "A red cat."), ("A red cat.", "A red cat.")]
    assert list(MENTIONS.summarize_all(pairs)) == [MENTIONS.summarize(pair) for pair in pairs]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.lists(st.sampled_from(["a", "two", "the", "cat", "is", "on", "left."]), max_size=8))
def test_any_text_has_a_summary_and_shares_all_with_itself(text: str, pieces: list[str]) -> None:
    for caption in (text, " ".join(pieces)):
        assert MENTIONS.summarize((caption, caption)).differences == ()
        MENTIONS.summarize((caption, "A red cat."))


@pytest.mark.skipif(not REAL.is_file(), reason="the sample captions are not beside this checkout")
def test_real_captions_have_summaries() -> None:
    captions = [json.loads(line)["caption"] for line in REAL.read_text("utf-8").splitlines()]
    summaries = [MENTIONS.summarize(pair) for pair in pairwise(captions)]
    assert len(summaries) > 200
    assert sum(bool(summary.differences) for summary in summaries) > 0.9 * len(summaries)


def test_a_caption_of_several_pairs_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def read(captions: list[str]) -> list[CaptionReading]:
        parsed.extend(captions)
        return list(read_captions(captions))

    monkeypatch.setattr(mentions, "read_captions", read)
    monkeypatch.setattr(mentions, "KEPT", 3)
    annotator, (first, second), (third, fourth) = Mentions(), PAIRS[0], PAIRS[1]
    fresh = [MENTIONS.summarize(pair) for pair in ((first, second), (second, third), (third, fourth))]
    parsed.clear()
    assert [annotator.summarize(pair) for pair in ((first, second), (second, third), (third, fourth))] == fresh
    assert parsed == [first, second, third, fourth]
    assert annotator.summarize((first, second)) == fresh[0]
    assert len(parsed) > 4  # the oldest are forgotten


def test_a_name_has_no_article() -> None:
    summary = MENTIONS.summarize(
        ("Venus—the second planet in the solar system.", "Saturn—the largest planet in our solar system.")
    )
    assert "a Venus" not in render_summary(summary)
    assert "Image 1 shows Venus, while image 2 shows Saturn." in render_summary(summary)


def test_a_thing_that_differs_in_its_article_alone_is_in_common() -> None:
    summary = MENTIONS.summarize(("The red ball and a dog.", "A red ball and a cat."))
    assert "a red ball" in summary.commonalities
    assert "red ball" not in " ".join(difference.text for difference in summary.differences)
