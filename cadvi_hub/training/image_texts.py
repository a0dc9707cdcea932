"""What a processor writes in place of each image, from the sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from PIL import Image
from transformers import PaliGemmaProcessor, ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.pixels import Size


class ImageTexts:
    """Shows the processor blank pictures, and keeps what it writes for them.

    transformers' own count (`_get_num_multimodal_tokens`) is not always what a processor writes: it leaves out the
    marks around an image (Gemma 3, Aya Vision), or takes every picture for the only one of its row (LLaVA-OneVision).
    Pictures of one such count are written alike, so that one blank picture answers for all of them.

    Args:
        processor: of the model to tune.

    Raises:
        InputError: the processor does not tell what it writes for an image.
    """

    def __init__(self, processor: ProcessorMixin):
        self.processor: Any = processor
        self._texts: dict[Any, str] = {}
        self._kinds: dict[Size, Any] = {}
        name = type(processor).__name__
        if isinstance(processor, PaliGemmaProcessor):
            problem = "it writes marks of its own into a prompt, so that the answers cannot be told apart"
            raise InputError(name, problem, "Choose a model of another family; this one can be evaluated")
        if not hasattr(processor, "image_token") or not hasattr(processor, "replace_image_token"):
            problem = "it does not tell what it writes for an image"
            raise InputError(name, problem, "Choose a model of another family")

    def __call__(self, sizes: Sequence[Size]) -> list[str]:
        """The text of each image of one row.

        Raises:
            Exception: whatever the processor raises for a picture of such a size, mostly ValueError.
        """
        texts = []
        for size in sizes:
            key = self._kind(size), len(sizes) > 1
            if key not in self._texts:
                self._texts[key] = self._written(size, 2 if len(sizes) > 1 else 1)
            texts.append(self._texts[key])
        return texts

    def collapsed(self, text: str) -> tuple[str, int]:
        """`text` with one token for a run of image tokens, and the number of tokens left out.

        Special tokens are tokenized by themselves, so that the length of a run does not change what is around it.
        """
        token = self.processor.image_token
        count = len(text) // len(token)
        return (token, count - 1) if count and text == token * count else (text, 0)

    def _kind(self, size: Size) -> Any:
        """Pictures of one kind are written alike."""
        if size not in self._kinds:
            self._kinds[size] = size
            if hasattr(self.processor, "_get_num_multimodal_tokens"):
                with suppress(AttributeError, KeyError, TypeError):  # LLaVA's, where the image processor does not crop
                    counted = self.processor._get_num_multimodal_tokens(image_sizes=[list(size)])
                    self._kinds[size] = counted["num_image_tokens"][0], counted["num_image_patches"][0]
            elif hasattr(self.processor.image_processor, "get_number_of_image_patches"):  # SmolVLM2's tiles
                self._kinds[size] = self.processor.image_processor.get_number_of_image_patches(*size, {})
        return self._kinds[size]

    def _written(self, size: Size, count: int) -> str:
        height, width = size
        image = Image.new("RGB", (width, height))
        batch = self.processor(
            text=[self.processor.image_token * count],
            images=[[image] * count],
            return_text_replacement_offsets=True,
            images_kwargs={"return_tensors": "pt", "do_rescale": False, "do_normalize": False},
            text_kwargs={"add_special_tokens": False},
        )
        text: str = batch["text_replacement_offsets"][0][0]["replacement"]
        return text
