"""Questions about scenes in the row form of each benchmark's question file (keys `image`, `text`, `answer`, `question_id`).

Every maker yields `Question`s whose answers are true of the scene graphs; the scenes are of the evaluation split.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from cadvi_hub.scenes import graph
from cadvi_hub.scenes.captions import (
    NUMBERS,
    SETTINGS,
    Phrase,
    Relation,
    Setting,
    Statement,
    describe_item,
    join,
    make_caption,
    partial_phrase,
    plural,
    relations,
    say,
)
from cadvi_hub.scenes.graph import ANIMATE, BACKDROPS, Edit, Item, Scene, draw_scene, edit_scene, make_scene
from cadvi_hub.scenes.instruct import LETTER, caption_turn, count_turn, kind_turn, property_turn, verify_turn

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


def _related(rng: random.Random, scene: Scene) -> Scene:
    """A scene that shares things with `scene`: two edits away, or another one with the same kinds of items."""
    if rng.random() < 0.5:
        first = edit_scene(rng, scene, rng.choice(("color", "place", "kind", "size")))
        second = first and edit_scene(rng, first, rng.choice(("action", "fill", "color", "backdrop", "place")))
        if second:
            return second
    while True:
        other = draw_scene(rng, "eval")
        kinds = [item.kind for item in scene.items]
        items = [replace(item, kind=rng.choice(kinds)) for item in other.items]
        items = [item if item.kind in ANIMATE else replace(item, action="standing") for item in items]
        renamed = make_scene(items, other.backdrop)
        if renamed.split == "eval" and renamed.digest != scene.digest:
            return renamed


def bison(rng: random.Random, number: int) -> Iterator[Question]:
    """One caption, two related images (as BISON: COCO captions and near neighbours)."""
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval")
        other = _related(rng, scene)
        caption = make_caption(rng, scene, 0.7)
        if caption.holds(other):
            continue
        scenes, answer = _ordered(rng, scene, other)
        yield Question(str(count), scenes, which_image(caption.text), answer)
        count += 1


def _acting(rng: random.Random, subject: str, verb: str, backdrop: str) -> Scene | None:
    """Somebody doing something somewhere, among other things; None where the draw falls into the training split."""
    scene = draw_scene(rng, "train", max_groups=2)  # only material: what comes of it is another scene
    items = [item for item in scene.items if item.kind not in ANIMATE]
    free = [cell for cell in graph.CELLS if cell not in {item.cell for item in items}]
    row, column = rng.choice(free)
    color, size, fill = rng.choice(graph.COLORS), rng.choice(graph.SKETCH_SIZES), rng.choice(graph.FILLS)
    actor = Item((row + 0.5) / 3, (column + 0.5) / 3, subject, color, size, fill, verb)
    acted = make_scene([*items, actor], backdrop)
    return acted if acted.split == "eval" else None


def svo_probes(rng: random.Random, number: int) -> Iterator[Question]:
    """Subject, verb and object probes in equal parts: a sentence, an image of it, and one where one of the three is another."""
    others: dict[str, tuple[str, ...]] = {"subject": ANIMATE, "verb": VERBS, "object": BACKDROPS}
    count = 0
    while count < number:
        category = ("subject", "verb", "object")[count % 3]
        triple = {name: rng.choice(values) for name, values in others.items()}
        negative = {**triple, category: rng.choice([v for v in others[category] if v != triple[category]])}
        right, wrong = (_acting(rng, t["subject"], t["verb"], t["object"]) for t in (triple, negative))
        if right is None or wrong is None:
            continue
        article = Phrase(triple["subject"]).text()
        sentence = f"{article.capitalize()} is {triple['verb']} {SETTINGS[triple['object']]}."
        scenes, answer = _ordered(rng, right, wrong)
        yield Question(str(count), scenes, which_image(sentence), answer, category=category)
        count += 1


def _pair_statement(rng: random.Random, scenes: tuple[Scene, Scene]) -> tuple[str, bool]:
    """A statement about two images, and whether it is true."""
    kinds = sorted({item.kind for scene in scenes for item in scene.items})
    kind = rng.choice(kinds)
    counts = [sum(item.kind == kind for item in scene.items) for scene in scenes]
    form = rng.randrange(4)
    if form == 0:
        return f"Both images show {Phrase(kind).text()}.", all(counts)
    if form == 1:
        total = max(0, sum(counts) + rng.choice((0, 0, -1, 1)))
        verb = "is" if total == 1 else "are"
        named = f"{NUMBERS[total]} {kind if total == 1 else plural(kind)}"
        return f"There {verb} {named} in total.", sum(counts) == total
    if form == 2:
        more = rng.randrange(2)
        return f"Image {more + 1} shows more {plural(kind)} than image {2 - more}.", counts[more] > counts[1 - more]
    which = rng.randrange(2)
    phrase = partial_phrase(rng, [rng.choice(scenes[rng.randrange(2)].items)], 0.6)
    return f"Image {which + 1} shows {phrase.text()}.", phrase.holds(scenes[which])


def nlvr2(rng: random.Random, number: int) -> Iterator[Question]:
    """Statements about both images; one true and one false for each image pair."""
    count = 0
    while count < number:
        first = draw_scene(rng, "eval")
        scenes = (first, _related(rng, first))
        found: dict[bool, str] = {}
        for _ in range(30):
            sentence, true = _pair_statement(rng, scenes)
            found.setdefault(true, sentence)
        if len(found) < 2:
            continue
        for true in (True, False):
            text = f'{PAIR_PROMPT}Is the statement "{found[true]}" true or false? Answer with True or False.'
            yield Question(str(count), scenes, text, str(true))
            count += 1


def _only_in(one: Scene, other: Scene) -> Item | None:
    return next((item for item in one.items if item not in other.items), None)


def _edited_captions(rng: random.Random, scenes: tuple[Scene, Scene], edit: Edit) -> tuple[str, str] | None:
    """A caption for each scene, alike but for what the edit changed; None where words cannot tell the scenes apart."""
    statements: list[tuple[Statement, Statement]] = []
    if edit == "backdrop":
        shared = partial_phrase(rng, [rng.choice(scenes[0].items)], 0.4)
        statements.append((shared, shared))
        statements.append((Setting(scenes[0].backdrop), Setting(scenes[1].backdrop)))
    elif edit == "count":
        changed = _only_in(*scenes) or _only_in(*scenes[::-1])
        if changed is None:
            return None
        numbers = [sum(item.look == changed.look for item in scene.items) for scene in scenes]
        if min(numbers) < 1:
            return None
        phrases = [Phrase(changed.kind, n, changed.color, changed.size, changed.fill) for n in numbers]
        if any(sum(map(p.fits, s.items)) != p.count for p, s in zip(phrases, scenes, strict=True)):
            return None
        return tuple(f"There {'is' if p.count == 1 else 'are'} {p.text('one')}." for p in phrases)  # type: ignore[return-value]
    else:
        first, second = _only_in(*scenes), _only_in(*scenes[::-1])
        if first is None or second is None:
            return None
        told = {edit, "kind", *rng.sample(("color", "size", "place", "action"), 2)}
        pair = tuple(
            Phrase(item.kind, **{name: getattr(item, name) for name in ("color", "size", "fill", "action", "place") if name in told})
            for item in (first, second)
        )
        statements.append((pair[0], pair[1]))
        if rng.random() < 0.5:
            statements.append((Setting(scenes[0].backdrop), Setting(scenes[1].backdrop)))
    sides = [[pair[k] for pair in statements] for k in (0, 1)]
    for k in (0, 1):
        if not all(s.holds(scenes[k]) for s in sides[k]) or all(s.holds(scenes[1 - k]) for s in sides[k]):
            return None
    state = rng.getrandbits(32)  # the same wording for both
    return say(random.Random(state), sides[0]), say(random.Random(state), sides[1])


def _caption_pair(count: int, scenes: tuple[Scene, Scene], captions: tuple[str, str], folder: str) -> Iterator[Question]:
    for half, answer in enumerate("AB"):
        yield Question(f"{count}_{half}", scenes, which_image(captions[half]), answer, folder=folder)


EQBEN_EDITS: tuple[Edit, ...] = ("count", "place", "color", "size", "action", "kind", "backdrop", "fill")


def eqben(rng: random.Random, number: int) -> Iterator[Question]:
    """`number` pairs of images that differ by one edit, with a caption for each (EqBen's minimal changes)."""
    count = 0
    while count < number:
        edit = EQBEN_EDITS[count % len(EQBEN_EDITS)]
        scene = draw_scene(rng, "eval")
        other = edit_scene(rng, scene, edit)
        captions = other and _edited_captions(rng, (scene, other), edit)
        if other and captions:
            yield from _caption_pair(count, (scene, other), captions, edit)
            count += 1


def cola(rng: random.Random, number: int) -> Iterator[Question]:
    """`number` pairs of images in which two items trade colours; the captions hold the same words, bound otherwise."""
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval")
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
        if any(not all(s.holds(scenes[k]) for s in sides[k]) or all(s.holds(scenes[1 - k]) for s in sides[k]) for k in (0, 1)):
            continue
        state = rng.getrandbits(32)
        captions = tuple(say(random.Random(state), side) for side in sides)
        yield from _caption_pair(count, scenes, captions, "")  # type: ignore[arg-type]
        count += 1


def _open_turn(rng: random.Random, scenes: tuple[Scene, Scene]) -> tuple[str, str] | None:
    """An open question about both images and its reference answer."""
    shared = sorted({i.kind for i in scenes[0].items} & {i.kind for i in scenes[1].items})
    form = rng.randrange(5)
    if form == 0:
        places = [SETTINGS[scene.backdrop] for scene in scenes]
        same = places[0] == places[1]
        answer = f"Both images are set {places[0]}." if same else f"Image 1 is set {places[0]}, while image 2 is set {places[1]}."
        return "Where are the two images set?", answer
    if not shared:
        return None
    kind = rng.choice(shared)
    found = [[item for item in scene.items if item.kind == kind] for scene in scenes]
    if form == 1:
        named = join([Phrase(k).text() for k in shared])
        return "Which things do both images show?", f"Both images show {named}."
    if form == 2:
        numbers = [f"{NUMBERS[len(some)]} {kind if len(some) == 1 else plural(kind)}" for some in found]
        return f"How many {plural(kind)} are there in each image?", f"Image 1 shows {numbers[0]}, while image 2 shows {numbers[1]}."
    if len(found[0]) != 1 or len(found[1]) != 1:
        return None
    if form == 3:
        colors = [some[0].color for some in found]
        return f"What color is the {kind} in each image?", f"The {kind} is {colors[0]} in image 1 and {colors[1]} in image 2."
    places = [describe_item(some[0]).text().split(kind, 1)[1].strip() for some in found]
    return f"What do you see of the {kind} in each image?", f"The {kind} is {places[0]} in image 1 and {places[1]} in image 2."


def cad_qa(rng: random.Random, number: int) -> Iterator[Question]:
    """Open questions about related images with a reference answer in a sentence."""
    count = 0
    while count < number:
        first = draw_scene(rng, "eval")
        scenes = (first, _related(rng, first))
        turn = _open_turn(rng, scenes)
        if turn:
            yield Question(str(count), scenes, PAIR_PROMPT + turn[0], turn[1])
            count += 1


def single_image(rng: random.Random, number: int) -> Iterator[Question]:
    """Short closed questions about one image, as in the base model's own training: what tuning must not make it forget."""
    makers = (property_turn, verify_turn, count_turn, verify_turn, kind_turn, caption_turn)
    count = 0
    while count < number:
        scene = draw_scene(rng, "eval")
        turn = makers[count % len(makers)](rng, scene)
        if turn:
            yield Question(str(count), (scene,), f"<image>\n{turn[0]}", turn[1])
            count += 1


MAKERS: dict[str, Callable[[random.Random, int], Iterator[Question]]] = {
    "bison": bison,
    "svo_probes": svo_probes,
    "nlvr2": nlvr2,
    "eqben": eqben,
    "cola": cola,
    "cad_qa": cad_qa,
    "single_image": single_image,
}
