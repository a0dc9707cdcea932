"""The words by which statements and graphs are compared: a small closed list, because no thesaurus works offline.

Not handled: other synonyms (sofa and couch, bike and bicycle), compounds with a misleading head (a hot dog counts as a
dog), and shades (navy, crimson), which are in no class.
"""

from __future__ import annotations

PERSON = "person people human man woman child boy girl kid baby lady guy gentleman player skier surfer rider"
ANIMAL = "animal dog cat bird fish horse cow sheep elephant bear zebra giraffe goat duck rabbit puppy kitten"

# A word and the narrower ones that it covers; a statement may be more general than the graph.
NARROWER = {
    "person": set(PERSON.split()),
    "people": set(PERSON.split()),
    "human": set(PERSON.split()),
    "man": {"guy", "gentleman", "boy"},
    "woman": {"lady", "girl"},
    "child": {"boy", "girl", "kid", "baby"},
    "kid": {"child", "boy", "girl", "baby"},
    "animal": set(ANIMAL.split()),
    "dog": {"puppy"},
    "cat": {"kitten"},
    "vehicle": {"car", "truck", "bus", "van", "motorcycle", "bicycle", "train", "boat"},
    "building": {"house", "skyscraper", "church", "tower"},
    "plant": {"tree", "flower", "bush"},
}
# Names of more than one thing: a graph that uses them does not say how many there are.
GROUPS = {"people", "crowd", "group", "herd", "flock", "family", "team", "couple", "pair", "bunch"}
# Nouns that name a property, not a thing in the picture.
PROPERTIES = {"size", "shape", "pattern", "pose", "position", "location", "action", "count", "look"}
# Words before a noun that claim nothing a graph could confirm or deny.
EMPTY = set("no and several many few multiple various numerous single both also only visible".split())  # noqa: SIM905

_SAME = {
    "gray": "grey", "silver": "grey", "golden": "yellow", "beige": "brown", "tan": "brown",
    "large": "big", "huge": "big", "little": "small", "tiny": "small", "medium-sized": "medium",
    "spotty": "spotted", "dotted": "spotted", "stripy": "striped", "stripey": "striped",
}  # fmt: skip
COLORS = set("red orange yellow green blue purple pink brown black white grey".split())  # noqa: SIM905
SIZES = {"small", "medium", "big"}
PATTERNS = {"plain", "striped", "spotted"}
CLASSES = (COLORS, SIZES, PATTERNS)
# Colours that two people may call by each other's name.
_NEIGHBOURS = {
    frozenset(pair.split())
    for pair in ("red orange", "red pink", "red brown", "orange yellow", "orange brown", "yellow brown", "blue purple",
                 "pink purple", "blue green", "grey white", "grey black", "grey blue", "grey brown", "yellow white")
}  # fmt: skip

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above", "front": "behind", "behind": "front"}
DIRECTIONS = {"left", "right", "above", "below"}
PLACES = {"top", "bottom", "left", "right", "center"}
_BESIDE = {"beside", "next to", "near", "by", "close to", "adjacent to"}


def canonical(word: str) -> str:
    """The usual word for a colour, size or pattern; other words unchanged."""
    return _SAME.get(word, word)


def excludes(claimed: str, known: set[str]) -> bool:
    """Whether the `known` words of a thing rule out `claimed`: it has another colour, size or pattern."""
    of_class = next((words for words in CLASSES if claimed in words), set())
    return bool(of_class & known) and claimed not in known


def alike(claimed: str, known: set[str]) -> bool:
    """Whether one of the `known` words is a colour that another viewer might call `claimed`."""
    return any(frozenset((claimed, word)) in _NEIGHBOURS for word in known)


def direction(predicate: str) -> str:
    """One word for a predicate of place: left, right, above, below, front, behind, beside; others unchanged."""
    words = predicate.split()
    for side in ("left", "right"):
        if side in words:
            return side
    if predicate in _BESIDE:
        return "beside"
    for word, names in (("above", {"above", "over"}), ("below", {"below", "under", "beneath", "underneath"})):
        if names & set(words):
            return word
    if predicate == "on top of":
        return "on"
    return "front" if "front" in words else "behind" if "behind" in words else predicate


def same_action(action: str, words: set[str]) -> bool:
    """Whether `action` ("riding") is among `words` in some form ("ride", "rides", "riding")."""
    stem = action.removesuffix("ing")
    others = (word.removesuffix("ing").removesuffix("s") for word in words)
    return any(min(len(stem), len(o)) >= 3 and (stem.startswith(o) or o.startswith(stem)) for o in others)
