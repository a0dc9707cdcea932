"""Near misses: true or false as they say, and only a model that binds and counts can tell."""

import random
import re
from collections import Counter

from cadvi_hub.world.captions import groups
from cadvi_hub.world.near_turns import (
    bound_claim_turn,
    draw_near_scene,
    near_caption_turn,
    near_captions,
    near_texts_turn,
)
from cadvi_hub.world.scene import Item, draw_scene, make_scene

RED_CAT = Item(0.5, 0.2, "cat", "red", "small")
BLUE_DOG = Item(0.5, 0.8, "dog", "blue", "big")


def test_a_false_claim_borrows_from_another_item() -> None:
    scene = make_scene([RED_CAT, BLUE_DOG], "grass")
    rng = random.Random(0)
    turns = [turn for _ in range(400) if (turn := bound_claim_turn(rng, scene))]
    false = [question for question, answer in turns if answer in ("no", "False")]
    assert 0.35 < len(false) / len(turns) < 0.65
    for question in false:  # every word of a false claim is true of something in the picture
        words = set(re.findall("red|blue|small|big|cat|dog|left|right", question))
        assert words & {"red", "small", "left"} if "dog" in words else words & {"blue", "big", "right"}, question


def test_words_alone_do_not_give_a_claim_away() -> None:
    rng = random.Random(1)
    answers: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for _ in range(12_000):
        scene = draw_scene(rng, "train", "sketch", 2)
        if turn := bound_claim_turn(rng, scene):
            answers[turn[1] in ("yes", "True")].update(re.findall(r"[a-z]+", turn[0].lower()))
    for word in ("red", "big", "striped", "top", "two", "three"):
        share = answers[True][word] / (answers[True][word] + answers[False][word])
        assert 0.35 < share < 0.65, (word, share)


def test_a_scene_of_one_group_has_nothing_to_borrow() -> None:
    scene = make_scene([RED_CAT], "grass")
    assert len(groups(scene)) == 1
    assert {bound_claim_turn(random.Random(seed), scene) for seed in range(50)} == {None}


def test_near_captions_are_true_of_their_own_scene_alone() -> None:
    rng = random.Random(2)
    made = 0
    for _ in range(300):
        scene = draw_scene(rng, "train")
        other = draw_near_scene(rng, scene)
        captions = other and near_captions(rng, (scene, other), 0.9)
        if other and captions:
            made += 1
            assert captions[0].holds(scene)
            assert captions[1].holds(other)
            assert not captions[0].holds(other)
            assert not captions[1].holds(scene)
    assert made > 100


def test_the_letter_of_a_near_caption_is_a_coin() -> None:
    rng = random.Random(3)
    letters = Counter(turn[1] for _ in range(600) if (turn := near_caption_turn(rng, draw_scene(rng, "train"))))
    assert 0.4 < letters["A"] / letters.total() < 0.6


def test_near_texts_have_no_picture_and_balanced_answers() -> None:
    rng = random.Random(4)
    turns = [turn for _ in range(800) if (turn := near_texts_turn(rng, "train"))]
    answers = Counter(answer for _, answer in turns)
    assert set(answers) == {"1", "2", "True", "False"}
    assert 0.4 < answers["1"] / (answers["1"] + answers["2"]) < 0.6
    assert 0.35 < answers["True"] / (answers["True"] + answers["False"]) < 0.65
    labels = Counter(question.partition(" 1: ")[0] for question, _ in turns)  # a text may be called an image
    assert set(labels) == {"Text", "Image"}
    assert not [question for question, _ in turns if "<image>" in question]
