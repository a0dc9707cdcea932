"""Benchmark questions about scenes: the form of each question file, and answers that the pictures bear out."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from functools import cache

import pytest

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.world.questions import MAKERS, Question
from cadvi_hub.world.scene import Item, Scene
from tests.support.scene_reader import NUMBERS, SETTINGS, SINGULAR, only_claim, position_word, read, true_of

TASKS = tuple(MAKERS)
PAIRED = ("eqben", "cola")
LETTERS = ("bison", "svo_probes", *PAIRED)


@cache
def asked(task: str, seed: int = 0, number: int = 60) -> tuple[Question, ...]:
    return tuple(MAKERS[task](random.Random(seed), number))


def caption_of(question: Question) -> str:
    found = re.search(r'Which image suits the caption "(.*)" better\?', question.text)
    assert found
    return found[1]


def right_and_wrong(question: Question) -> tuple[Scene, Scene]:
    first, second = question.scenes
    return (first, second) if question.answer == "A" else (second, first)


@pytest.mark.parametrize("task", TASKS)
def test_equal_seeds_ask_equal_questions_and_other_seeds_others(task: str) -> None:
    first, again, other = (tuple(MAKERS[task](random.Random(seed), 8)) for seed in (1, 1, 2))
    assert first == again
    assert {q.scenes for q in first}.isdisjoint(q.scenes for q in other)


@pytest.mark.parametrize("task", TASKS)
def test_every_scene_is_for_evaluation(task: str) -> None:
    assert {scene.split for question in asked(task) for scene in question.scenes} == {"eval"}


@pytest.mark.parametrize("task", [*LETTERS, "nlvr2", "cad_qa"])
def test_the_two_images_of_a_question_show_different_scenes(task: str) -> None:
    assert all(len({scene.digest for scene in question.scenes}) == 2 for question in asked(task))


@pytest.mark.parametrize("task", TASKS)
def test_questions_have_a_placeholder_per_image_and_answers_of_their_benchmark(task: str) -> None:
    questions = asked(task)
    images = 1 if task == "single_image" else 2
    for question in questions:
        assert len(question.scenes) == question.text.count(IMAGE_PLACEHOLDER) == images
        assert question.answer
    answers = {question.answer for question in questions}
    if task in LETTERS:
        assert answers == {"A", "B"}
    elif task == "nlvr2":
        assert answers == {"True", "False"}
    ids = [question.question_id for question in questions]
    assert ids == ([f"{i}_{half}" for i in range(60) for half in (0, 1)] if task in PAIRED else [*map(str, range(60))])


@pytest.mark.parametrize("task", PAIRED)
def test_both_questions_of_a_pair_show_the_same_images_in_order_under_different_captions(task: str) -> None:
    pairs: dict[str, list[Question]] = defaultdict(list)
    for question in asked(task):
        pairs[question.question_id.split("_")[0]].append(question)
    for first, second in pairs.values():
        assert first.scenes == second.scenes
        assert (first.answer, second.answer) == ("A", "B")
        assert caption_of(first) != caption_of(second)


@pytest.mark.parametrize("task", ["bison", "eqben", "cola"])
def test_a_caption_is_true_of_the_right_image(task: str) -> None:
    assert all(true_of(caption_of(question), right_and_wrong(question)[0]) for question in asked(task))


@pytest.mark.parametrize("task", ["bison", "eqben", "cola"])
def test_a_caption_is_false_of_the_wrong_image(task: str) -> None:
    assert not any(true_of(caption_of(question), right_and_wrong(question)[1]) for question in asked(task))


def test_eqben_has_equally_many_pairs_of_each_edit_and_its_captions_share_their_wording() -> None:
    questions = asked("eqben", number=80)
    assert set(Counter(question.folder for question in questions).values()) == {20}
    for first, second in zip(questions[::2], questions[1::2], strict=True):
        one, other = (Counter(re.findall(r"\w+", caption_of(question).lower())) for question in (first, second))
        assert 1 <= (one - other).total() + (other - one).total() <= 8, (caption_of(first), caption_of(second))


def test_cola_captions_hold_the_same_words_bound_otherwise() -> None:
    questions = asked("cola")
    for first, second in zip(questions[::2], questions[1::2], strict=True):
        words = [sorted(re.findall(r"\w+", caption_of(question).lower())) for question in (first, second)]
        articles = [[{"an": "a"}.get(word, word) for word in some] for some in words]
        assert sorted(articles[0]) == sorted(articles[1])


def svo_holds(sentence: str, scene: Scene) -> dict[str, bool]:
    acting = re.search(r"\ban? (\w+) (\w+ing)\b", sentence, re.IGNORECASE)
    place = re.search("|".join(SETTINGS), sentence, re.IGNORECASE)
    assert acting, sentence
    assert place, sentence
    return {
        "subject": any(item.kind == acting[1] for item in scene.items),
        "verb": any(item.action == acting[2] for item in scene.items),
        "object": scene.backdrop == SETTINGS[place[0].lower()],
    }


def test_svo_probes_change_subject_verb_or_object_in_equal_parts_and_nothing_else_of_the_sentence() -> None:
    questions = asked("svo_probes")
    assert Counter(question.category for question in questions) == {"subject": 20, "verb": 20, "object": 20}
    for question in questions:
        right, wrong = right_and_wrong(question)
        assert all(svo_holds(caption_of(question), right).values())
        assert [part for part, true in svo_holds(caption_of(question), wrong).items() if not true] == [
            question.category
        ]


@pytest.mark.parametrize(("task", "number"), [("bison", 200), ("svo_probes", 60)])
def test_a_and_b_are_right_equally_often_within_what_chance_allows(task: str, number: int) -> None:
    count = sum(question.answer == "A" for question in asked(task, number=number))
    assert abs(count - number / 2) < 3 * (number / 4) ** 0.5


def pair_statement_holds(statement: str, scenes: tuple[Scene, ...]) -> bool:
    """Read a statement about two images, without the package's own phrases."""

    def count(kind: str, scene: Scene) -> int:
        return sum(item.kind == SINGULAR[kind] for item in scene.items)

    if found := re.fullmatch(r"Both images show (.*)\.", statement):
        return all(only_claim(found[1]).true_of(scene) for scene in scenes)
    if found := re.fullmatch(r"There (?:is|are) (\w+) (\w+) in total\.", statement):
        return sum(count(found[2], scene) for scene in scenes) == NUMBERS[found[1]]
    if found := re.fullmatch(r"Image ([12]) shows more (\w+) than image ([12])\.", statement):
        more, less = (count(found[2], scenes[int(found[k]) - 1]) for k in (1, 3))
        return found[1] != found[3] and more > less
    found = re.fullmatch(r"Image ([12]) shows (.*)\.", statement)
    assert found, statement
    return only_claim(found[2]).true_of(scenes[int(found[1]) - 1])


def test_nlvr2_asks_one_true_and_one_false_statement_of_each_image_pair() -> None:
    questions = asked("nlvr2")
    for first, second in zip(questions[::2], questions[1::2], strict=True):
        assert first.scenes == second.scenes
        for question, answer in ((first, "True"), (second, "False")):
            statement = re.search("\nTrue or False: (.*)$", question.text)
            assert statement
            assert question.answer == answer == str(pair_statement_holds(statement[1], question.scenes))
            begins = {"both": "Both", "total": "There", "more": "Image", "image_1": "Image 1", "image_2": "Image 2"}
            assert statement[1].startswith(begins[question.category])
            assert (question.category == "more") == (" more " in statement[1])


@pytest.mark.parametrize("task", TASKS)
def test_scenes_have_no_more_groups_than_asked_for(task: str) -> None:
    questions = tuple(MAKERS[task](random.Random(0), 12, 2))
    # the other scene may be an edit, which sets one of two like items apart
    drawn = {right_and_wrong(q)[0] if task in ("bison", "svo_probes") else q.scenes[0] for q in questions}
    assert max(len({item.look for item in scene.items}) for scene in drawn) == 2


def test_nlvr2_counts_beyond_nine_in_two_crowded_images() -> None:
    assert len(asked("nlvr2", seed=10)) == 60


def test_nlvr2_statements_take_all_four_forms() -> None:
    text = "\n".join(question.text for question in asked("nlvr2"))
    for form in (r"Both images show", r"in total", r"shows more", r"Image [12] shows (?!more)"):
        assert len(re.findall(form, text)) > 3, form


def test_cad_qa_answers_tell_both_images_as_they_are() -> None:
    forms: Counter[str] = Counter()
    for question in asked("cad_qa", number=120):
        text, answer, scenes = question.text.split("\n")[-1], question.answer, question.scenes
        of_kind: list[dict[str, list[Item]]] = [defaultdict(list), defaultdict(list)]
        for kinds, scene in zip(of_kind, scenes, strict=True):
            for item in scene.items:
                kinds[item.kind].append(item)
        if text == "Where are the two images set?":
            told = [SETTINGS[words] for words in re.findall("|".join(SETTINGS), answer)]
            assert told in ([scene.backdrop for scene in scenes], [scenes[0].backdrop] * (2 - len(told)) or told)
            assert ("Both" in answer) == (scenes[0].backdrop == scenes[1].backdrop) == (len(told) == 1)
            forms["set"] += 1
        elif text == "Which things do both images show?":
            assert set(re.findall(r"\ban? (\w+)", answer)) == of_kind[0].keys() & of_kind[1].keys()
            forms["both"] += 1
        elif found := re.fullmatch(r"How many (\w+) are there in each image\?", text):
            numbers = [NUMBERS[word] for word in re.findall(r"shows (\w+)", answer)]
            assert numbers == [len(of_kind[k][SINGULAR[found[1]]]) for k in (0, 1)]
            forms["count"] += 1
        else:
            kind = re.search(r"the (\w+) in each image", text)[1]  # type: ignore[index]
            (first,), (second,) = (of_kind[k][kind] for k in (0, 1))
            said = re.fullmatch(rf"The {kind} is (.*) in image 1 and (.*) in image 2\.", answer)
            assert said
            for words, item in zip(said.groups(), (first, second), strict=True):
                if text.startswith("What color"):
                    assert words == item.color
                    forms["color"] += 1
                else:
                    assert dict(only_claim(f"a {kind} {words}").told)["place"] == position_word(item)
                    forms["see"] += 1
    assert len(forms) == 5


def test_single_image_questions_mix_short_answers_letters_and_verdicts() -> None:
    questions = asked("single_image")
    answers = {question.answer for question in questions}
    assert answers >= {"A", "B", "yes", "no", "True", "False"}
    assert all(len(answer.split()) <= 2 for answer in answers)
    assert len({question.text for question in questions}) > 50
    assert all(question.text.startswith("<image>\n") for question in questions)


def test_bison_captions_name_more_than_one_thing_now_and_then() -> None:
    found = [read(caption_of(question)) for question in asked("bison", number=200)]
    assert sum(len(one.claims) > 1 for one in found) > 50
