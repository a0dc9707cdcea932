"""A local image-text-to-text model for lighteval: the images go where the question has them.

With lighteval's own command: `lighteval custom FOLDER_OR_REPO eval/vision_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`.
"""

from lighteval.models.abstract_model import ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from transformers import PreTrainedTokenizerBase

from cadvi_hub.eval.models import base
from cadvi_hub.eval.models.chat import greedy_answers
from cadvi_hub.eval.models.ranking import rank_options
from cadvi_hub.generation.chat import Generator
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from cadvi_hub.training.adapters import local_model


class VisionModel(base.EvalModel):
    """Greedy answers of a chat model, through the processor's chat template; each question is a chat of its own.

    Args:
        config: `model_name` is the name in the results; without a `local` model also its folder or Hub repo id. A
            LoRA adapter is merged onto its base first.
        local: the model.
        replies: keeps each answer, and each ranking of options, under the digest of weights and request, so that a
            stopped run continues where it was.
    """

    def __init__(self, config: ModelConfig, local: LocalGenerator | None = None, replies: ReplyStore | None = None):
        super().__init__(config)
        self._local = local or local_model(config.model_name)
        self._generator: Generator = self._local
        if replies is not None:
            self._generator = StoredGenerator(self._generator, replies)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer: PreTrainedTokenizerBase = self._local.load()[2]
        return tokenizer

    @property
    def max_length(self) -> int:
        """Positions of the language model, in tokens."""
        return int(self._local.load()[0].config.get_text_config().max_position_embeddings)

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """One answer per question, at most its `generation_size` tokens long.

        Raises:
            InputError: a question cannot be asked, or is too long for the model.
        """
        return greedy_answers(self._generator, docs, "BMP")

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log)."""
        return rank_options(self._generator, docs)
