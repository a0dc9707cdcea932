"""The constant-answer baseline: what a model scores that never looks.

With lighteval's own command: `lighteval custom constant eval/constant_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`.
"""

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models.sample_cache import NoSampleCache
from cadvi_hub.eval.tasks import specific


class ConstantModel(LightevalModel):
    """Always the first option ("A", "True"); nothing for an open question."""

    def __init__(self, config: ModelConfig):
        self.config = config
        self._cache = NoSampleCache()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        raise InputError("constant baseline", "it has no tokenizer", "Evaluate a model for what needs one")

    @property
    def add_special_tokens(self) -> bool:
        return False

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

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        raise InputError("constant baseline", "it gives text no probability", "Use tasks that ask for an answer")
