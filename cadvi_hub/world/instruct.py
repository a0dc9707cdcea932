"""Single-image and text-only conversations about scenes: they replace the LLaVA mix and train the base model.

Every conversation is a list of (question, answer) turns about one scene or one text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cadvi_hub.world import scene as graph
from cadvi_hub.world.captions import (
    NUMBERS,
    SAID,
    SETTINGS,
    Caption,
    Phrase,
    Relation,
    Setting,
    describe,
    falsify,
    find_relation,
    groups,
    join,
    make_caption,
    partial_phrase,
    plural,
    relations,
    say,
)
from cadvi_hub.world.scene import Edit, Item, Scene, Split, draw_scene, edit_scene

Turn = tuple[str, str]
DESCRIBE = ("Describe the image.", "What does the image show?", "Describe this picture in detail.")
LETTER = "Answer with the option's letter from the given choices directly."
NEAR_EDITS: tuple[Edit, ...] = ("kind", "color", "size", "fill", "action", "place", "count", "backdrop", "swap")


def _subject(rng: random.Random, item: Item, without: str) -> Phrase:
    """A phrase for `item` without the property that the question asks for."""
    names = sorted({"color", "size", "place"} - {without})
    told = rng.sample(names, rng.randint(0, 2))
    return Phrase(item.kind, **{name: getattr(item, name) for name in told})


def _unique(scene: Scene, phrase: Phrase) -> bool:
    return sum(map(phrase.fits, scene.items)) == 1


PROPERTY_QUESTIONS: dict[str, str] = {
    "color": "What color is {subject}?",
    "size": "What size is {subject}?",
    "fill": "Is {subject} plain, striped or spotted?",
    "action": "What is {subject} doing?",
    "place": "Where in the image is {subject}?",
}


def property_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """A question about one property of one item, answered in a word or two."""
    item = rng.choice(scene.items)
    names = [n for n in PROPERTY_QUESTIONS if scene.look == "sketch" or n not in ("fill", "action")]
    if item.action == "standing":
        names = [name for name in names if name != "action"]
    name = rng.choice(names)
    subject = _subject(rng, item, name)
    if not _unique(scene, subject):
        return None
    return PROPERTY_QUESTIONS[name].format(subject=subject.text("the")), getattr(item, name)


def kind_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """A question about the kind of item at a place."""
    item = rng.choice(scene.items)
    if sum(other.place == item.place for other in scene.items) > 1:
        return None
    return f"What is {Phrase('thing', place=item.place).text('the').removeprefix('the thing ')}?", item.kind


def count_turn(rng: random.Random, scene: Scene) -> Turn:
    """A question about the number of items of a kind, which can be zero."""
    item = rng.choice(scene.items)
    phrase = Phrase(item.kind, color=item.color if rng.random() < 0.4 else "")
    if rng.random() < 0.2 and (other := falsify(rng, scene, phrase)) is not None:
        phrase = other
    number = sum(map(phrase.fits, scene.items))
    named = f"{phrase.color} {plural(phrase.kind)}".strip()
    return f"How many {named} are there?", NUMBERS[number]


def setting_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """A question about the setting."""
    return ("Where is all this?", SETTINGS[scene.backdrop]) if scene.look == "sketch" else None


def relation_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """A question about the neighbour of an item."""
    item = rng.choice(scene.items)
    subject = _subject(rng, item, "place")
    if not _unique(scene, subject):
        return None
    side = rng.choice(("to the left of", "to the right of", "above", "below"))
    kinds = {other.kind for other in scene.items if side in relations(other, item)}
    return (f"What is {side} {subject.text('the')}?", kinds.pop()) if len(kinds) == 1 else None


def statement_about(rng: random.Random, scene: Scene, true: bool, near: float = 0.5) -> str | None:
    """A claim about `scene` that is true or false as requested; false ones are near misses with probability `near`."""
    form = rng.random()
    if form < 0.1 and scene.look == "sketch":
        backdrops = [b for b in SETTINGS if b != "grey" and (b == scene.backdrop) == true]
        return f"it is all {Setting(rng.choice(backdrops)).text()}"
    if form < 0.25:
        relation = find_relation(rng, scene)
        if relation is None:
            return None
        if not true:
            swapped = Relation(relation.second, relation.relation, relation.first)
            relation = swapped if not swapped.holds(scene) else None
        return relation.text() if relation else None
    phrase = partial_phrase(rng, rng.choice(groups(scene)), rng.choice((0.3, 0.6, 1.0)))
    if not true:
        false = falsify(rng, scene, phrase, edits=1 if rng.random() < near else 3)
        if false is None:
            return None
        phrase = false
    if phrase.holds(scene) != true:
        return None
    return phrase.claim()


def verify_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """Whether a claim is true; half of the answers are yes or no, half True or False."""
    true = rng.random() < 0.5
    statement = statement_about(rng, scene, true)
    return None if statement is None else asked(rng, statement, true)


def asked(rng: random.Random, statement: str, true: bool) -> Turn:
    """A question about `statement`: half of the answers are yes or no, half True or False."""
    if rng.random() < 0.5:
        if statement.startswith("there "):
            _, verb, rest = statement.split(" ", 2)
            return f"{verb.capitalize()} there {rest}?", "yes" if true else "no"
        return f"Is it right that {statement}?", "yes" if true else "no"
    sentence = statement[0].upper() + statement[1:] + "."
    return f"True or False: {sentence}", str(true)


CLAIMED = ("kind", "color", "size", "fill", "action", "place", "backdrop", "relation", "count")


def claim_turn(rng: random.Random, scene: Scene, weights: Sequence[float]) -> Turn | None:
    """Whether a claim about one property is true; a false claim differs from a true one only in that property.

    Args:
        weights: weight of each property of `CLAIMED`.
    """
    true = rng.random() < 0.5
    name = rng.choices(CLAIMED, weights)[0]
    if name == "backdrop":
        backdrops = [b for b in graph.BACKDROPS if (b == scene.backdrop) == true]
        return asked(rng, f"it is all {Setting(rng.choice(backdrops)).text()}", true)
    if name == "relation":
        relation = find_relation(rng, scene)
        if relation is not None and not true:
            relation = Relation(relation.second, relation.relation, relation.first)
        return asked(rng, relation.text(), true) if relation and relation.holds(scene) == true else None
    group = rng.choice(groups(scene))
    phrase = partial_phrase(rng, group, rng.choice((0.0, 0.3, 0.7, 1.0)) if name == "count" else 0.25)
    if name == "count":
        number = len(group) if true else rng.choice([n for n in range(1, 5) if n != len(group)])
        phrase = replace(phrase, count=number, exact=True)
    else:
        own = getattr(group[0], name)
        values = SAID["sketch"][name] if not true else (own,)
        count = 1 if name == "place" else phrase.count
        said: dict[str, Any] = {name: rng.choice([v for v in values if true or v != own])}
        phrase = replace(phrase, count=count, **said)
    return phrase_turn(rng, scene, phrase, true)


def phrase_turn(rng: random.Random, scene: Scene, phrase: Phrase, true: bool) -> Turn | None:
    """Whether there is what `phrase` says; None if that is not as `true` says, or nobody would say it."""
    silent = phrase.fill == "plain" or phrase.action == "standing"
    impossible = phrase.kind not in graph.ANIMATE and phrase.action
    if silent or impossible or phrase.holds(scene) != true:
        return None
    return asked(rng, phrase.claim(), true)


def wrong_caption(rng: random.Random, scene: Scene, caption: Caption) -> Caption | None:
    """A caption that is false for `scene`: of an edited scene, or of another one."""
    for _ in range(4):
        if rng.random() < 0.6:
            changed = [falsify(rng, scene, s) if isinstance(s, Phrase) else s for s in caption.statements]
            index = rng.randrange(len(changed))  # one statement changes, the others stay
            statements = tuple(
                (new if k == index and new is not None else old)
                for k, (old, new) in enumerate(zip(caption.statements, changed, strict=True))
            )
            other = Caption(statements, say(rng, statements))
        else:
            neighbour = edit_scene(rng, scene, rng.choice(NEAR_EDITS)) if rng.random() < 0.5 else None
            other = make_caption(rng, neighbour or draw_scene(rng, scene.split, scene.look))
        if not other.holds(scene):
            return other
    return None


def caption_turn(rng: random.Random, scene: Scene) -> Turn | None:
    """Which of two captions fits the image; the answer is a letter."""
    right = make_caption(rng, scene, rng.choice((0.4, 0.7, 1.0)))
    wrong = wrong_caption(rng, scene, right)
    if wrong is None:
        return None
    captions = [right, wrong]
    rng.shuffle(captions)
    return which_caption_turn([caption.text for caption in captions], captions.index(right))


def which_caption_turn(shown: Sequence[str], right: int) -> Turn:
    """Which of the two captions `shown` fits the image: the one with the number `right`."""
    options = "\n".join(f"{letter}. {text}" for letter, text in zip("AB", shown, strict=True))
    return f"Which caption suits the image better?\n{options}\n{LETTER}", "AB"[right]


def describe_turn(rng: random.Random, scene: Scene) -> Turn:
    """The whole scene in words."""
    return rng.choice(DESCRIBE), describe(scene).text


TURNS: tuple[tuple[float, Callable[[random.Random, Scene], Turn | None]], ...] = (
    (0.22, property_turn),
    (0.08, kind_turn),
    (0.08, count_turn),
    (0.03, setting_turn),
    (0.05, relation_turn),
    (0.34, verify_turn),
    (0.20, caption_turn),
)


def short_turns(rng: random.Random, scene: Scene, number: int) -> list[Turn]:
    """`number` different short questions about `scene`."""
    weights, makers = zip(*TURNS, strict=True)
    turns: dict[str, Turn] = {}
    while len(turns) < number:
        turn = rng.choices(makers, weights)[0](rng, scene)
        if turn is not None:
            turns[turn[0]] = turn
    return list(turns.values())


def image_conversation(rng: random.Random, scene: Scene, describe_share: float = 0.15) -> list[Turn]:
    """A conversation about one picture: short questions, and with probability `describe_share` a description."""
    turns = short_turns(rng, scene, rng.randint(1, 4))
    if rng.random() < describe_share:
        turns.insert(rng.randint(0, len(turns)), describe_turn(rng, scene))
    return turns


def _which_text(rng: random.Random, scenes: tuple[Scene, Scene], texts: list[str]) -> Turn | None:
    phrases = [partial_phrase(rng, rng.choice(groups(scene)), 0.6) for scene in scenes]
    which = rng.randrange(2)
    phrase = phrases[which]
    if not phrase.holds(scenes[which]) or phrase.holds(scenes[1 - which]):
        return None
    return (
        f"Text 1: {texts[0]}\nText 2: {texts[1]}\nWhich text mentions {phrase.text()}? Answer 1 or 2.",
        str(which + 1),
    )


def _compare_texts(rng: random.Random, scenes: tuple[Scene, Scene], texts: list[str]) -> Turn:
    kinds = [list(dict.fromkeys(item.kind for item in scene.items)) for scene in scenes]
    both = [kind for kind in kinds[0] if kind in kinds[1]]
    only = [[kind for kind in one if kind not in other] for one, other in (kinds, kinds[::-1])]
    named = [join(some) if some else "nothing" for some in (both, *only)]
    answer = f"Both mention {named[0]}. Only text 1 mentions {named[1]}. Only text 2 mentions {named[2]}."
    return f"Text 1: {texts[0]}\nText 2: {texts[1]}\nWhat do the texts share, and what not?", answer


def text_conversation(rng: random.Random, split: Split) -> list[Turn]:
    """Reading practice without a picture: look up, copy and compare, as an LLM can before it sees an image."""
    while True:
        first = draw_scene(rng, split)
        if rng.random() < 0.35:
            turns = [t for t in short_turns(rng, first, 3) if "image" not in t[0]]
            if turns:
                return [(f"{describe(first).text}\n{turns[0][0]}", turns[0][1]), *turns[1:]]
            continue
        near = edit_scene(rng, first, rng.choice(NEAR_EDITS)) if rng.random() < 0.5 else None
        scenes = (first, near or draw_scene(rng, split))
        texts = [describe(scene).text for scene in scenes]
        turn = _compare_texts(rng, scenes, texts) if rng.random() < 0.4 else _which_text(rng, scenes, texts)
        if turn is not None:
            return [turn]
