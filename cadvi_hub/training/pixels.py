"""Budgets of pixels: large pictures become smaller, with their shape, before the processor sees them.

Several large pictures in one row are what exhausts the memory where a model takes pictures in their own size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class PixelBudget:
    """Most pixels of each picture, and of all pictures of a row together; None does not limit them."""

    image: int | None = None
    row: int | None = None

    def sizes(self, sizes: Sequence[Size]) -> list[Size]:
        """The sizes of the pictures of a row after they are made smaller."""
        if self.image:
            sizes = [_within(size, self.image) for size in sizes]
        total = sum(height * width for height, width in sizes)
        if self.row and total > self.row:
            sizes = [_within(size, self.row * size[0] * size[1] / total) for size in sizes]
        return list(sizes)

    def fit(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The pictures of a row in these sizes."""
        sizes = self.sizes([(image.height, image.width) for image in images])
        return [
            image if (image.height, image.width) == (height, width) else _resized(image, width, height)
            for image, (height, width) in zip(images, sizes, strict=True)
        ]


UNLIMITED = PixelBudget()


def _within(size: Size, pixels: float) -> Size:
    """The size with at most so many pixels, in the same shape; each side has at least one."""
    scale = math.sqrt(pixels / (size[0] * size[1]))
    if scale >= 1:
        return size
    height, width = (max(int(side * scale), 1) for side in size)
    if height * width > pixels:  # of a line, the shorter side cannot become smaller
        height, width = (height, max(int(pixels), 1)) if height == 1 else (max(int(pixels), 1), width)
    return height, width


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.mode in ("P", "1"):  # Pillow mixes no colours of a palette
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.resize((width, height), Image.Resampling.BICUBIC)
