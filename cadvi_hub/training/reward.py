"""Reward tuning (GRPO) on which-image questions: the model answers, and right answers are rewarded.

After TWIN (arXiv 2512.23592) and MiCo (2506.22434), which reward closed answers about several images. Here each
question comes in both orders of its images, half of a group's answers for each. So a model that always answers "A" is
right in one half of every group and wrong in the other: that difference is what it learns from. With one order to a
group, all its answers would have the same reward, and it would learn nothing; a reward for being right in both orders
at once would be 0 for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import PreTrainedModel, ProcessorMixin
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from cadvi_hub.annotation.answers import IMAGE_LETTERS, read_answer
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.image_order import swap_order
from cadvi_hub.core.schema import Message
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.lengths import CUT, NO_QUESTION, NO_ROOM, NOT_SWAPPED, WHOLE, RowCounter
from cadvi_hub.training.order import NO_ORDER
from cadvi_hub.training.rendering import end_token, end_with
from cadvi_hub.training.trainer import Tuner

CONSTANT_ROUNDS = 20  # of answers with one and the same reward, after which a training stops


def right_image(completions: Sequence[Sequence[Message]], answer: Sequence[str], **_: Any) -> list[float]:
    """1 for each completion that chooses the right image, otherwise 0; read as a person would (`answers`)."""
    said = [str(completion[0]["content"]) for completion in completions]
    return [
        float(read_answer(text, IMAGE_LETTERS, "tolerant") == right) for text, right in zip(said, answer, strict=True)
    ]


class QuestionCounter(RowCounter):
    """Counts conversations that end in a which-image question; its answer is the letter of an image."""

    @property
    def reasons(self) -> dict[int, str]:
        return {
            **super().reasons,
            NO_QUESTION: "its last answer is not the letter of an image",
            NOT_SWAPPED: NO_ORDER,
        }

    def __call__(self, rows: pa.Table, indices: list[int]) -> pa.Table:
        """As `RowCounter`; nothing is cut, and rows without such a question are dropped."""
        counted = super().__call__(rows, indices)
        outcomes = counted["outcome"].to_numpy().copy()
        outcomes[np.isin(outcomes, list(CUT))] = NO_ROOM
        images = pc.list_value_length(rows["images"]).to_pylist()
        for number, turns in enumerate(rows["messages"].to_pylist()):
            if outcomes[number] == WHOLE and _answer(turns) not in IMAGE_LETTERS:
                outcomes[number] = NO_QUESTION
            elif outcomes[number] == WHOLE and (images[number] != 2 or swap_order(turns) is None):
                outcomes[number] = NOT_SWAPPED
        place = counted.column_names.index("outcome")
        return counted.set_column(place, "outcome", pa.array(outcomes, pa.int8()))


def _answer(messages: Sequence[Message]) -> str:
    return "".join(part["text"] or "" for part in messages[-1]["content"]).strip()


class _Questions(RepeatSampler):
    """TRL's order of the questions, another in each epoch, also for a run that resumes in a later one."""

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class RewardTrainer(Tuner, GRPOTrainer):
    """Group relative policy optimization.

    Args:
        data_collator: knows the budget of pixels; TRL makes the batches.

    Raises:
        InputError: there are fewer questions than a step needs, or (during the training) all answers have the same
            reward for a long time.
    """

    def __init__(
        self, model: PreTrainedModel, data_collator: Collator, processing_class: ProcessorMixin, **kwargs: Any
    ):
        args, questions = kwargs["args"], len(kwargs["train_dataset"])
        if (needed := args.generation_batch_size // args.num_generations) > questions:
            hint = "Lower the batch size, or raise num_generations"
            raise InputError("mixture", f"it has {questions} questions, and a step needs {needed}", hint)
        self.budget, self._constant = data_collator.budget, 0
        end_with(model, end_token(processing_class))
        super().__init__(model=model, processing_class=processing_class, reward_funcs=right_image, **kwargs)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        trainer: Any = GRPOTrainer
        sampler = trainer._get_train_sampler(self, dataset)
        sampler.__class__ = _Questions
        return sampler

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        first = self.accelerator.process_index * len(inputs)
        asked = [self._asked(row, (first + number) % 2 == 1) for number, row in enumerate(inputs)]
        trainer: Any = super()
        return trainer._generate_and_score_completions(asked)

    def _asked(self, row: dict[str, Any], is_swapped: bool) -> dict[str, Any]:
        """A row as TRL reads it, with its images in one of the two orders."""
        images, messages = self.budget.fit(row["images"]), row["messages"]
        if is_swapped:
            images, messages = images[::-1], swap_order(messages)
        return {"prompt": messages[:-1], "images": images, "answer": _answer(messages)}

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        trainer: Any = super()
        rewards: torch.Tensor = trainer._calculate_rewards(*args, **kwargs)  # of all processes
        self._constant = self._constant + 1 if rewards.min() == rewards.max() else 0
        if self._constant == CONSTANT_ROUNDS:
            value = float(rewards.max())
            hint = (
                "Take harder questions, or the last checkpoint" if value else "Start from a model that can answer them"
            )
            problem = f"every answer of the last {CONSTANT_ROUNDS} rounds has the reward {value:g}; nothing is learned"
            raise InputError(f"step {self.state.global_step + 1}", problem, hint)
        return rewards
