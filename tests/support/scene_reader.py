"""Whether an English sentence about scenes is true, read from its words and the bare item fields alone.

Written without the package's own captions and phrases, so that tests can hold those against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cadvi_hub.world.scene import Item, Scene, make_scene

NUMBERS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
KINDS = (
    "cat dog bird fish girl car house tree ball star cup boat flower box circle square triangle thing".split()  # noqa: SIM905
)
SINGULAR = {kind: kind for kind in KINDS} | {kind + "s": kind for kind in KINDS} | {"boxes": "box"}
SETTINGS = {
    "on the grass": "grass",
    "on the beach": "beach",
    "in the snow": "snow",
    "on the street": "street",
    "in the desert": "desert",
    "on the water": "water",
    "on a grey ground": "grey",
}
# longest first, as alternatives are tried in order
PLACES = "top left|top right|bottom left|bottom right|top|bottom|left|right|center"
PHRASE = re.compile(
    rf"\b(?P<article>a|an|the|{'|'.join(NUMBERS)})"
    r"(?: (?P<size>small|medium|big))?(?: (?P<fill>plain|striped|spotted))?"
    r"(?: (?P<color>red|blue|green|yellow|purple|orange|black|white))?"
    rf" (?P<kind>{'|'.join(sorted(SINGULAR, key=len, reverse=True))})\b"
    r"(?: (?P<action>standing|sleeping|jumping|running|eating))?"
    rf"(?: (?:at|on|in) the (?P<place>{PLACES})\b)?",
    re.IGNORECASE,
)
RELATION = re.compile(r"(.+) is (to the left of|to the right of|above|below) (.+)", re.IGNORECASE)
SETTING = re.compile(rf"\b(?:{'|'.join(SETTINGS)})\b", re.IGNORECASE)
FRAME = re.compile(
    r"\b(?:there (?:is|are)|the picture shows|we see|(?:it|the picture) is all|and)\b|[,.\s]", re.IGNORECASE
)


@dataclass(frozen=True)
class Claim:
    """A noun phrase as its words stand; "" where a property is not told."""

    number: int | None  # None for "a": one or more
    kind: str
    told: tuple[tuple[str, str], ...]

    def fits(self, item: Item) -> bool:
        kind = self.kind in ("thing", item.kind)
        return kind and all(position_word(item) == v if n == "place" else getattr(item, n) == v for n, v in self.told)

    def true_of(self, scene: Scene) -> bool:
        found = sum(self.fits(item) for item in scene.items)
        return found >= 1 if self.number is None else found == self.number


@dataclass(frozen=True)
class Read:
    """All that a caption claims."""

    claims: tuple[Claim, ...]
    settings: tuple[str, ...]
    relations: tuple[tuple[Claim, str, Claim], ...]

    def true_of(self, scene: Scene) -> bool:
        return (
            all(claim.true_of(scene) for claim in self.claims)
            and all(setting == scene.backdrop for setting in self.settings)
            and all(related(scene, *relation) for relation in self.relations)
        )


def thirds(item: Item) -> tuple[int, int]:
    """Row and column of the item's centre."""
    return tuple(0 if part < 1 / 3 else 1 if part < 2 / 3 else 2 for part in (item.y, item.x))  # type: ignore[return-value]


def position_word(item: Item) -> str:
    row, column = thirds(item)
    return f"{('top', '', 'bottom')[row]} {('left', '', 'right')[column]}".strip() or "center"


def stands(first: Item, relation: str, second: Item) -> bool:
    (row, column), (other_row, other_column) = thirds(first), thirds(second)
    return {
        "to the left of": column < other_column,
        "to the right of": column > other_column,
        "above": row < other_row,
        "below": row > other_row,
    }[relation]


def related(scene: Scene, first: Claim, relation: str, second: Claim) -> bool:
    return any(
        first.fits(a) and second.fits(b) and stands(a, relation, b)
        for a in scene.items
        for b in scene.items
        if a is not b
    )


def claim(found: re.Match[str]) -> Claim:
    words = {name: (value or "").lower() for name, value in found.groupdict().items()}
    told = tuple((name, words[name]) for name in ("size", "fill", "color", "action", "place") if words[name])
    return Claim(NUMBERS.get(words["article"]), SINGULAR[words["kind"]], told)


def only_claim(text: str) -> Claim:
    """The claim of a text that is one noun phrase."""
    found = PHRASE.fullmatch(text)
    assert found, f"not a noun phrase: {text!r}"
    return claim(found)


def read(text: str) -> Read:
    """The claims of a caption; a word that none of them covers fails the test."""
    claims: list[Claim] = []
    settings: list[str] = []
    relations: list[tuple[Claim, str, Claim]] = []
    for sentence in filter(None, re.split(r"\.\s*", text)):
        relation = RELATION.fullmatch(sentence)
        if relation:
            relations.append((only_claim(relation[1]), relation[2].lower(), only_claim(relation[3])))
            continue
        settings += [SETTINGS[found.lower()] for found in SETTING.findall(sentence)]
        rest = SETTING.sub("", sentence)
        claims += [claim(found) for found in PHRASE.finditer(rest)]
        left = FRAME.sub("", PHRASE.sub("", rest))
        assert not left, f"cannot read {left!r} in {sentence!r}"
    return Read(tuple(claims), tuple(settings), tuple(relations))


def true_of(text: str, scene: Scene) -> bool:
    """Whether all that `text` claims is true of `scene`."""
    return read(text).true_of(scene)


def described(text: str) -> Scene:
    """The scene that a full description tells of, each item in the middle of its ninth."""
    found = read(text)
    items = []
    for one in found.claims:
        told = dict(one.told)
        place = told.pop("place")
        row = 0 if "top" in place else 2 if "bottom" in place else 1
        column = 0 if "left" in place else 2 if "right" in place else 1
        items.append(Item((row + 0.5) / 3, (column + 0.5) / 3, one.kind, **told))
    (backdrop,) = found.settings
    return make_scene(items, backdrop)
