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
