"""Sizes of pictures, and budgets: large pictures become smaller, with their shape, before the processor sees them.

Several large pictures in one row are what exhausts the memory where a model takes pictures in their own size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from PIL import ExifTags, Image

from cadvi_hub.core.images import open_encoded

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


def image_size(data: pa.Buffer) -> list[int]:
    """[height, width] of an encoded picture as it is displayed, in pixels. Also checks that the file is complete.

    A JPEG or WebP file is complete if its end is right, and a PNG file if its checksums are right. None is decoded.

    Raises:
        OSError: not a picture, or incomplete. For damaged files Pillow also raises other errors.
    """
    content = data.to_pybytes()  # some of Pillow's readers cannot read lines of a pa.BufferReader
    with open_encoded(content) as image:
        width, height = image.size
        # getexif would decode a PNG, to look for a chunk after its pixels.
        has_exif = image.format != "PNG" or "exif" in image.info
        is_turned = has_exif and image.getexif().get(ExifTags.Base.Orientation, 1) > 4  # by 90°, as in `datasets`
        if image.format == "PNG":
            image.verify()
        elif not _ends_well(content, image.format):
            image.load()
    return [width, height] if is_turned else [height, width]


def _ends_well(content: bytes, kind: str | None) -> bool:
    """Whether an encoded picture is certainly complete."""
    if kind in ("JPEG", "MPO"):
        return content.endswith(b"\xff\xd9")  # the marker EOI (ITU-T T.81, B.1.1.3)
    if kind == "WEBP":  # a RIFF file: bytes 4 to 7 hold its length minus 8
        return len(content) >= int.from_bytes(content[4:8], "little") + 8
    return False
