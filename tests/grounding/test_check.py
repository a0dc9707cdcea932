"""Statements against scene graphs: true ones are supported, changed ones are caught, and the rest is unknown."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from cadvi_hub.annotation.filters import DropReason, check_grounded
from cadvi_hub.annotation.mentions import Mentions
from cadvi_hub.core.scene_graph import GraphObject, SceneGraph
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.check import Grounding, check_grounding
from cadvi_hub.grounding.claims import read_claims
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.world.captions import RELATIONS, Phrase, Relation, describe_item, falsify, find_relation, make_caption
from cadvi_hub.world.ground_truth import graph_of
from cadvi_hub.world.scene import Scene, draw_scene

S, C, U = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNKNOWN
MENTIONS = Mentions()


def graph(
    *objects: tuple[str, str], relations: tuple[Any, ...] = (), complete: bool = False, **boxes: Any
) -> SceneGraph:
    """A graph from names and attributes, `("man, person", "old, tall")`; boxes by first name."""
    made = []
    for names, attributes in objects:
        words = tuple(names.split(", "))
        given = tuple(word for word in attributes.split(", ") if word)
        made.append(GraphObject(words, given, box=boxes.get(words[0])))
    return SceneGraph(tuple(made), relations, complete)


STREET = graph(
    ("man", "old, tall"), ("car", "red"), ("dog", "brown"), ("dog", ""), ("bench", "wooden"), ("person", ""),
    relations=((0, "riding", 1), (2, "on", 4), (4, "to the left of", 1)),
    man=(0, 0, 10, 40), car=(60, 10, 30, 20),
)  # fmt: skip
PARK = graph(("tree", ""), ("people", ""), ("shirt", "white"), ("woman", "young"), ("cup", "light blue"))


def check(text: str, graphs: tuple[SceneGraph, SceneGraph] = (STREET, PARK)) -> Grounding:
    return check_grounding(CadSummary("", (Difference(Aspect.OBJECT_TYPES, text),)), graphs)


def verdicts(text: str, graphs: tuple[SceneGraph, SceneGraph] = (STREET, PARK)) -> list[Verdict]:
    return [statement.verdict for statement in check(text, graphs).statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Image 1 shows a red car and a wooden bench, while image 2 shows a tree.", [S, S, S]),
        ("Image 1 shows a blue car.", [C]),  # the only car is red
        ("Image 1 shows an orange car.", [U]),  # some call it red
        ("Image 1 shows a black dog.", [U]),  # nobody gave the colour of the other dog
        ("The car is blue in image 1.", [C]),
        ("The shirt in image 2 is black and white.", [U]),  # white was given, black was not
        ("Image 2 shows a blue cup.", [S]),  # "light blue"
        ("Image 1 shows a big car.", [U]),
        ("Image 1 shows a zebra, image 2 shows two trees.", [U, U]),  # an incomplete graph proves no absence
        ("Image 1 shows two dogs.", [S]),
        ("Image 1 shows three dogs.", [U]),
        ("Image 2 shows one person.", [U]),  # "people" are no number
        ("Image 1 shows an old person, an animal and a vehicle.", [S, S, S]),
        ("Image 1 shows a young woman.", [U]),  # the "person" may be one
        ("The man in image 1 is riding a car.", [S, S]),
        ("The man in image 1 is eating.", [U]),
        ("In image 1 a bench is to the left of a car.", [S]),
        ("In image 1, a car is to the right of a bench.", [S]),  # the converse of what the graph has
        ("In image 1 a man is to the left of a car.", [S]),  # by their boxes
        ("In image 1 a car is to the left of a bench.", [C]),
        ("In image 1 a car is to the left of a man.", [U]),  # of the "person", perhaps
        ("In image 1 a car is to the left of a dog.", [U]),
        ("Image 2 shows no dog.", [U]),
        ("There is no car in the first image.", [C]),
        ("Only image 2 shows a car.", [C]),
        ("Only image 2 shows two dogs, only image 1 shows three trees.", [C, U]),
        ("Image 1 has more dogs than image 2.", [U]),
        ("The dogs look happy.", [U]),
    ],
)
def test_an_incomplete_graph_supports_contradicts_or_leaves_open(text: str, expected: list[Verdict]) -> None:
    assert verdicts(text) == expected


SCENES = (
    graph(
        ("cat", "red, small, plain, sleeping"), ("cat", "blue, small, plain, sleeping"), ("grass", ""), complete=True
    ),
    graph(("cat", "red, big, eating"), ("girl", "blue, small, eating"), ("snow", ""), complete=True),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Image 1 shows a zebra.", [C]),
        ("Image 2 shows no zebra.", [S]),
        ("Image 1 shows one cat and image 2 shows two.", [C, C]),
        ("Two cats in image 1, one in image 2.", [S, S]),
        ("Image 1 shows a big cat and a small red cat eating.", [C, C]),
        ("Image 1 shows two small cats sleeping.", [S]),
        ("Image 1 shows a furry cat.", [U]),  # no word that the graph could have
        ("Image 2 shows a child and a person.", [S, S]),
        ("Only image 2 shows a girl, while only image 1 shows a cat.", [S, C]),
        ("Only image 1 shows two cats.", [S]),  # image 2 has one
        ("Only image 2 shows one cat, while only image 2 shows one blue cat.", [S, C]),
        ("Image 1 is on the grass, while image 2 is on the street.", [S, C]),
        ("The cat is red in both images.", [S]),
        ("The cat is blue in both images.", [C]),
        ("A cat is in image 1, none in image 2.", [S, C]),
    ],
)
def test_a_complete_graph_also_proves_absence(text: str, expected: list[Verdict]) -> None:
    assert verdicts(text, SCENES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Image 1 shows a red cat, while image 2 shows a red cat.", [C, C]),  # right, but no difference
        ("Image 1 shows a blue cat, while image 2 shows a girl.", [S, S]),
        ("Image 1 shows two cats.", [S]),
        ("Image 1 shows no girl.", [None]),
        ("Image 1 is brighter.", [None]),
    ],
)
def test_what_a_difference_says_of_one_image_must_not_be_shown_by_the_other(
    text: str, expected: list[Verdict | None]
) -> None:
    assert [statement.difference for statement in check(text, SCENES).statements] == expected
    common = check_grounding(CadSummary("Image 1 shows a red cat.", ()), SCENES)
    assert [statement.difference for statement in common.statements] == [None]


def test_sentences_are_cut_where_they_turn_to_the_other_image() -> None:
    text = (
        "Image 1 shows women, a newspaper and a bicycle, while Image 2 shows a man and 2 pigeons. There are two "
        "people in Image 1 and a dog in Image 2. Image A: a kite; the second picture has none."
    )
    read = [(claim.text, claim.shown_in, claim.absent_from) for claim in read_claims(text, common=False)]
    assert read == [
        ("woman", (0,), ()), ("newspaper", (0,), ()), ("bicycle", (0,), ()), ("man", (1,), ()),
        ("two pigeons", (1,), ()), ("two people", (0,), ()), ("dog", (1,), ()), ("kite", (0,), ()),
        ("no kite", (), (1,)),
    ]  # fmt: skip


def test_a_commonality_must_hold_in_both_images_and_is_counted_apart() -> None:
    summary = CadSummary("Both images show a cat. A girl.", (Difference(Aspect.COUNTS, "Image 1 shows two cats."),))
    grounding = check_grounding(summary, SCENES)
    assert grounding.counts == {"Commonalities": Counter({S: 1, C: 1}), "Counts": Counter({S: 1})}
    assert grounding.share(C) == pytest.approx(1 / 3)


def drawn(rng: random.Random, number: int) -> list[Scene]:
    return [draw_scene(rng, "train", "boxes" if index % 6 == 5 else "sketch") for index in range(number)]


def pairs(seed: int, number: int) -> list[tuple[CadSummary, tuple[SceneGraph, SceneGraph]]]:
    rng = random.Random(seed)
    made = []
    for first, second in zip(drawn(rng, number), drawn(rng, number), strict=True):
        captions = make_caption(rng, first).text, make_caption(rng, second).text
        made.append((MENTIONS.summarize(captions), (graph_of(first), graph_of(second))))
    return made


def test_what_true_captions_say_is_supported() -> None:
    total: Counter[str] = Counter()
    for summary, graphs in pairs(3, 150):
        for verdicts in check_grounding(summary, graphs).counts.values():
            total += verdicts
    # What little is contradicted is wrong indeed: "two cats sleeping", where a third sleeps and is of another colour
    assert total[S] >= 0.99 * total.total()
    assert total.total() > 1000


def test_summaries_of_swapped_images_are_caught() -> None:
    swapped = [check_grounding(summary, graphs[::-1]) for summary, graphs in pairs(4, 40) if summary.differences]
    assert sum(grounding.share(C) > 0 for grounding in swapped) >= 0.95 * len(swapped)


def test_a_phrase_with_one_wrong_word_is_caught() -> None:
    rng = random.Random(5)
    caught: Counter[Verdict] = Counter()
    for scene in drawn(rng, 150):
        true = describe_item(rng.choice(scene.items), place=False)
        wrong = falsify(rng, scene, true)
        graphs = graph_of(scene), graph_of(scene)
        assert verdicts(f"Image 1 shows {true.text()}.", graphs) == [S], true.text()
        if wrong is not None:
            caught[verdicts(f"Image 1 shows {wrong.text()}.", graphs)[0]] += 1
    assert caught[C] >= 0.98 * caught.total()
    assert caught.total() > 100


def test_a_wrong_number_and_a_wrong_relation_are_caught() -> None:
    rng = random.Random(6)
    for scene in drawn(rng, 60):
        graphs = graph_of(scene), graph_of(scene)
        for count in (2, 3, 4):
            phrase = Phrase(rng.choice(scene.items).kind, count)
            assert verdicts(f"Image 2 shows {phrase.text()}.", graphs) == [S if phrase.holds(scene) else C]
        true = find_relation(rng, scene)
        for word in RELATIONS if true else ():
            assert true is not None
            relation = Relation(true.first, word, true.second)
            assert verdicts(f"In image 2 {relation.text()}.", graphs) == [S if relation.holds(scene) else C]


def test_a_summary_is_dropped_when_too_much_of_it_is_contradicted() -> None:
    half_wrong = check("Image 1 shows a cat and a zebra.", SCENES)
    dropped = check_grounded(half_wrong, max_contradicted=0.4)
    assert dropped is not None
    assert dropped.reason == DropReason.UNGROUNDED
    assert dropped.detail == "50% of the statements, first Object types: 'zebra'"
    assert check_grounded(half_wrong, max_contradicted=0.5) is None
    assert check_grounded(check("Image 1 shows a cat.", SCENES), max_contradicted=0.0) is None
