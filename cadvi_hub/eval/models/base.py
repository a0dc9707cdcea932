"""What all our models for lighteval share."""

from dataclasses import dataclass
from typing import Any

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.registry import Registry
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from cadvi_hub.core.errors import InputError


def specific(doc: Doc) -> dict[str, Any]:
    """What the prompt function of a task keeps of the row: id, group, category, options."""
    assert doc.specific is not None  # noqa: S101  (lighteval's type allows None, the prompt function never sets it)
    return doc.specific


@dataclass
class Unanswered(ModelResponse):
    """Stands for the reply that a question did not get; `reason` says why. Its text is empty."""

    reason: str = ""


class NoSampleCache:
    """Replaces lighteval's `SampleCache` and stores nothing.

    lighteval's keys are the model's name and settings alone: a model that was trained again at the same path would get
    the answers of its older weights.
    """

    def _init_registry(self, registry: Registry) -> None:
        """lighteval's pipeline calls this on every model's cache."""


class EvalModel(LightevalModel):
    """A model that has none of what lighteval may ask for; subclasses answer, and add what they have."""

    def __init__(self, config: ModelConfig):
        self.config = config
        self._cache = NoSampleCache()

    def served(self) -> str:
        """What its endpoint says about the model, in words; nothing for a model in this process."""
        return ""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        raise self._lacks("it has no tokenizer")

    @property
    def add_special_tokens(self) -> bool:
        return False  # the chat template writes them

    @property
    def max_length(self) -> int:
        """Longest prompt in tokens."""
        raise self._lacks("nobody knows how long its prompts may be")

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        raise self._lacks("it does not say how likely a given answer is")

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        raise self._lacks("it has no perplexity of a text without images")

    def _lacks(self, problem: str) -> InputError:
        return InputError(f"model {self.config.model_name}", problem, "Use another task, or a model in a folder")
