"""A model behind an OpenAI-compatible endpoint (vLLM first) for lighteval.

With lighteval's own command: `OPENAI_BASE_URL=http://127.0.0.1:8000/v1 lighteval custom MODEL eval/served_model.py
"bison|0" --custom-tasks cadvi_hub.eval.tasks`, where MODEL is its name there. lighteval wants exactly one model class
in this file.
"""

import os

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models.chat import greedy_answers
from cadvi_hub.eval.models.sample_cache import NoSampleCache
from cadvi_hub.generation.chat import Generator
from cadvi_hub.generation.server import ServerGenerator
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.store import ReplyStore, StoredGenerator


class ServedModel(LightevalModel):
    """Greedy answers of a model that is served elsewhere, many questions at a time.

    Args:
        config: `model_name` is the name in the results; without `served` also the model's name at the endpoint.
        served: the endpoints; by default the one at OPENAI_BASE_URL.
        replies: keeps each answer under the digest of the model's name and the request, so that a run whose endpoint
            died goes on where it was. The endpoint does not tell its weights: other weights under the same name want
            another store.

    Raises:
        InputError: no endpoint is named.
    """

    def __init__(self, config: ModelConfig, served: Generator | None = None, replies: ReplyStore | None = None):
        self.config = config
        served = served or _from_environment(config.model_name)
        self._generator = served if replies is None else StoredGenerator(served, replies)
        self._cache = NoSampleCache()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        raise self._lacks("its endpoint has the tokenizer")

    @property
    def add_special_tokens(self) -> bool:
        return False  # the chat template there writes them

    @property
    def max_length(self) -> int:
        raise self._lacks("its endpoint alone knows how long a prompt may be")

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """One answer per question, at most its `generation_size` tokens long.

        Raises:
            InputError: a question cannot be asked or gets no answer, or the endpoint fails for good; answers that
                arrived before are in the store.
        """
        return greedy_answers(self._generator, docs, "PNG")

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        raise self._lacks("chat endpoints do not tell how likely a given answer is")

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        raise self._lacks("a chat model over images has no perplexity of a bare text")

    def _lacks(self, problem: str) -> InputError:
        return InputError(f"served model {self.config.model_name}", problem, "Evaluate the model's folder for that")


def _from_environment(model: str) -> ServerGenerator:
    base_url = os.environ.get("OPENAI_BASE_URL")
    if not base_url:
        raise InputError(
            "OPENAI_BASE_URL", "no endpoint is named", "Set it to an address like http://127.0.0.1:8000/v1"
        )
    return ServerGenerator(model, EndpointSettings(base_url))
