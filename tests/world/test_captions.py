"""Captions are true, vary, and keep silent about some of what they could tell.

`scene_reader` reads their words without the package's own phrases.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import get_args

import pytest

from cadvi_hub.world.captions import (
    RELATIONS,
    Caption,
    Phrase,
    describe,
    falsify,
    find_relation,
    groups,
    make_caption,
    partial_phrase,
)
from cadvi_hub.world.scene import ACTIONS, BACKDROPS, Look, Scene, draw_scene
from tests.support.scene_reader import described, only_claim, read, true_of

LOOKS = get_args(Look)


def drawn(number: int, look: Look = "sketch", seed: int = 0, tell: float = 0.6) -> list[tuple[Scene, Caption]]:
    rng = random.Random(seed)
    scenes = [draw_scene(rng, "train", look) for _ in range(number)]
    return [(scene, make_caption(rng, scene, tell)) for scene in scenes]


@pytest.mark.parametrize("look", LOOKS)
def test_captions_are_true_of_their_scene(look: Look) -> None:
    for scene, caption in drawn(1000, look):
        assert caption.holds(scene)
        assert true_of(caption.text, scene), caption.text


@pytest.mark.parametrize("look", LOOKS)
def test_holds_agrees_with_the_words_on_scenes_that_the_caption_was_not_made_for(look: Look) -> None:
    captions = [caption for _, caption in drawn(1000, look, tell=0.2)]
    verdicts: Counter[tuple[bool, bool]] = Counter()
    for (scene, _), caption in zip(drawn(1000, look, seed=1), captions, strict=True):
        # "a plain cat" is written "a cat": where the graph is told in full, the words may claim less
        assert caption.holds(scene) <= true_of(caption.text, scene)
        verdicts[caption.holds(scene), true_of(caption.text, scene)] += 1
    assert verdicts[True, True] > 20
    assert verdicts[False, False] > 500
    assert verdicts[False, True] < 5


def test_equal_seeds_give_equal_captions_and_other_seeds_others() -> None:
    assert drawn(100, seed=1) == drawn(100, seed=1)
    assert not {c.text for _, c in drawn(100, seed=1)} & {c.text for _, c in drawn(100, seed=2)}


def test_captions_do_not_always_tell_everything_but_sometimes_do() -> None:
    silent: Counter[str] = Counter()
    number = 600
    for scene, caption in drawn(number):
        found = read(caption.text)
        told = Counter(name for claim in found.claims for name, _ in claim.told)
        silent["setting"] += not found.settings
        silent["an item"] += len(found.claims) < len(groups(scene))
        for name in ("color", "size", "place"):
            silent[name] += told[name] < len(found.claims)
    assert all(
        number * 0.1 < silent[name] < number * 0.95 for name in ("setting", "an item", "color", "size", "place")
    ), silent


def test_a_caption_told_all_names_every_group_color_size_and_the_setting() -> None:
    for scene, caption in drawn(200, tell=1.0):
        found = read(caption.text)
        assert found.settings == (scene.backdrop,)
        assert len(found.claims) == len(groups(scene))
        assert all({"color", "size"} <= dict(claim.told).keys() for claim in found.claims)


def test_the_wording_varies_for_one_scene() -> None:
    rng = random.Random(0)
    scene = next(s for s in (draw_scene(rng, "train") for _ in range(100)) if len(groups(s)) == 3)
    texts = {make_caption(rng, scene).text for _ in range(100)}
    assert len(texts) > 80
    assert len({" ".join(text.split()[:2]) for text in texts}) >= 6


def test_captions_speak_of_all_six_aspects() -> None:
    found = [read(caption.text) for _, caption in drawn(1000)]
    claims = [claim for one in found for claim in one.claims]
    assert len({claim.kind for claim in claims}) >= 12
    told = {pair for claim in claims for pair in claim.told}
    assert {len({value for name, value in told if name == n}) for n in ("color", "place")} == {8, 9}
    assert {value for name, value in told if name in ("size", "fill")} == {"small", "big", "striped", "spotted"}
    assert {value for name, value in told if name == "action"} == set(ACTIONS) - {"standing"}
    assert {claim.number for claim in claims} == {None, 1, 2, 3}
    assert {setting for one in found for setting in one.settings} == set(BACKDROPS)
    assert {relation for one in found for _, relation, _ in one.relations} == set(RELATIONS)


def test_a_description_tells_everything() -> None:
    for scene, _ in drawn(300):
        text = describe(scene).text
        assert describe(scene).holds(scene)
        assert described(text).digest == scene.digest, text


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("edits", [1, 3])
def test_a_falsified_phrase_is_false_and_changes_no_more_words_than_asked(look: Look, edits: int) -> None:
    rng = random.Random(edits)
    changed_words: Counter[int] = Counter()
    for scene, _ in drawn(500, look):
        phrase = partial_phrase(rng, rng.choice(groups(scene)), 0.6)
        false = falsify(rng, scene, phrase, edits)
        if false is None:
            continue
        claims = only_claim(phrase.text()), only_claim(false.text())
        assert not claims[1].true_of(scene), (false.text(), scene)
        told = [dict(claim.told) | {"kind": claim.kind} for claim in claims]
        lost = told[0].keys() - told[1].keys()
        assert lost <= {"action"}  # things do not act
        assert not lost or told[1]["kind"] != told[0]["kind"]
        assert told[1].keys() <= told[0].keys()
        assert false.count == phrase.count
        changed_words[sum(told[0][name] != told[1][name] for name in told[1])] += 1
    assert sum(changed_words.values()) > 400
    assert set(changed_words) <= set(range(1, edits + 1))


def test_relations_found_are_true_of_the_picture() -> None:
    rng = random.Random(0)
    found = [(relation, scene) for scene, _ in drawn(500) if (relation := find_relation(rng, scene))]
    assert len(found) > 200
    assert all(true_of(relation.text(), scene) for relation, scene in found)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        (Phrase("cat"), "a cat"),
        (Phrase("cat", color="orange"), "an orange cat"),
        (Phrase("cat", 1, "red", "small", "striped", "eating", "top"), "a small striped red cat eating at the top"),
        (Phrase("cat", fill="plain", action="standing", place="center"), "a cat in the center"),
        (Phrase("box", 2, "blue"), "two blue boxes"),
        (Phrase("fish", 3, place="left"), "three fish on the left"),
    ],
)
def test_phrases_are_english(phrase: Phrase, text: str) -> None:
    assert phrase.text() == text
