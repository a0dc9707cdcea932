"""Preference tuning (DPO): rows with a better and a worse answer to the same question about the same images.

Both answers are rendered, counted and tokenized as in supervised fine-tuning. The model that the training starts from
is the reference: with LoRA and the projector's copy switched off, it is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features
from trl import DPOTrainer

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import preferences_features
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.lengths import FIX, NO_ROOM, WHOLE, WITH_MARKS, RowCounter
from cadvi_hub.training.rendering import fault
from cadvi_hub.training.trainer import Tuner

ANSWERS = ("chosen", "rejected")


@dataclass
class PreferenceCollator(Collator):
    """Makes batches of preference pairs (images, prompt, chosen, rejected)."""

    last_answer: bool = True

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """As of `Collator`: first the rows with their chosen answers, then those with their rejected ones.

        `completion_mask` takes the place of the labels: 1 for the tokens of these answers.
        """
        both = [{**row, "messages": row["prompt"] + row[answer]} for answer in ANSWERS for row in rows]
        batch = super().__call__(both)
        batch["completion_mask"] = (batch.pop("labels") != IGNORED).long()
        return batch


class PreferenceCounter(RowCounter):
    """Counts the tokens of preference pairs; the length of a pair is that of its longer half."""

    collator = PreferenceCollator

    @staticmethod
    def features() -> Features:
        features = preferences_features()
        return Features({name: features[name] for name in ("images", "prompt", *ANSWERS)})

    @property
    def reasons(self) -> dict[int, str]:
        problem = f"images, question and one of the answers do not fit into {self.max_tokens} tokens"
        return {NO_ROOM: problem, WITH_MARKS: super().reasons[WITH_MARKS]}

    def __call__(self, rows: pa.Table, indices: list[int]) -> pa.Table:
        """Columns prompt, chosen, rejected, length and outcome; nothing is cut.

        Raises:
            InputError: as `RowCounter` raises it, or the two answers of a pair are equal.
        """
        prompts, *answers = (rows[name].to_pylist() for name in ("prompt", *ANSWERS))
        for index, chosen, rejected in zip(indices, *answers, strict=True):
            if problem := fault(chosen) or fault(rejected):
                raise InputError(self._place(index), f"chosen or rejected: {problem}", FIX)
            if chosen == rejected:
                raise InputError(self._place(index), "its chosen and its rejected answer are equal", FIX)
        counted = []
        for of_pairs in answers:
            messages = [(prompt or []) + answer for prompt, answer in zip(prompts, of_pairs, strict=True)]
            column = pa.array(messages, rows.schema.field("chosen").type)
            counted.append(super().__call__(rows.append_column("messages", column), indices))
        lengths = np.max([table["length"].to_numpy() for table in counted], axis=0)
        outcomes = np.max([table["outcome"].to_numpy() for table in counted], axis=0)
        fits = np.isin(outcomes, (WHOLE, WITH_MARKS))
        made = rows.select(["prompt", *ANSWERS]).append_column("length", pa.array(lengths, pa.int32()))
        made = made.append_column("swapped", counted[0]["swapped"])
        return made.append_column("outcome", pa.array(np.where(fits, outcomes, NO_ROOM), pa.int8()))


class PreferenceTrainer(Tuner, DPOTrainer):
    """Direct preference optimization."""
