"""Scene graphs: what a picture shows, how scenes are drawn and edited, and how training and evaluation stay apart."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

ANIMATE = ("cat", "dog", "bird", "fish", "girl")
THINGS = ("car", "house", "tree", "ball", "star", "cup", "boat", "flower", "box")
SHAPES = ("circle", "square", "triangle")  # the items of NLVR's boxes
COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "white")
BOX_COLORS = ("yellow", "black", "blue")
FILLS = ("plain", "striped", "spotted")
ACTIONS = ("standing", "sleeping", "jumping", "running", "eating")  # standing is the default and never mentioned
BACKDROPS = ("grass", "beach", "snow", "street", "desert", "water")
SKETCH_SIZES = ("small", "big")
BOX_SIZES = ("small", "medium", "big")

ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
CELLS = tuple((row, column) for row in range(3) for column in range(3))

MAX_ITEMS = 5  # of a sketch; more would make captions longer than people write

Look = Literal["sketch", "boxes"]
Split = Literal["train", "eval"]


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing in a scene; `x` and `y` are its centre, from 0 (left, top) to 1."""

    y: float
    x: float
    kind: str
    color: str
    size: str
    fill: str = "plain"
    action: str = "standing"

    @property
    def cell(self) -> tuple[int, int]:
        """Row and column (0–2) of the third of the picture that holds the centre."""
        return min(int(self.y * 3), 2), min(int(self.x * 3), 2)

    @property
    def place(self) -> str:
        """Where in the picture: "top left", "top", …, "center", …, "bottom right"."""
        row, column = self.cell
        if (row, column) == (1, 1):
            return "center"
        return " ".join(word for word in (ROWS[row], COLUMNS[column]) if word not in ("middle", "center"))

    @property
    def look(self) -> tuple[str, str, str, str, str]:
        """Everything but the position: items with equal looks are counted together."""
        return self.kind, self.color, self.size, self.fill, self.action


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture's contents: its backdrop and its items, top to bottom and left to right."""

    items: tuple[Item, ...]
    backdrop: str
    look: Look = "sketch"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scene:
        """The scene that `to_dict` described."""
        return cls(tuple(Item(**item) for item in data["items"]), data["backdrop"], data["look"])

    @property
    def digest(self) -> str:
        """SHA-256 of what the scene shows in each cell: equal for pictures that only differ by jitter."""
        content = [self.look, self.backdrop, sorted((*item.cell, *item.look) for item in self.items)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def split(self) -> Split:
        """One scene in eight is for evaluation only, whatever the seed, so it is never a training scene."""
        return "eval" if int(self.digest[:8], 16) % 8 == 0 else "train"


def make_scene(items: list[Item], backdrop: str, look: Look = "sketch") -> Scene:
    """A scene with its items in reading order."""
    return Scene(tuple(sorted(items, key=lambda item: (item.cell, item))), backdrop, look)


def _position(rng: random.Random, cell: tuple[int, int]) -> tuple[float, float]:
    row, column = cell
    return (row + 0.5 + rng.uniform(-0.05, 0.05)) / 3, (column + 0.5 + rng.uniform(-0.05, 0.05)) / 3


def _sketch(rng: random.Random, max_groups: int) -> Scene:
    cells = list(CELLS)
    rng.shuffle(cells)
    items: list[Item] = []
    for group in range(rng.randint(1, max_groups)):
        kind = rng.choice(ANIMATE if rng.random() < 0.5 else THINGS)
        item = Item(
            y=0.0,
            x=0.0,
            kind=kind,
            color=rng.choice(COLORS),
            size=rng.choice(SKETCH_SIZES),
            fill=rng.choice(FILLS),
            action=rng.choice(ACTIONS) if kind in ANIMATE else "standing",
        )
        count = rng.choice((1, 1, 1, 2, 3)) if max_groups > 1 else 1
        for _ in range(min(count, MAX_ITEMS - len(items) - (max_groups - 1 - group))):
            y, x = _position(rng, cells.pop())
            items.append(replace(item, y=y, x=x))
    return make_scene(items, rng.choice(BACKDROPS))


def _boxes(rng: random.Random, max_groups: int) -> Scene:
    radius = {"small": 0.05, "medium": 0.1, "big": 0.15}
    items: list[Item] = []
    for _ in range(rng.randint(1, max_groups + 1)):
        size = rng.choice(BOX_SIZES)
        edge = radius[size]
        for _ in range(20):  # a crowded box may have no room for another item
            y, x = rng.uniform(edge, 1 - edge), rng.uniform(edge, 1 - edge)
            if all(max(abs(other.y - y), abs(other.x - x)) > edge + radius[other.size] for other in items):
                items.append(Item(y, x, rng.choice(SHAPES), rng.choice(BOX_COLORS), size))
                break
    return make_scene(items, "grey", "boxes")


def draw_scene(rng: random.Random, split: Split, look: Look = "sketch", max_groups: int = 3) -> Scene:
    """A random scene of `split`.

    A sketch has up to `max_groups` groups of one to three equal items, a box up to `max_groups` + 1 single items.
    """
    sampler: Callable[[random.Random, int], Scene] = _sketch if look == "sketch" else _boxes
    while True:
        scene = sampler(rng, max_groups)
        if scene.split == split:
            return scene


Edit = Literal["kind", "color", "size", "fill", "action", "place", "count", "backdrop", "swap"]


def _swap_colors(rng: random.Random, scene: Scene) -> Scene | None:
    """Two items of different kinds swap colours: the same words in another combination (what COLA asks about)."""
    pairs = [(a, b) for a in scene.items for b in scene.items if a.kind < b.kind and a.color != b.color]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    trade = {first: second.color, second: first.color}
    return make_scene([replace(i, color=trade.get(i, i.color)) for i in scene.items], scene.backdrop, scene.look)


def _change_one(rng: random.Random, scene: Scene, edit: Edit) -> Scene | None:
    others = list(scene.items)
    item = others.pop(rng.randrange(len(others)))
    values: dict[str, tuple[str, ...]] = {
        "kind": (ANIMATE if item.kind in ANIMATE else THINGS) if scene.look == "sketch" else SHAPES,
        "color": COLORS if scene.look == "sketch" else BOX_COLORS,
        "size": SKETCH_SIZES if scene.look == "sketch" else BOX_SIZES,
        "fill": FILLS if scene.look == "sketch" else ("plain",),
        "action": ACTIONS if item.kind in ANIMATE else ("standing",),
    }
    if edit in values:
        choices = [value for value in values[edit] if value != getattr(item, edit)]
        if not choices:
            return None
        changed: dict[str, Any] = {edit: rng.choice(choices)}
        return make_scene([*others, replace(item, **changed)], scene.backdrop, scene.look)
    free = [cell for cell in CELLS if cell not in {i.cell for i in scene.items}]
    if not free or scene.look == "boxes":
        return None
    y, x = _position(rng, rng.choice(free))
    moved = replace(item, y=y, x=x)
    if edit == "place":
        return make_scene([*others, moved], scene.backdrop, scene.look)
    same = sum(other.look == item.look for other in scene.items)
    if same > 1 and rng.random() < 0.5:
        return make_scene(others, scene.backdrop, scene.look)
    return make_scene([*scene.items, moved], scene.backdrop, scene.look) if same < 3 else None


def edit_scene(rng: random.Random, scene: Scene, edit: Edit) -> Scene | None:
    """A scene of the same split that differs from `scene` by one edit, or None if the edit does not apply."""
    for _ in range(8):  # another draw of the same edit may fall into the split
        if edit == "backdrop":
            choices = [b for b in BACKDROPS if b != scene.backdrop]
            edited = None if scene.look == "boxes" else replace(scene, backdrop=rng.choice(choices))
        elif edit == "swap":
            edited = _swap_colors(rng, scene)
        else:
            edited = _change_one(rng, scene, edit)
        if edited is not None and edited.digest != scene.digest and edited.split == scene.split:
            return edited
    return None
