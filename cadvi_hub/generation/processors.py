"""Processors of vision-language models, with the same pixels in training and evaluation."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cadvi_hub.core.models import NO_REMOTE_CODE

# Tokens of a vision tower besides its patches. "default", LLaVA's way to select features, removes one.
CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}


def load_pillow_processor(name: str, revision: str | None = "main") -> Any:
    """The processor of a folder or Hub repo id, a tokenizer where the model is text-only; Pillow resizes pictures.

    torchvision, which transformers uses where it is installed, rounds differently.

    Raises:
        Exception: whatever transformers raises; `core.models.loading` makes one error of it.
    """
    from transformers import AutoConfig, AutoImageProcessor, AutoProcessor

    where: Any = {"pretrained_model_name_or_path": name, "revision": revision, **NO_REMOTE_CODE}
    # Not with backend="pil": the tokenizer would get it and count as slow, and Qwen's video processor refuses it.
    processor = AutoProcessor.from_pretrained(**where)
    if hasattr(processor, "image_processor"):
        processor.image_processor = AutoImageProcessor.from_pretrained(**where, backend="pil")
    if hasattr(processor, "num_additional_image_tokens"):
        with suppress(OSError, ValueError):  # a folder may hold a processor without a model
            complete_llava(processor, AutoConfig.from_pretrained(**where))
    return processor


def complete_llava(processor: Any, config: Any) -> None:
    """Give a processor of the LLaVA kind what some repositories only have in the model's configuration.

    Without it, the processor cannot tell how many tokens an image takes, or tells one too few.
    """
    tower: Any = getattr(config, "vision_config", None)
    if processor.patch_size is None:
        processor.patch_size = getattr(tower, "patch_size", None)
    if processor.vision_feature_select_strategy is None:
        processor.vision_feature_select_strategy = getattr(config, "vision_feature_select_strategy", None)
    if getattr(tower, "model_type", None) in CLASS_TOKENS:
        processor.num_additional_image_tokens = CLASS_TOKENS[tower.model_type]


def resize_each_once(image_processor: Any) -> None:
    """Have `image_processor` resize a picture once per call, however often it comes: many requests are about the same.

    Only where a picture becomes one row of pixels and nothing else. Other processors, which cut pictures into tiles or
    also return their sizes, work as before.
    """
    from transformers.image_utils import make_flat_list_of_images

    if getattr(image_processor, "model_input_names", None) != ["pixel_values"]:
        return
    each_time = image_processor.preprocess

    def preprocess(images: Any, *args: Any, **keys: Any) -> Any:
        pictures: Any = make_flat_list_of_images(images)
        unique = {id(picture): picture for picture in pictures}
        if len(unique) == len(pictures):
            return each_time(images, *args, **keys)
        made = each_time(list(unique.values()), *args, **keys)
        pixels = made.get("pixel_values", [])
        if set(made) != {"pixel_values"} or len(pixels) != len(unique):
            image_processor.preprocess = each_time
            return each_time(images, *args, **keys)
        place = {name: row for row, name in enumerate(unique)}
        rows = [place[id(picture)] for picture in pictures]
        made["pixel_values"] = [pixels[row] for row in rows] if isinstance(pixels, list) else pixels[rows]
        return made

    image_processor.preprocess = preprocess
