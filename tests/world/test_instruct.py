"""Answers of single-image and text-only conversations agree with a reading of the scene's items."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import get_args

import pytest

from cadvi_hub.demo.base_data import draw_conversation
from cadvi_hub.demo.base_recipe import BaseRecipe
from cadvi_hub.world import instruct
from cadvi_hub.world.scene import Item, Look, Scene, draw_scene
from tests.support.scene_reader import (
    NUMBERS,
    SETTINGS,
    SINGULAR,
    described,
    only_claim,
    position_word,
    stands,
    true_of,
)

LOOKS = get_args(Look)
Maker = Callable[[random.Random, Scene], tuple[str, str] | None]


def asked(make: Maker, look: Look = "sketch", number: int = 400, seed: int = 0) -> list[tuple[Scene, str, str]]:
    rng = random.Random(seed)
    scenes = [draw_scene(rng, "train", look) for _ in range(number)]
    return [(scene, *turn) for scene in scenes if (turn := make(rng, scene))]


def meant(subject: str, scene: Scene) -> Item:
    """The one item that "the red cat at the top" means."""
    (item,) = filter(only_claim(subject).fits, scene.items)
    return item


PROPERTY_FORMS = {
    "color": re.compile(r"What color is (the .+)\?"),
    "size": re.compile(r"What size is (the .+)\?"),
    "fill": re.compile(r"Is (the .+) plain, striped or spotted\?"),
    "action": re.compile(r"What is (the .+) doing\?"),
    "place": re.compile(r"Where in the image is (the .+)\?"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_property_questions_mean_one_item_and_tell_its_property(look: Look) -> None:
    names: Counter[str] = Counter()
    for scene, question, answer in asked(instruct.property_turn, look):
        ((name, subject),) = [(n, m[1]) for n, form in PROPERTY_FORMS.items() if (m := form.fullmatch(question))]
        item = meant(subject, scene)
        assert answer == (position_word(item) if name == "place" else getattr(item, name))
        assert name == "place" or name not in dict(only_claim(subject).told)  # the question does not give it away
        names[name] += 1
    assert set(names) == (set(PROPERTY_FORMS) if look == "sketch" else {"color", "size", "place"})


@pytest.mark.parametrize("look", LOOKS)
def test_kind_questions_name_the_only_item_at_the_place(look: Look) -> None:
    turns = asked(instruct.kind_turn, look)
    assert len(turns) > 200
    for scene, question, answer in turns:
        place = re.fullmatch(r"What is (?:at|on|in) the (.+)\?", question)[1]  # type: ignore[index]
        assert [item.kind for item in scene.items if position_word(item) == place] == [answer]


@pytest.mark.parametrize("look", LOOKS)
def test_count_questions_count_items_and_sometimes_none(look: Look) -> None:
    answers: Counter[str] = Counter()
    for scene, question, answer in asked(instruct.count_turn, look):
        color, kinds = re.fullmatch(r"How many (?:(\w+) )?(\w+) are there\?", question).groups()  # type: ignore[union-attr]
        number = sum(item.kind == SINGULAR[kinds] and color in (None, item.color) for item in scene.items)
        assert number == NUMBERS[answer]
        answers[answer] += 1
    assert answers.keys() >= {"no", "one", "two"}


@pytest.mark.parametrize("look", LOOKS)
def test_relation_questions_name_the_only_kind_on_that_side(look: Look) -> None:
    turns = asked(instruct.relation_turn, look, 800)
    assert len(turns) > 50
    for scene, question, answer in turns:
        form = re.fullmatch(r"What is (to the left of|to the right of|above|below) (the .+)\?", question)
        assert form
        item = meant(form[2], scene)
        assert {other.kind for other in scene.items if stands(other, form[1], item)} == {answer}


def test_setting_questions_name_the_backdrop_of_sketches_alone() -> None:
    assert all(SETTINGS[answer] == scene.backdrop for scene, _, answer in asked(instruct.setting_turn))
    assert not asked(instruct.setting_turn, "boxes")


VERIFY_FORMS = (
    re.compile(r"True or False: (?P<claim>.+)\."),
    re.compile(r"Is it right that (?P<claim>.+)\?"),
    re.compile(r"(?:Is|Are) there (?P<claim>.+)\?"),
)


@pytest.mark.parametrize("look", LOOKS)
def test_claims_are_judged_as_the_picture_shows_in_equal_parts(look: Look) -> None:
    answers: Counter[str] = Counter()
    for scene, question, answer in asked(instruct.verify_turn, look, 1000):
        claim = next(m["claim"] for form in VERIFY_FORMS if (m := form.fullmatch(question)))
        true = true_of(claim, scene)
        assert answer in ((str(true),) if question.startswith("True") else ("yes" if true else "no",))
        answers[answer] += 1
    assert set(answers) == {"True", "False", "yes", "no"}
    total = answers.total()
    assert 0.4 < (answers["True"] + answers["yes"]) / total < 0.6
    assert 0.3 < (answers["True"] + answers["False"]) / total < 0.7


@pytest.mark.parametrize("look", LOOKS)
def test_of_two_captions_the_right_one_is_true_and_the_other_is_not(look: Look) -> None:
    letters: Counter[str] = Counter()
    both_true = 0
    for scene, question, answer in asked(instruct.caption_turn, look):
        texts = dict(zip("AB", re.search(r"\nA\. (.*)\nB\. (.*)\nAnswer", question).groups(), strict=True))  # type: ignore[union-attr]
        right, wrong = texts.pop(answer), *texts.values()
        assert true_of(right, scene)
        both_true += true_of(wrong, scene)
        letters[answer] += 1
    assert (
        both_true <= 0.01 * letters.total()
    )  # "a cat" for a plain one is told from a striped one by its silence alone
    assert abs(letters["A"] - letters["B"]) < 4 * letters.total() ** 0.5


def test_conversations_ask_nothing_twice_and_are_equal_for_equal_seeds() -> None:
    def talk(seed: int) -> list[list[tuple[str, str]]]:
        rng = random.Random(seed)
        return [instruct.image_conversation(rng, draw_scene(rng, "train")) for _ in range(100)]

    talks = talk(0)
    assert talks == talk(0)
    assert talks != talk(1)
    assert all(len({question for question, _ in turns}) == len(turns) for turns in talks)
    assert {len(turns) for turns in talks} >= {1, 2, 3, 4}


def test_describe_turns_describe_the_whole_scene() -> None:
    for scene, question, answer in asked(instruct.describe_turn, number=50):
        assert question in instruct.DESCRIBE
        assert described(answer).digest == scene.digest


def _listed(words: str) -> set[str]:
    return set() if words == "nothing" else set(re.split(r", | and ", words))


def test_answers_about_two_texts_are_what_the_texts_say() -> None:
    rng = random.Random(0)
    forms: Counter[str] = Counter()
    for _ in range(300):
        question, answer = instruct.text_conversation(rng, "train")[0]
        texts = re.fullmatch(r"Text 1: (.*)\nText 2: (.*)\n(.*)", question)
        if not texts:
            scene = described(question.split("\n")[0])
            assert scene.split == "train"
            forms["one text"] += 1
            continue
        scenes = [described(texts[k]) for k in (1, 2)]
        assert [scene.split for scene in scenes] == ["train", "train"]
        kinds = [{item.kind for item in scene.items} for scene in scenes]
        if which := re.fullmatch(r"Which text mentions (.*)\? Answer 1 or 2\.", texts[3]):
            assert [str(k) for k in (1, 2) if only_claim(which[1]).true_of(scenes[k - 1])] == [answer]
            forms["which"] += 1
        else:
            said = re.fullmatch(r"Both mention (.*)\. Only text 1 mentions (.*)\. Only text 2 mentions (.*)\.", answer)
            assert said
            expected = [kinds[0] & kinds[1], kinds[0] - kinds[1], kinds[1] - kinds[0]]
            assert [_listed(said[k]) for k in (1, 2, 3)] == expected
            forms["compare"] += 1
    assert min(forms[name] for name in ("one text", "which", "compare")) > 30


@pytest.mark.parametrize("progress", [0.0, 0.2, 1.0])
def test_the_base_model_meets_training_scenes_alone_and_one_at_a_time(progress: float) -> None:
    rng = random.Random(f"{progress}")
    scenes = []
    for _ in range(300):
        scene, turns = draw_conversation(rng, BaseRecipe(), progress)
        assert turns
        assert all("<image>" not in text for turn in turns for text in turn)
        if scene is not None:
            scenes.append(scene)
        else:
            told = re.findall(r"^(?:Text [12]: )?(?!True or False)(.+ It is all .+\.)$", turns[0][0], re.MULTILINE)
            assert all(described(text).split == "train" for text in told)
    assert len(scenes) > 200
    assert {scene.split for scene in scenes} == {"train"}
    if progress == 0.0:
        assert all(len({item.look for item in scene.items}) <= 2 for scene in scenes)
    else:
        assert {scene.look for scene in scenes} == set(LOOKS)
