"""Questions about scenes as rows of each benchmark's question file (`image`, `text`, `answer`, `question_id`).

Every maker yields `number` `Question`s (pairs of them for EQBEN and COLA) whose answers are true of the scene graphs;
the scenes are of the evaluation split and have up to `max_groups` groups of like items.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from cadvi_hub.world import scene as graph
from cadvi_hub.world.captions import Phrase, Relation, Setting, Statement, make_caption, partial_phrase, relations, say
from cadvi_hub.world.comparisons import open_turn, pair_statement
from cadvi_hub.world.instruct import LETTER, caption_turn, count_turn, kind_turn, property_turn, verify_turn
from cadvi_hub.world.scene import ANIMATE, BACKDROPS, Edit, Item, Scene, draw_scene, edit_scene, make_scene

PAIR_PROMPT = "Image 1: <image>\nImage 2: <image>\n"
VERBS = ("sleeping", "jumping", "running", "eating")


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a question file and the scenes that its images show."""

    question_id: str
    scenes: tuple[Scene, ...]
    text: str
    answer: str
    folder: str = ""
    category: str = ""
    options: tuple[str, ...] = field(default=())


def which_image(caption: str) -> str:
    """The question of BISON, SVO Probes, EQBEN and COLA."""
    return f'{PAIR_PROMPT}Which image suits the caption "{caption}" better?\nA. Image 1\nB. Image 2\n{LETTER}'


def _ordered(rng: random.Random, right: Scene, wrong: Scene) -> tuple[tuple[Scene, Scene], str]:
    return ((right, wrong), "A") if rng.random() < 0.5 else ((wrong, right), "B")


def _related(rng: random.Random, scene: Scene, max_groups: int) -> Scene:
    """A scene that shares things with `scene`: two edits away, or another one with the same kinds of items."""
    if rng.random() < 0.5:
        first = edit_scene(rng, scene, rng.choice(("color", "place", "kind", "size")))
        second = first and edit_scene(rng, first, rng.choice(("action", "fill", "color", "backdrop", "place")))
        if second and second.digest != scene.digest:  # the second edit may undo the first
            return second
    while True:
        other = draw_scene(rng, "eval", max_groups=max_groups)
        kinds = [item.kind for item in scene.items]
        items = [replace(item, kind=rng.choice(kinds)) for item in other.items]
        items = [item if item.kind in ANIMATE else replace(item, action="standing") for item in items]
        renamed = make_scene(items, other.backdrop)
        if renamed.split == "eval" and renamed.digest != scene.digest:
            return renamed


def bison(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """One caption, two related images (as BISON: COCO captions and near neighbours)."""
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval", max_groups=max_groups)
        other = _related(rng, scene, max_groups)
        caption = make_caption(rng, scene, 0.7)
        if caption.holds(other):
            continue
        scenes, answer = _ordered(rng, scene, other)
        yield Question(str(count), scenes, which_image(caption.text), answer)
        count += 1


def _acting(rng: random.Random, subject: str, verb: str, backdrop: str, max_groups: int) -> Scene | None:
    """Somebody doing something somewhere, among other things; None where the draw falls into the training split."""
    scene = draw_scene(rng, "train", max_groups=max_groups)  # only material: what comes of it is another scene
    items = [item for item in scene.items if item.kind not in ANIMATE]
    kept = {item.look for item in items[: max_groups - 1]}  # the actor is a group of its own
    items = [item for item in items if item.look in kept]
    free = [cell for cell in graph.CELLS if cell not in {item.cell for item in items}]
    row, column = rng.choice(free)
    color, size, fill = rng.choice(graph.COLORS), rng.choice(graph.SKETCH_SIZES), rng.choice(graph.FILLS)
    actor = Item((row + 0.5) / 3, (column + 0.5) / 3, subject, color, size, fill, verb)
    acted = make_scene([*items, actor], backdrop)
    return acted if acted.split == "eval" else None


def svo_probes(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """Subject, verb and object probes in equal parts: a sentence, its image, and one in which one of them differs."""
    others: dict[str, tuple[str, ...]] = {"subject": ANIMATE, "verb": VERBS, "object": BACKDROPS}
    count = 0
    while count < number:
        category = ("subject", "verb", "object")[count % 3]
        triple = {name: rng.choice(values) for name, values in others.items()}
        negative = {**triple, category: rng.choice([v for v in others[category] if v != triple[category]])}
        right, wrong = (_acting(rng, t["subject"], t["verb"], t["object"], max_groups) for t in (triple, negative))
        if right is None or wrong is None:
            continue
        acting = Phrase(triple["subject"], action=triple["verb"])
        sentence = say(rng, (acting, Setting(triple["object"])))  # in the words of captions: the base reads no others
        scenes, answer = _ordered(rng, right, wrong)
        yield Question(str(count), scenes, which_image(sentence), answer, category=category)
        count += 1


def nlvr2(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """Statements about both images; one true and one false for each image pair."""
    count = 0
    while count < number:
        first = draw_scene(rng, "eval", max_groups=max_groups)
        scenes = (first, _related(rng, first, max_groups))
        found: dict[bool, str] = {}
        for _ in range(30):
            sentence, true = pair_statement(rng, scenes)
            found.setdefault(true, sentence)
        if len(found) < 2:
            continue
        for true in (True, False):
            text = f"{PAIR_PROMPT}True or False: {found[true]}"
            yield Question(str(count), scenes, text, str(true))
            count += 1


def _only_in(one: Scene, other: Scene) -> Item | None:
    return next((item for item in one.items if item not in other.items), None)


def _said(item: Item, names: Iterable[str], count: int = 1) -> Phrase:
    """A phrase that tells the properties `names` of `item`, as words do: plain and standing are not said."""
    told = {name: getattr(item, name) for name in names}
    silent = ("plain", "standing")
    return Phrase(item.kind, count, **{name: "" if value in silent else value for name, value in told.items()})


def _count_captions(scenes: tuple[Scene, Scene]) -> tuple[str, str] | None:
    changed = _only_in(*scenes) or _only_in(*scenes[::-1])
    if changed is None:
        return None
    numbers = [sum(item.look == changed.look for item in scene.items) for scene in scenes]
    phrases = [_said(changed, ("color", "size", "fill"), number) for number in numbers]
    counted = [[sum(map(phrase.fits, scene.items)) for scene in scenes] for phrase in phrases]
    if min(numbers) < 1 or any(counted[k] != numbers for k in (0, 1)):
        return None
    first, second = (f"There {'is' if phrase.count == 1 else 'are'} {phrase.text('one')}." for phrase in phrases)
    return first, second


def _edited_captions(rng: random.Random, scenes: tuple[Scene, Scene], edit: Edit) -> tuple[str, str] | None:
    """A caption for each scene, alike but for what the edit changed; None where words cannot tell the scenes apart."""
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
    for k in (0, 1):
        if not all(s.holds(scenes[k]) for s in sides[k]) or all(s.holds(scenes[1 - k]) for s in sides[k]):
            return None
    state = rng.getrandbits(32)  # the same wording for both
    return say(random.Random(state), sides[0]), say(random.Random(state), sides[1])


def _caption_pair(
    count: int, scenes: tuple[Scene, Scene], captions: tuple[str, str], folder: str
) -> Iterator[Question]:
    for half, answer in enumerate("AB"):
        yield Question(f"{count}_{half}", scenes, which_image(captions[half]), answer, folder=folder)


EQBEN_EDITS: tuple[Edit, ...] = ("count", "place", "color", "size", "action", "kind", "backdrop", "fill")


def eqben(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """`number` pairs of images that differ by one edit, with a caption for each (EqBen's minimal changes)."""
    count = 0
    while count < number:
        edit = EQBEN_EDITS[count % len(EQBEN_EDITS)]
        scene = draw_scene(rng, "eval", max_groups=max_groups)
        other = edit_scene(rng, scene, edit)
        captions = other and _edited_captions(rng, (scene, other), edit)
        if other and captions:
            yield from _caption_pair(count, (scene, other), captions, edit)
            count += 1


def cola(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """`number` pairs of images in which two items trade colours; the captions hold the same words, bound otherwise."""
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval", max_groups=max_groups)
        other = edit_scene(rng, scene, "swap")
        changed = [item for item in scene.items if other and item not in other.items]
        if other is None or len(changed) != 2:
            continue
        twins = [next(new for new in other.items if (new.y, new.x) == (old.y, old.x)) for old in changed]
        phrases = [[Phrase(item.kind, color=item.color) for item in items] for items in (changed, twins)]
        near = relations(*changed)
        if near and rng.random() < 0.5:
            relation = rng.choice(near)
            sides: list[list[Statement]] = [[Relation(a, relation, b)] for a, b in phrases]
        else:
            sides = [list(pair) for pair in phrases]
        scenes = (scene, other)
        if any(
            not all(s.holds(scenes[k]) for s in sides[k]) or all(s.holds(scenes[1 - k]) for s in sides[k])
            for k in (0, 1)
        ):
            continue
        state = rng.getrandbits(32)
        captions = tuple(say(random.Random(state), side) for side in sides)
        yield from _caption_pair(count, scenes, captions, "")  # type: ignore[arg-type]
        count += 1


def cad_qa(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """Open questions about related images with a reference answer in a sentence."""
    count = 0
    while count < number:
        first = draw_scene(rng, "eval", max_groups=max_groups)
        scenes = (first, _related(rng, first, max_groups))
        turn = open_turn(rng, scenes)
        if turn:
            yield Question(str(count), scenes, PAIR_PROMPT + turn[0], turn[1])
            count += 1


def single_image(rng: random.Random, number: int, max_groups: int = 3) -> Iterator[Question]:
    """Short closed questions about one image, as in the base model's training: what tuning must not make it forget."""
    makers = (property_turn, verify_turn, count_turn, verify_turn, kind_turn, caption_turn)
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval", max_groups=max_groups)
        turn = makers[count % len(makers)](rng, scene)
        if turn:
            yield Question(str(count), (scene,), f"<image>\n{turn[0]}", turn[1])
            count += 1


MAKERS: dict[str, Callable[[random.Random, int, int], Iterator[Question]]] = {
    "bison": bison,
    "svo_probes": svo_probes,
    "nlvr2": nlvr2,
    "eqben": eqben,
    "cola": cola,
    "cad_qa": cad_qa,
    "single_image": single_image,
}
