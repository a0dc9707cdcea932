"""Drawing a scene graph: `sketch` (glyphs on a backdrop, 144 × 144 pixels) and `boxes` (NLVR's boxes, 100 × 100)."""

import math
from functools import lru_cache

from PIL import Image, ImageDraw

from cadvi_hub.world.scene import Item, Scene

SKETCH_PIXELS = 144
BOX_PIXELS = 100  # the size of one box in NLVR's pictures
CELL = SKETCH_PIXELS // 3

PALETTE = {
    "red": (220, 40, 40),
    "blue": (40, 80, 225),
    "green": (20, 140, 50),
    "yellow": (245, 215, 40),
    "purple": (140, 50, 170),
    "orange": (245, 135, 20),
    "black": (25, 25, 25),
    "white": (250, 250, 250),
}
BOX_PALETTE = {"yellow": (255, 255, 0), "black": (0, 0, 0), "blue": (0, 153, 255)}  # NLVR's own three colours
BACKDROP_COLORS = {
    "grass": ((165, 215, 130), (95, 165, 75)),
    "beach": ((245, 225, 170), (215, 185, 120)),
    "snow": ((235, 240, 248), (190, 205, 225)),
    "street": ((150, 150, 155), (230, 230, 230)),
    "desert": ((225, 165, 105), (185, 120, 70)),
    "water": ((130, 195, 230), (75, 140, 200)),
}
OUTLINE = (15, 15, 15)

# Glyphs as polygons on a unit square, centre (0, 0), y downwards; each reads at 20 pixels.
GLYPHS: dict[str, list[tuple[float, float]]] = {
    "cat": [(-0.9, -1), (-0.45, -0.5), (0.45, -0.5), (0.9, -1), (0.9, 0.4), (0.4, 1), (-0.4, 1), (-0.9, 0.4)],
    "dog": [(-1, -0.6), (-0.4, -0.6), (-0.2, -0.2), (0.7, -0.2), (1, -0.7), (1, 0.3), (0.8, 1), (0.4, 1), (0.4, 0.4),
            (-0.3, 0.4), (-0.3, 1), (-0.7, 1), (-0.7, 0.1), (-1, 0)],
    "bird": [(-1, -0.8), (-0.2, -0.1), (0, -0.4), (0.2, -0.1), (1, -0.8), (0.4, 0.3), (0.2, 0.9), (-0.2, 0.9),
            (-0.4, 0.3)],
    "fish": [(-1, 0), (-0.4, -0.6), (0.3, -0.45), (0.55, -0.1), (1, -0.6), (1, 0.6), (0.55, 0.1), (0.3, 0.45),
            (-0.4, 0.6)],
    "girl": [(-0.25, -1), (0.25, -1), (0.25, -0.5), (0.8, -0.35), (0.8, -0.05), (0.3, -0.15), (0.3, 0.3), (0.6, 1),
               (0.2, 1), (0, 0.5), (-0.2, 1), (-0.6, 1), (-0.3, 0.3), (-0.3, -0.15), (-0.8, -0.05), (-0.8, -0.35),
            (-0.25, -0.5)],
    "car": [(-1, 0), (-0.6, 0), (-0.4, -0.5), (0.4, -0.5), (0.6, 0), (1, 0), (1, 0.5), (0.7, 0.5), (0.6, 0.75),
            (0.4, 0.75),
            (0.3, 0.5), (-0.3, 0.5), (-0.4, 0.75), (-0.6, 0.75), (-0.7, 0.5), (-1, 0.5)],
    "house": [(0, -1), (1, -0.1), (0.75, -0.1), (0.75, 1), (0.25, 1), (0.25, 0.4), (-0.25, 0.4), (-0.25, 1),
            (-0.75, 1),
              (-0.75, -0.1), (-1, -0.1)],
    "tree": [(0, -1), (0.75, 0), (0.35, 0), (0.85, 0.6), (0.2, 0.6), (0.2, 1), (-0.2, 1), (-0.2, 0.6),
            (-0.85, 0.6), (-0.35, 0),
             (-0.75, 0)],
    "cup": [(-0.8, -0.7), (0.5, -0.7), (0.5, -0.45), (1, -0.45), (1, 0.3), (0.4, 0.3), (0.3, 0.8), (-0.6, 0.8)],
    "boat": [(-1, 0.3), (-0.1, 0.3), (-0.1, -1), (0.75, 0.1), (0.05, 0.1), (0.05, 0.3), (1, 0.3), (0.6, 0.9),
            (-0.6, 0.9)],
    "box": [(-0.9, -0.55), (0.9, -0.55), (0.9, 0.75), (-0.9, 0.75)],
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "star": [(math.sin(k * math.pi / 5) * (1 if k % 2 == 0 else 0.42),
            -math.cos(k * math.pi / 5) * (1 if k % 2 == 0 else 0.42))
             for k in range(10)],
    "flower": [(math.cos(k * math.pi / 20) * (0.65 + 0.35 * math.cos(5 * k * math.pi / 20)),
                math.sin(k * math.pi / 20) * (0.65 + 0.35 * math.cos(5 * k * math.pi / 20))) for k in range(40)],
}  # fmt: skip
ROUND = ("ball", "circle")


def _outline(item: Item, radius: float, center: tuple[float, float]) -> list[tuple[float, float]]:
    if item.kind in ROUND:
        points = [(math.cos(k * math.pi / 16), math.sin(k * math.pi / 16)) for k in range(32)]
    else:
        points = GLYPHS[item.kind]
    if item.action == "sleeping":
        points = [(y, -x) for x, y in points]  # lies on its side
    elif item.action == "running":
        points = [(x - 0.35 * y, y) for x, y in points]  # leans forward
    return [(center[0] + radius * x, center[1] + radius * y) for x, y in points]


def _fill(image: Image.Image, points: list[tuple[float, float]], item: Item, color: tuple[int, int, int]) -> None:
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).polygon(points, fill=255)
    paint = Image.new("RGB", image.size, color)
    pen = ImageDraw.Draw(paint)
    mark = (255, 255, 255) if item.color not in ("white", "yellow") else (110, 110, 110)
    width, height = image.size
    if item.fill == "striped":
        for y in range(0, height, 6):
            pen.rectangle([0, y, width, y + 2], fill=mark)
    elif item.fill == "spotted":
        for row, y in enumerate(range(2, height, 7)):
            for x in range(2 + 4 * (row % 2), width, 8):
                pen.ellipse([x, y, x + 3, y + 3], fill=mark)
    image.paste(paint, (0, 0), mask)


def _action_marks(draw: ImageDraw.ImageDraw, action: str, center: tuple[float, float], radius: float) -> None:
    x, y = center
    if action == "sleeping":
        for step in range(3):  # a trail of z's, growing
            left, top, edge = x + 2 + 6 * step, y - radius - 3 - 4 * step, 4 + step
            draw.line([(left, top), (left + edge, top), (left, top + edge), (left + edge, top + edge)], fill=OUTLINE)
    elif action == "jumping":
        draw.ellipse([x - radius, CELL - 7, x + radius, CELL - 3], fill=(90, 90, 90))
    elif action == "running":
        for offset in (-0.5, 0.1, 0.7):
            draw.line([(1, y + offset * radius), (x - radius - 1, y + offset * radius)], fill=OUTLINE, width=2)
    elif action == "eating":
        draw.pieslice([CELL - 17, CELL - 17, CELL - 2, CELL - 1], 0, 180, fill=(150, 75, 30), outline=OUTLINE)


@lru_cache(maxsize=40_000)
def _sketch_cell(backdrop: str, item: Item | None) -> Image.Image:
    """One ninth of a sketch; `item.x` and `item.y` are shares of the cell. Cached: scenes share their cells."""
    base, detail = BACKDROP_COLORS[backdrop]
    tile = Image.new("RGB", (CELL, CELL), base)
    draw = ImageDraw.Draw(tile)
    for x, y in ((6, 9), (30, 5), (41, 24), (11, 33), (33, 42)):
        if backdrop == "grass":
            draw.line([(x, y), (x + 2, y - 5), (x + 4, y)], fill=detail)
        elif backdrop == "street":
            draw.rectangle([x - 3, y, x + 4, y + 1], fill=detail)
        elif backdrop == "water":
            draw.arc([x - 4, y - 3, x + 5, y + 4], 0, 180, fill=detail, width=2)
        elif backdrop == "desert":
            draw.line([(x - 4, y + 2), (x, y - 2), (x + 4, y + 2)], fill=detail, width=2)
        else:
            draw.ellipse([x - 1, y - 1, x + 1, y + 1], fill=detail)
    if item is None:
        return tile
    radius = 18 if item.size == "big" else 10
    lift = 6 if item.action == "jumping" else 0
    center = (item.x * CELL, item.y * CELL - lift)
    points = _outline(item, radius, center)
    _action_marks(draw, item.action, center, radius)
    _fill(tile, points, item, PALETTE[item.color])
    ImageDraw.Draw(tile).line([*points, points[0]], fill=OUTLINE, width=1)
    return tile


def _render_sketch(scene: Scene) -> Image.Image:
    image = Image.new("RGB", (SKETCH_PIXELS, SKETCH_PIXELS))
    by_cell = {item.cell: item for item in scene.items}
    for row in range(3):
        for column in range(3):
            item = by_cell.get((row, column))
            if item is not None:
                # rounded to the pixel: jitter shows, and the cache of cells stays small
                y, x = (round(part * CELL) / CELL for part in (item.y * 3 - row, item.x * 3 - column))
                item = Item(y, x, *item.look)
            image.paste(_sketch_cell(scene.backdrop, item), (column * CELL, row * CELL))
    return image


def _render_boxes(scene: Scene) -> Image.Image:
    image = Image.new("RGB", (BOX_PIXELS, BOX_PIXELS), (211, 211, 211))
    draw = ImageDraw.Draw(image)
    for item in scene.items:
        radius = {"small": 5, "medium": 10, "big": 15}[item.size]
        points = _outline(item, radius, (item.x * BOX_PIXELS, item.y * BOX_PIXELS))
        draw.polygon(points, fill=BOX_PALETTE[item.color])
    return image


def render(scene: Scene) -> Image.Image:
    """The picture of `scene` (RGB): equal scenes give equal pixels."""
    return _render_boxes(scene) if scene.look == "boxes" else _render_sketch(scene)
