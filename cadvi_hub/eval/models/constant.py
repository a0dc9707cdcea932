"""The constant-answer baseline: the score of a model that never looks at the images.

With lighteval's own command: `lighteval custom constant eval/constant_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`.
"""

from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from cadvi_hub.eval.models import base
from cadvi_hub.eval.models.base import specific


class ConstantModel(base.EvalModel):
    """Always the first option ("A", "True"); nothing for an open question."""

    @property
    def max_length(self) -> int:
        return 0  # it reads nothing

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        return [ModelResponse(text=["".join(specific(doc)["options"][:1])]) for doc in docs]

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Log-probability 0 for the first choice, −1 for every other."""
        firsts = [[index == 0 for index in range(len(doc.choices))] for doc in docs]
        return [
            ModelResponse(logprobs=[float(first) - 1 for first in row], argmax_logits_eq_gold=row) for row in firsts
        ]
