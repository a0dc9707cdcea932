"""A local image-text-to-text model for lighteval: the images go where the question has them.

With lighteval's own command: `lighteval custom FOLDER_OR_REPO eval/vision_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`. lighteval wants exactly one model class in this file.
"""

import tempfile
from pathlib import Path

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models.chat import greedy_answers
from cadvi_hub.eval.models.ranking import OptionRanker, rank_options
from cadvi_hub.eval.models.sample_cache import NoSampleCache
from cadvi_hub.generation.chat import Generator
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from cadvi_hub.training.adapters import fetch_adapter, merge, names_adapter


class VisionModel(LightevalModel):
    """Greedy answers of a chat model, through the processor's chat template; each question is a chat of its own.

    Args:
        config: `model_name` is the name in the results; without a `local` model also its folder or Hub repo id. A
            LoRA adapter is merged onto its base first.
        local: the model.
        replies: keeps each answer, and each ranking of options, under the digest of weights and request, so that a
            run that was stopped goes on where it was.
    """

    def __init__(self, config: ModelConfig, local: LocalGenerator | None = None, replies: ReplyStore | None = None):
        self.config = config
        self._local = local or local_model(config.model_name)
        self._generator: Generator = self._local
        self._ranker: Generator = OptionRanker(self._local)
        if replies is not None:
            self._generator = StoredGenerator(self._generator, replies)
            self._ranker = StoredGenerator(self._ranker, replies)
        self._cache = NoSampleCache()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._local.load()[2]

    @property
    def add_special_tokens(self) -> bool:
        return False  # the chat template writes them

    @property
    def max_length(self) -> int:
        """Positions of the language model, in tokens."""
        return self._local.load()[0].config.get_text_config().max_position_embeddings

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """One answer per question, at most its `generation_size` tokens long.

        Raises:
            InputError: a question cannot be asked, or is too long for the model.
        """
        return greedy_answers(self._generator, docs, "PPM")

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log)."""
        return rank_options(self._ranker, docs)

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        problem = "a chat model over images has no perplexity of a bare text"
        raise InputError(self.config.model_name, problem, "Use tasks that ask for an answer or rank choices")


def local_model(model: str, batch_size: int = 16) -> LocalGenerator:
    """The model of a folder or Hub repo id; an adapter is merged, proven and loaded from a passing folder."""
    if not names_adapter(model):
        return LocalGenerator(model, batch_size=batch_size)
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder, *Path(model).resolve().parts[-2:])  # the model goes by these names
        merge(fetch_adapter(model), merged)
        generator = LocalGenerator(str(merged), batch_size=batch_size)
        generator.load()
    return generator
