"""What can be said about a scene in English, and whether it is true."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cadvi_hub.world.scene import (
    ACTIONS,
    ANIMATE,
    BOX_COLORS,
    BOX_SIZES,
    COLORS,
    FILLS,
    SHAPES,
    SKETCH_SIZES,
    THINGS,
    Item,
    Look,
    Scene,
)

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = {"fish": "fish", "box": "boxes"}
PLACES = {
    "top left": "at the top left",
    "top": "at the top",
    "top right": "at the top right",
    "left": "on the left",
    "center": "in the center",
    "right": "on the right",
    "bottom left": "at the bottom left",
    "bottom": "at the bottom",
    "bottom right": "at the bottom right",
}
SETTINGS = {
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "street": "on the street",
    "desert": "in the desert",
    "water": "on the water",
    "grey": "on a grey ground",
}
SAY_ONE = 0.25  # how often "one cat" is said for a single one
RELATIONS = ("to the left of", "to the right of", "above", "below")
_SKETCH: dict[str, tuple[str, ...]] = {
    "kind": ANIMATE + THINGS,
    "color": COLORS,
    "size": SKETCH_SIZES,
    "fill": FILLS[1:],
    "action": ACTIONS[1:],
    "place": tuple(PLACES),
}
# The words that a caption of each look can have for a property.
SAID: dict[Look, dict[str, tuple[str, ...]]] = {
    "sketch": _SKETCH,
    "boxes": _SKETCH | {"kind": SHAPES, "color": BOX_COLORS, "size": BOX_SIZES},
}


def plural(kind: str) -> str:
    """Plural of a kind of item."""
    return PLURALS.get(kind, kind + "s")


def join(parts: Sequence[str], last: str = " and ") -> str:
    """ "a", "a and b", "a, b and c"."""
    return last.join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase; empty fields are not said.

    "a …" claims at least one such item, a number exactly that many; `exact` makes "a …" into "one …".
    """

    kind: str
    count: int = 1
    color: str = ""
    size: str = ""
    fill: str = ""
    action: str = ""
    place: str = ""
    exact: bool = False

    def fits(self, item: Item) -> bool:
        """Whether the phrase describes `item`."""
        said = (self.kind, self.color, self.size, self.fill, self.action, self.place)
        return all(not word or word == value for word, value in zip(said, (*item.look, item.place), strict=True))

    def holds(self, scene: Scene) -> bool:
        """Whether the phrase is true of `scene`."""
        number = sum(map(self.fits, scene.items))
        return number == self.count if self.exact or self.count > 1 else number >= 1

    def text(self, article: str = "a") -> str:
        """The phrase in words, "a small striped red cat sleeping at the top left"."""
        fill = "" if self.fill == "plain" else self.fill
        words = [self.size, fill, self.color, self.kind if self.count == 1 else plural(self.kind)]
        named = " ".join(word for word in words if word)
        if self.count != 1 or (self.exact and article == "a"):
            article = NUMBERS[self.count]
        elif article == "a" and named[0] in "aeiou":
            article = "an"
        action = "" if self.action == "standing" else self.action
        tail = [action, PLACES[self.place] if self.place else ""]
        return " ".join(word for word in (article, named, *tail) if word)

    def claim(self) -> str:
        """That there is what the phrase says, "there are two red cats"."""
        return f"there {'is' if self.count == 1 else 'are'} {self.text()}"


@dataclass(frozen=True, slots=True)
class Relation:
    """Two items and their relation; true if any two such items of the scene have it."""

    first: Phrase
    relation: str
    second: Phrase

    def holds(self, scene: Scene) -> bool:
        """Whether the relation is true of `scene`."""
        return any(
            self.first.fits(a) and self.second.fits(b) and self.relation in relations(a, b)
            for a in scene.items
            for b in scene.items
            if a is not b
        )

    def text(self, article: str = "a") -> str:
        """The relation in words, "a cat is above a red ball"."""
        return f"{self.first.text(article)} is {self.relation} {self.second.text(article)}"


@dataclass(frozen=True, slots=True)
class Setting:
    """The place of the whole scene."""

    backdrop: str

    def holds(self, scene: Scene) -> bool:
        """Whether `scene` has this backdrop."""
        return scene.backdrop == self.backdrop

    def text(self, article: str = "a") -> str:
        """The setting in words, "on the beach"."""
        return SETTINGS[self.backdrop]


Statement = Phrase | Relation | Setting


def relations(first: Item, second: Item) -> tuple[str, ...]:
    """The relations of `first` to `second`, by whole cells."""
    (row, column), (other_row, other_column) = first.cell, second.cell
    sideways = ("to the left of",) if column < other_column else ("to the right of",) if column > other_column else ()
    upright = ("above",) if row < other_row else ("below",) if row > other_row else ()
    return sideways + upright


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption: its statements and its text."""

    statements: tuple[Statement, ...]
    text: str

    def holds(self, scene: Scene) -> bool:
        """Whether everything in the caption is true of `scene`."""
        return all(statement.holds(scene) for statement in self.statements)


def groups(scene: Scene) -> list[list[Item]]:
    """The items in reading order, grouped by equal look."""
    found: dict[tuple[str, ...], list[Item]] = {}
    for item in scene.items:
        found.setdefault(item.look, []).append(item)
    return list(found.values())


def describe_item(item: Item, place: bool = True) -> Phrase:
    """All properties of one item."""
    return Phrase(item.kind, 1, item.color, item.size, item.fill, item.action, item.place if place else "")


def partial_phrase(rng: random.Random, group: Sequence[Item], tell: float) -> Phrase:
    """What a person may say about a group of equal items: each property with probability `tell`."""
    item = group[0]

    def told(value: str) -> str:
        return value if rng.random() < tell else ""

    return Phrase(
        item.kind,
        len(group),
        told(item.color),
        told(item.size),
        told(item.fill) if item.fill != "plain" else "",
        told(item.action) if item.action != "standing" else "",
        told(item.place) if len(group) == 1 else "",
        exact=len(group) == 1 and rng.random() < SAY_ONE,
    )


def find_relation(rng: random.Random, scene: Scene, tell_color: float = 0.5) -> Relation | None:
    """A true relation between two items of different kinds, or None."""
    pairs = [(a, b) for a in scene.items for b in scene.items if a.kind != b.kind and relations(a, b)]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    color = rng.random() < tell_color
    phrases = [Phrase(item.kind, color=item.color if color else "") for item in (first, second)]
    return Relation(phrases[0], rng.choice(relations(first, second)), phrases[1])


def say(rng: random.Random, statements: Iterable[Statement]) -> str:
    """Statements as one or two English sentences; the wording is drawn at random."""
    statements = list(statements)
    phrases = [s for s in statements if isinstance(s, Phrase)]
    setting = next((s.text() for s in statements if isinstance(s, Setting)), "")
    listed = join([phrase.text() for phrase in phrases])
    sentences: list[str] = []
    if phrases:
        verb = "is" if phrases[0].count == 1 else "are"
        openings = [f"There {verb} {listed}", f"The picture shows {listed}", f"We see {listed}", listed]
        sentence = rng.choice(openings)
        if setting and rng.random() < 0.5:
            sentence = f"{setting}, {rng.choice((f'there {verb} ', 'we see '))}{listed}"
            setting = ""
        sentences.append(sentence)
    if setting:
        sentences.append(f"{'it' if sentences else 'the picture'} is all {setting}")
    sentences += [s.text() for s in statements if isinstance(s, Relation)]
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def make_caption(rng: random.Random, scene: Scene, tell: float = 0.6) -> Caption:
    """A caption as a person might write it: true, but rarely complete.

    Args:
        tell: probability of each property of an item, and of the setting; items are named with probability
            (1 + tell) / 2.
    """
    named = [group for group in groups(scene) if rng.random() < (1 + tell) / 2] or [rng.choice(groups(scene))]
    statements: list[Statement] = [_true_phrase(rng, scene, group, tell) for group in named]
    if scene.look == "sketch" and rng.random() < tell:
        statements.append(Setting(scene.backdrop))
    if rng.random() < tell / 2 and (relation := find_relation(rng, scene)) is not None:
        statements.append(relation)
    return Caption(tuple(statements), say(rng, statements))


def _true_phrase(rng: random.Random, scene: Scene, group: Sequence[Item], tell: float) -> Phrase:
    """A partial phrase, or a full one if the partial count would be wrong ("two cats" for two red and a blue one)."""
    phrase = partial_phrase(rng, group, tell)
    return phrase if phrase.holds(scene) else describe_item(group[0])


def describe(scene: Scene) -> Caption:
    """A complete caption: each item with all its properties in reading order, then the setting."""
    phrases = [describe_item(item) for item in scene.items]
    setting = Setting(scene.backdrop)
    text = f"{join([phrase.text() for phrase in phrases])}. It is all {setting.text()}."
    return Caption((*phrases, setting), text[0].upper() + text[1:])


def falsify(rng: random.Random, scene: Scene, phrase: Phrase, edits: int = 1) -> Phrase | None:
    """`phrase` with `edits` of its words changed so that it is false of `scene`; None if no draw gives one."""
    values = SAID[scene.look]
    said = [name for name in values if getattr(phrase, name) not in ("", "plain", "standing")]
    for _ in range(8):
        changed = phrase
        for name in rng.sample(said, min(edits, len(said))):
            choices = [value for value in values[name] if value != getattr(phrase, name)]
            wrong: dict[str, Any] = {name: rng.choice(choices)}
            changed = replace(changed, **wrong)
        if changed.kind not in ANIMATE and changed.action not in ("", "standing"):
            changed = replace(changed, action="")
        if not changed.holds(scene):
            return changed
    return None
