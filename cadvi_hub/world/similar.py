"""Similar pairs: a scene, its edit, and a note on what changed (in place of MIMIC-IT's difference pairs)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cadvi_hub.world.captions import SETTINGS, Phrase, describe_item
from cadvi_hub.world.instruct import NEAR_EDITS
from cadvi_hub.world.scene import Item, Scene, Split, draw_scene, edit_scene

QUESTIONS = ("What is different between the two images?", "What else has changed?")


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """Two scenes and one note per noticed difference."""

    scenes: tuple[Scene, Scene]
    notes: tuple[str, ...]


def _by_cell(scene: Scene) -> dict[tuple[int, int], Item]:
    return {item.cell: item for item in scene.items}


def _change_note(rng: random.Random, old: Item, new: Item) -> str:
    where = Phrase(old.kind, color=old.color, place=old.place if rng.random() < 0.6 else "").text("the")
    if old.kind != new.kind:
        return f"{where} has become {Phrase(new.kind, color=new.color).text()}"
    was, now = describe_item(old, place=False), describe_item(new, place=False)
    if old.action != new.action:
        return f"{where} is {new.action} instead of {old.action}"
    if old.fill != new.fill:
        return f"{where} is {new.fill} instead of {old.fill}"
    changed = "color" if was.color != now.color else "size"
    named = Phrase(old.kind, place=old.place).text("").strip()
    return f"the {named} is {getattr(now, changed)} instead of {getattr(was, changed)}"


def difference_notes(rng: random.Random, first: Scene, second: Scene) -> list[str]:
    """What changed from `first` to `second`, one sentence per change, from the graphs alone."""
    notes: list[str] = []
    if first.backdrop != second.backdrop:
        notes.append(f"the first image is {SETTINGS[first.backdrop]}, the second one {SETTINGS[second.backdrop]}")
    cells = _by_cell(first), _by_cell(second)
    gone = [cells[0][cell] for cell in sorted(cells[0].keys() - cells[1].keys())]
    new = [cells[1][cell] for cell in sorted(cells[1].keys() - cells[0].keys())]
    for item in list(gone):
        twin = next((other for other in new if other.look == item.look), None)
        if twin:
            gone.remove(item)
            new.remove(twin)
            moved = Phrase(item.kind, color=item.color).text("the")
            notes.append(f"{moved} has moved from {item.place} to {twin.place}")
    notes += [f"{describe_item(item).text('the')} is gone in the second image" for item in gone]
    notes += [f"there is {describe_item(item).text()} only in the second image" for item in new]
    for cell in sorted(cells[0].keys() & cells[1].keys()):
        if cells[0][cell].look != cells[1][cell].look:
            notes.append(_change_note(rng, cells[0][cell], cells[1][cell]))
    return [note[0].upper() + note[1:] + "." for note in notes]


def draw_similar_pair(rng: random.Random, split: Split, max_groups: int = 3) -> SimilarPair:
    """A scene, the same after one or two edits, and notes on the changes; sometimes one of two changes has no note.

    The first scene has up to `max_groups` groups of equal items.
    """
    while True:
        first = draw_scene(rng, split, max_groups=max_groups)
        second = edit_scene(rng, first, rng.choice(NEAR_EDITS))
        if second and rng.random() < 0.5:
            second = edit_scene(rng, second, rng.choice(NEAR_EDITS))
        if second is None or second.digest == first.digest:
            continue
        notes = difference_notes(rng, first, second)
        if len(notes) > 1 and rng.random() < 0.2:
            notes.pop(rng.randrange(len(notes)))
        return SimilarPair((first, second), tuple(notes))
