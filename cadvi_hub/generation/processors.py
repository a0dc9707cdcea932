"""Processors of vision-language models, with the same pixels in training and evaluation."""

from __future__ import annotations

from typing import Any

from cadvi_hub.core.models import NO_REMOTE_CODE


def load_pillow_processor(name: str, revision: str | None = "main") -> Any:
    """The processor of a folder or Hub repo id, a tokenizer where the model is text-only; Pillow resizes pictures.

    torchvision, which transformers uses where it is installed, rounds differently.

    Raises:
        Exception: whatever transformers raises; `core.models.loading` makes one error of it.
    """
    from transformers import AutoImageProcessor, AutoProcessor

    where: Any = {"pretrained_model_name_or_path": name, "revision": revision, **NO_REMOTE_CODE}
    # Not with backend="pil": the tokenizer would get it and count as slow, and Qwen's video processor refuses it.
    processor = AutoProcessor.from_pretrained(**where)
    if hasattr(processor, "image_processor"):
        processor.image_processor = AutoImageProcessor.from_pretrained(**where, backend="pil")
    return processor
