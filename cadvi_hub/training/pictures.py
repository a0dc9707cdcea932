"""LLaVA-1.5's pixels, in a third of the time of its image processor.

`LlavaImageProcessorPil` converts between NumPy and Pillow several times and normalizes each picture. Here Pillow pads
and resizes, and torch normalizes the batch. The pixels are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from transformers.image_transforms import convert_to_rgb
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

STEPS = ("do_resize", "do_center_crop", "do_pad", "do_rescale", "do_normalize")
PREPARED = dict.fromkeys(STEPS, False)  # the image processor skips what this module does


def pads_to_square(image_processor: Any) -> bool:
    """Whether `to_square` and `normalize` do what `image_processor` would do."""
    if not isinstance(image_processor, LlavaImageProcessorPil) or not all(getattr(image_processor, s) for s in STEPS):
        return False
    side, crop = image_processor.size["shortest_edge"], image_processor.crop_size
    return side == crop["height"] == crop["width"]


def to_square(image: Image.Image, image_processor: Any) -> Image.Image:
    """A picture in RGB, centred on a square of the mean colour, resized to the model's size."""
    if image.mode != "RGB" or "transparency" in image.info:
        colours: Any = convert_to_rgb(image, return_numpy=True)
        image = Image.fromarray(colours)
    side, resample = image_processor.size["shortest_edge"], image_processor.resample
    longest = max(image.size)
    width = longest
    if image.width > image.height:  # Pillow also starts with the rows; this skips the rows of padding
        image, width = image.resize((side, image.height), resample), side
    square = Image.new("RGB", (width, longest), tuple(int(mean * 255) for mean in image_processor.image_mean))
    square.paste(image, ((width - image.width) // 2, (longest - image.height) // 2))
    return square.resize((side, side), resample)


def normalize(pixels: torch.Tensor, image_processor: Any) -> torch.Tensor:
    """Pixels (images, 3, side, side) of 0 to 255, as float32: rescaled to 1, minus mean, divided by deviation."""
    mean, deviation = torch.tensor([image_processor.image_mean, image_processor.image_std])[..., None, None]
    return pixels.float().mul_(image_processor.rescale_factor).sub_(mean).div_(deviation)
