"""Rows to a batch: tokens, pictures, and labels on what the assistant says; answers are cut at the limit.

TRL's collator makes the same batch by loops over every token, in 2.8 times the time (benchmarks/training_input.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import ProcessorMixin
from transformers.utils.chat_template_utils import render_jinja_template

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.pictures import PREPARED, normalize, pads_to_square, to_square

IGNORED = -100  # the label of a token without loss


@dataclass
class Collator:
    """Makes batches of rows (images, messages).

    `lengths.fit_rows` leaves only rows whose images and question fit: what is cut off is the end of an answer, its end
    token with it. So no model learns to stop where a text was cut.

    Attributes:
        processor: its template marks what the assistant says.
        max_tokens: longest row, image tokens included; none is cut if unset.
        pad_to_multiple_of: the batch's length is padded to a multiple of it, before it is cut.
    """

    processor: ProcessorMixin
    max_tokens: int | None = None
    pad_to_multiple_of: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """input_ids, attention_mask and labels (rows, tokens), and the pictures as the processor gives them.

        Raises:
            InputError: no token of the batch has a label.
        """
        processor: Any = self.processor
        rendered: Any = render_jinja_template(
            conversations=[row["messages"] for row in rows],
            chat_template=processor.chat_template,
            return_assistant_tokens_mask=True,
            **processor.tokenizer.special_tokens_map,
        )
        texts, answers = rendered
        images = [row["images"] or [] for row in rows]
        if is_square := pads_to_square(processor.image_processor):
            images = [[to_square(image, processor.image_processor) for image in of_row] for of_row in images]
        batch = processor(
            text=texts,
            images=images if any(images) else None,
            return_text_replacement_offsets=True,
            # Texts stay lists for now: transformers would make a tensor of the offsets number by number.
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
        return batch


def tokens_within(
    offsets: list[tuple[int, int]], spans: list[tuple[int, int]], replaced: list[dict[str, Any]]
) -> np.ndarray:
    """Which tokens (of so many) overlap one of the spans.

    Args:
        offsets: where each token begins and ends in the text, every image's place replaced by its tokens.
        spans: where each answer begins and ends in the text as the template gave it.
        replaced: an image's place each, in the latter (`span`) and the former text (`new_span`).
    """
    ends = [image["span"][1] for image in replaced]
    gained = np.array([0, *(image["new_span"][1] - image["span"][1] for image in replaced)])
    places = np.array(spans, dtype=int).reshape(-1, 2)
    places = places + gained[np.searchsorted(ends, places, side="right")]
    start, end = np.array(offsets).T[..., None]
    return ((start < places[:, 1]) & (end > places[:, 0])).any(axis=1)  # padding begins and ends at 0
