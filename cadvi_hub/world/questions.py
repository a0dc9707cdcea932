"""Questions about scenes as rows of each benchmark's question file (`image`, `text`, `answer`, `question_id`).

Answers are true of the scene graphs. The scenes belong to one split, the evaluation split unless a maker is told
otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from cadvi_hub.world import scene as graph
from cadvi_hub.world.captions import Phrase, Relation, Setting, Statement, make_caption, partial_phrase, relations, say
from cadvi_hub.world.comparisons import PairStatement, open_turn, pair_statement
from cadvi_hub.world.instruct import LETTER, caption_turn, count_turn, kind_turn, property_turn, verify_turn
from cadvi_hub.world.scene import ANIMATE, BACKDROPS, Edit, Item, Scene, Split, draw_scene, edit_scene, make_scene

PAIR_PROMPT = "Image 1: <image>\nImage 2: <image>\n"
SILENT = ("plain", "standing")
VERBS = ("sleeping", "jumping", "running", "eating")


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a question file, and the scenes of its images."""

    question_id: str
    scenes: tuple[Scene, ...]
    text: str
    answer: str
    folder: str = ""
    category: str = ""


class Scenes(NamedTuple):
    """Where a set's scenes come from: their split, and their largest number of groups of equal items."""

    split: Split
    max_groups: int

    def draw(self, rng: random.Random) -> Scene:
        """A random one of them."""
        return draw_scene(rng, self.split, max_groups=self.max_groups)


def which_image(caption: str) -> str:
    """The question of BISON, SVO Probes, EQBEN and COLA."""
    return f'{PAIR_PROMPT}Which image suits the caption "{caption}" better?\nA. Image 1\nB. Image 2\n{LETTER}'


def _ordered(rng: random.Random, right: Scene, wrong: Scene) -> tuple[tuple[Scene, Scene], str]:
    return ((right, wrong), "A") if rng.random() < 0.5 else ((wrong, right), "B")


def _related(rng: random.Random, scene: Scene, scenes: Scenes) -> Scene:
    """A scene that is similar to `scene`: two edits away, or another scene with the same kinds of items."""
    if rng.random() < 0.5:
        first = edit_scene(rng, scene, rng.choice(("color", "place", "kind", "size")))
        second = first and edit_scene(rng, first, rng.choice(("action", "fill", "color", "backdrop", "place")))
        if second and second.digest != scene.digest:  # the second edit may undo the first
            return second
    while True:
        other = scenes.draw(rng)
        kinds = [item.kind for item in scene.items]
        items = [replace(item, kind=rng.choice(kinds)) for item in other.items]
        items = [item if item.kind in ANIMATE else replace(item, action="standing") for item in items]
        renamed = make_scene(items, other.backdrop)
        if renamed.split == scenes.split and renamed.digest != scene.digest:
            return renamed


def _bison(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """One caption and two similar images (BISON: COCO captions and near neighbours)."""
    scene = source.draw(rng)
    other = _related(rng, scene, source)
    caption = make_caption(rng, scene, 0.7)
    if caption.holds(other):
        return []
    scenes, answer = _ordered(rng, scene, other)
    return [Question(str(count), scenes, which_image(caption.text), answer)]


def _acting(rng: random.Random, subject: str, verb: str, backdrop: str, source: Scenes) -> Scene | None:
    """Somebody who does something somewhere, among other things; None if the scene is in the other split."""
    scene = draw_scene(rng, "train", max_groups=source.max_groups)  # only material for another scene
    items = [item for item in scene.items if item.kind not in ANIMATE]
    kept = {item.look for item in items[: source.max_groups - 1]}  # the actor is a group of its own
    items = [item for item in items if item.look in kept]
    free = [cell for cell in graph.CELLS if cell not in {item.cell for item in items}]
    row, column = rng.choice(free)
    color, size, fill = rng.choice(graph.COLORS), rng.choice(graph.SKETCH_SIZES), rng.choice(graph.FILLS)
    actor = Item((row + 0.5) / 3, (column + 0.5) / 3, subject, color, size, fill, verb)
    acted = make_scene([*items, actor], backdrop)
    return acted if acted.split == source.split else None


def _svo_probes(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """A sentence, its image, and an image with another subject, verb or object (a third each)."""
    others: dict[str, tuple[str, ...]] = {"subject": ANIMATE, "verb": VERBS, "object": BACKDROPS}
    category = ("subject", "verb", "object")[count % 3]
    triple = {name: rng.choice(values) for name, values in others.items()}
    negative = {**triple, category: rng.choice([v for v in others[category] if v != triple[category]])}
    right, wrong = (_acting(rng, t["subject"], t["verb"], t["object"], source) for t in (triple, negative))
    if right is None or wrong is None:
        return []
    acting = Phrase(triple["subject"], action=triple["verb"])
    sentence = say(rng, (acting, Setting(triple["object"])))  # the base model only knows the words of captions
    scenes, answer = _ordered(rng, right, wrong)
    return [Question(str(count), scenes, which_image(sentence), answer, category=category)]


def _nlvr2(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """A true and a false statement about two images."""
    first = source.draw(rng)
    scenes = (first, _related(rng, first, source))
    found: dict[bool, PairStatement] = {}
    for _ in range(30):
        statement = pair_statement(rng, scenes)
        found.setdefault(statement.is_true, statement)
    if len(found) < 2:
        return []
    asked = [(number, found[true]) for number, true in enumerate((True, False), count)]
    return [
        Question(
            str(number), scenes, f"{PAIR_PROMPT}True or False: {said.text}", str(said.is_true), category=said.kind
        )
        for number, said in asked
    ]


def _only_in(one: Scene, other: Scene) -> Item | None:
    return next((item for item in one.items if item not in other.items), None)


def _said(item: Item, names: Iterable[str], count: int = 1) -> Phrase:
    """A phrase with the properties `names` of `item`; plain and standing are not said."""
    told: dict[str, Any] = {name: getattr(item, name) for name in names}
    return Phrase(item.kind, count, **{name: value for name, value in told.items() if value not in SILENT})


def _count_captions(scenes: tuple[Scene, Scene]) -> tuple[str, str] | None:
    changed = _only_in(*scenes) or _only_in(*scenes[::-1])
    if changed is None:
        return None
    numbers = [sum(item.look == changed.look for item in scene.items) for scene in scenes]
    phrases = [_said(changed, ("color", "size", "fill"), number) for number in numbers]
    counted = [[sum(map(phrase.fits, scene.items)) for scene in scenes] for phrase in phrases]
    if min(numbers) < 1 or any(counted[k] != numbers for k in (0, 1)):
        return None
    first, second = (f"{replace(phrase, exact=True).claim().capitalize()}." for phrase in phrases)
    return first, second


def _edited_captions(rng: random.Random, scenes: tuple[Scene, Scene], edit: Edit) -> tuple[str, str] | None:
    """A caption for each scene that differ only in the edit; None if words cannot tell the scenes apart."""
    if edit == "count":
        return _count_captions(scenes)
    settings: tuple[Statement, Statement] = (Setting(scenes[0].backdrop), Setting(scenes[1].backdrop))
    statements: list[tuple[Statement, Statement]] = []
    if edit == "backdrop":
        shared = partial_phrase(rng, [rng.choice(scenes[0].items)], 0.4)
        statements += [(shared, shared), settings]
    else:
        first, second = _only_in(*scenes), _only_in(*scenes[::-1])
        if first is None or second is None:
            return None
        told = sorted({edit, *rng.sample(("color", "size", "place", "action"), 2)} - {"kind"})
        statements.append((_said(first, told), _said(second, told)))
        if rng.random() < 0.5:
            statements.append(settings)
    sides = [[pair[k] for pair in statements] for k in (0, 1)]
    return _told_apart(rng, scenes, sides)


def _told_apart(
    rng: random.Random, scenes: tuple[Scene, Scene], sides: Sequence[Sequence[Statement]]
) -> tuple[str, str] | None:
    """A caption for each scene, in the same wording; None unless each is true of its own scene alone."""
    for side, scene, other in zip(sides, scenes, scenes[::-1], strict=True):
        if not all(s.holds(scene) for s in side) or all(s.holds(other) for s in side):
            return None
    state = rng.getrandbits(32)
    first, second = (say(random.Random(state), side) for side in sides)
    return first, second


def _caption_pair(count: int, scenes: tuple[Scene, Scene], captions: tuple[str, str], folder: str) -> list[Question]:
    return [
        Question(f"{count}_{half}", scenes, which_image(captions[half]), answer, folder=folder)
        for half, answer in enumerate("AB")
    ]


EQBEN_EDITS: tuple[Edit, ...] = ("count", "place", "color", "size", "action", "kind", "backdrop", "fill")


def _eqben(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """Two images that differ by one edit, with a caption for each (EqBen's minimal changes)."""
    edit = EQBEN_EDITS[count % len(EQBEN_EDITS)]
    scene = source.draw(rng)
    other = edit_scene(rng, scene, edit)
    captions = other and _edited_captions(rng, (scene, other), edit)
    return _caption_pair(count, (scene, other), captions, edit) if other and captions else []


def _cola(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """Two images in which two items swap colours; the captions combine the same words in another way."""
    scene = source.draw(rng)
    other = edit_scene(rng, scene, "swap")
    changed = [item for item in scene.items if other and item not in other.items]
    if other is None or len(changed) != 2:
        return []
    twins = [next(new for new in other.items if (new.y, new.x) == (old.y, old.x)) for old in changed]
    phrases = [[Phrase(item.kind, color=item.color) for item in items] for items in (changed, twins)]
    near = relations(*changed)
    if near and rng.random() < 0.5:
        relation = rng.choice(near)
        sides: list[list[Statement]] = [[Relation(a, relation, b)] for a, b in phrases]
    else:
        sides = [list(pair) for pair in phrases]
    captions = _told_apart(rng, (scene, other), sides)
    return _caption_pair(count, (scene, other), captions, "") if captions else []


def _cad_qa(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """An open question about similar images with a reference answer of one sentence."""
    first = source.draw(rng)
    scenes = (first, _related(rng, first, source))
    turn = open_turn(rng, scenes)
    return [Question(str(count), scenes, PAIR_PROMPT + turn[0], turn[1])] if turn else []


def _single_image(rng: random.Random, count: int, source: Scenes) -> list[Question]:
    """A short closed question about one image, as in the base model's training, which tuning must not erase."""
    makers = (property_turn, verify_turn, count_turn, verify_turn, kind_turn, caption_turn)
    scene = source.draw(rng)
    turn = makers[count % len(makers)](rng, scene)
    return [Question(str(count), (scene,), f"<image>\n{turn[0]}", turn[1])] if turn else []


class Maker(Protocol):
    """Yields the first `number` questions of a task, or pairs of them for EQBEN and COLA."""

    def __call__(
        self, rng: random.Random, number: int, max_groups: int = 3, split: Split = "eval"
    ) -> Iterator[Question]: ...


def _repeat(draw: Callable[[random.Random, int, Scenes], list[Question]], per_draw: int = 1) -> Maker:
    """A maker that draws until there are enough; a draw gets the count so far and can return nothing."""

    def make(rng: random.Random, number: int, max_groups: int = 3, split: Split = "eval") -> Iterator[Question]:
        count, source = 0, Scenes(split, max_groups)
        while count < number:
            if questions := draw(rng, count, source):
                yield from questions
                count += per_draw

    return make


MAKERS: dict[str, Maker] = {
    "bison": _repeat(_bison),
    "svo_probes": _repeat(_svo_probes),
    "nlvr2": _repeat(_nlvr2, per_draw=2),
    "eqben": _repeat(_eqben),
    "cola": _repeat(_cola),
    "cad_qa": _repeat(_cad_qa),
    "single_image": _repeat(_single_image),
}
