"""The methods of a training: which rows each reads, and which trainer learns from them."""

from __future__ import annotations

from typing import NamedTuple

from cadvi_hub.training.lengths import RowCounter
from cadvi_hub.training.preference import PreferenceCounter, PreferenceTrainer
from cadvi_hub.training.reward import QuestionCounter, RewardTrainer
from cadvi_hub.training.settings import Method
from cadvi_hub.training.trainer import Tuner, TuningTrainer


class Parts(NamedTuple):
    """What differs between the methods, beside their settings (`recipe.CONFIGS`).

    Attributes:
        trainer: learns from the batches.
        counter: checks and counts the rows; it knows their columns and their collator.
    """

    trainer: type[Tuner]
    counter: type[RowCounter]


PARTS: dict[Method, Parts] = {
    "sft": Parts(TuningTrainer, RowCounter),
    "dpo": Parts(PreferenceTrainer, PreferenceCounter),
    "grpo": Parts(RewardTrainer, QuestionCounter),
}
