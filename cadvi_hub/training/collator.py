"""From rows to a batch: tokens, pictures, and labels on the assistant's tokens. Answers are cut at the limit.

TRL's collator makes the same batch with loops over every token, in 2.8 times the time (benchmarks/training_input.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.inputs import PREPARED, normalize, pads_to_square, to_square
from cadvi_hub.training.pixels import UNLIMITED, PixelBudget
from cadvi_hub.training.rendering import overlaps, render

IGNORED = -100  # the label of a token without loss


@dataclass
class Collator:
    """Makes batches of rows (images, messages).

    After `lengths.fit_rows`, the images and question of each row fit. So only the end of an answer is cut, with its
    end token: the model does not learn to stop where a text was cut.

    Attributes:
        processor: its template marks the assistant's tokens.
        max_tokens: longest row, image tokens included; no row is cut if unset.
        pad_to_multiple_of: the batch's length is padded to a multiple of this, before it is cut.
        budget: of the pixels of a row's pictures.
        last_answer: whether only the last answer of a row has a label, instead of all.
    """

    processor: ProcessorMixin
    max_tokens: int | None = None
    pad_to_multiple_of: int | None = None
    budget: PixelBudget = UNLIMITED
    last_answer: bool = False

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """input_ids, attention_mask and labels (rows, tokens), and the pictures as the processor returns them.

        The pictures of rows with a true `swapped` come in the other order.

        Raises:
            InputError: no token of the batch has a label.
        """
        processor: Any = self.processor
        texts, answers = render(processor, [row["messages"] for row in rows])
        answers = [spans[-1:] for spans in answers] if self.last_answer else answers
        orders = [-1 if row.get("swapped") else 1 for row in rows]
        images = [self.budget.fit((row["images"] or [])[::order]) for row, order in zip(rows, orders, strict=True)]
        if is_square := pads_to_square(processor.image_processor):
            images = [[to_square(image, processor.image_processor) for image in of_row] for of_row in images]
        batch = processor(
            text=texts,
            images=images if any(images) else None,
            return_text_replacement_offsets=True,
            # Texts stay lists for now: transformers is slow at making a tensor of the offsets.
            images_kwargs={"return_tensors": "pt", **(PREPARED if is_square else {})},
            text_kwargs={
                "padding": True,
                "padding_side": "right",
                "pad_to_multiple_of": self.pad_to_multiple_of,
                "add_special_tokens": False,
                "return_offsets_mapping": True,
            },
        )
        offsets = batch.pop("offset_mapping")
        replaced = batch.pop("text_replacement_offsets", None) or [[]] * len(rows)
        batch.convert_to_tensors("pt")
        if is_square and "pixel_values" in batch:
            batch["pixel_values"] = normalize(batch["pixel_values"], processor.image_processor)
        learned = torch.from_numpy(np.stack(list(map(tokens_within, offsets, answers, replaced))))
        places = [[image["new_span"] for image in of_row] for of_row in replaced]
        of_images = torch.from_numpy(np.stack(list(map(overlaps, offsets, places))))
        if self.max_tokens and of_images[:, self.max_tokens :].any():
            problem = f"an image of a batch does not fit into {self.max_tokens} tokens"
            raise InputError("training data", problem, "Raise max_tokens, or show fewer images in a row")
        learned &= ~of_images  # pictures in an answer are not written by the model
        batch["labels"] = batch["input_ids"].where(learned, IGNORED)
        shape = batch["input_ids"].shape
        for name, values in batch.items():
            if getattr(values, "shape", None) == shape:
                batch[name] = values[:, : self.max_tokens]
        if not (batch["labels"] != IGNORED).any():
            first = str(rows[0]["messages"])[:200]
            problem = f"no token of a batch has a loss; its first row is {first}"
            hint = "Remove rows without an answer, or choose a chat template that marks the answers"
            raise InputError("training data", problem, hint)
        made: dict[str, Any] = batch
        return made


def tokens_within(
    offsets: list[tuple[int, int]], spans: list[tuple[int, int]], replaced: list[dict[str, Any]]
) -> np.ndarray:
    """Which tokens overlap one of the spans, (tokens,).

    Args:
        offsets: begin and end of each token in the text after every image's place was replaced by its tokens.
        spans: begin and end of each answer in the template's text, before that.
        replaced: per image, its place before (`span`) and after (`new_span`).
    """
    ends = [image["span"][1] for image in replaced]
    gained = np.array([0, *(image["new_span"][1] - image["span"][1] for image in replaced)])
    places = np.array(spans, dtype=int).reshape(-1, 2)
    places = places + gained[np.searchsorted(ends, places, side="right")]
    return overlaps(offsets, places)
