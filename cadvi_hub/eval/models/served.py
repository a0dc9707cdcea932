"""A model behind an OpenAI-compatible endpoint (vLLM first) for lighteval.

With lighteval's own command: `OPENAI_BASE_URL=http://127.0.0.1:8000/v1 lighteval custom MODEL eval/served_model.py
"bison|0" --custom-tasks cadvi_hub.eval.tasks`, where MODEL is its name at the endpoint.
"""

import os

from lighteval.models.abstract_model import ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models import base
from cadvi_hub.eval.models.chat import greedy_answers
from cadvi_hub.generation.chat import Generator, public_name
from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.store import StoredGenerator


class ServedModel(base.EvalModel):
    """Greedy answers of a model at an endpoint, many questions at a time.

    Args:
        config: `model_name` is the name in the results; without `served` also the model's name at the endpoint.
        served: asks the endpoints; by default the one at OPENAI_BASE_URL. If it stores replies, a stopped run
            continues where it was. `generation/identity.py` says which models it can distinguish.

    Raises:
        InputError: OPENAI_BASE_URL is needed and not set.
    """

    def __init__(self, config: ModelConfig, served: Generator | None = None):
        super().__init__(config)
        self._generator = served or _from_environment(config.model_name)

    def served(self) -> str:
        """What the endpoint says about the model, in words; a path shows its last two folders only."""
        facts = self._generator.served() if isinstance(self._generator, StoredGenerator) else {}
        return ", ".join(f"{key} {public_name(str(value))}" for key, value in facts.items())

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """One answer per question, at most its `generation_size` tokens long.

        Raises:
            InputError: a question cannot be asked or gets no answer, or the endpoint keeps failing; answers that
                arrived before are in the store.
        """
        return greedy_answers(self._generator, docs, "PNG")


def _from_environment(model: str) -> Generator:
    base_url = os.environ.get("OPENAI_BASE_URL")
    if not base_url:
        hint = "Set it to an address like http://127.0.0.1:8000/v1"
        raise InputError("OPENAI_BASE_URL", "no endpoint is named", hint)
    return make_generator(model, EndpointSettings(base_url))
