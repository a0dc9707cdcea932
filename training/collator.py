"""Rows to a batch: TRL's collator, with answers cut at the limit and a loss that is never empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from cadvi_hub.errors import InputError

IGNORED = -100  # the label of a token without loss


@dataclass
class Collator(DataCollatorForVisionLanguageModeling):
    """TRL's collator, which cuts rows at `max_tokens`.

    `lengths.fit_rows` leaves only rows whose images and question fit: what is cut off is the end of an answer, its end
    token with it. So no model learns to stop where a text was cut.

    Attributes:
        max_tokens: longest row, image tokens included; none is cut if unset.
    """

    assistant_only_loss: bool = True
    max_tokens: int | None = None

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of rows (images, messages): input_ids, attention_mask and labels (rows, tokens), and the pictures.

        Raises:
            InputError: no token of the batch has a label.
        """
        batch = super().torch_call(examples)
        shape = batch["input_ids"].shape
        for name, values in batch.items():
            if getattr(values, "shape", None) == shape:
                batch[name] = values[:, : self.max_tokens]
        if not (batch["labels"] != IGNORED).any():
            first = str(examples[0]["messages"])[:200]
            fault = f"no token of a batch has a loss; its first row is {first}"
            mend = "Remove rows without an answer, or choose a chat template that marks the answers"
            raise InputError("training data", fault, mend)
        return batch
