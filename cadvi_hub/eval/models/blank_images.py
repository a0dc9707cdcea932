"""The text-only baseline: the score of a model that reads the question and sees only grey pictures.

With lighteval's own command: `lighteval custom FOLDER_OR_REPO eval/blank_images.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from PIL import Image
from transformers import PreTrainedTokenizerBase

from cadvi_hub.eval.models import base

GREY = (127, 127, 127)  # black could look like a picture that is missing


class BlankImages(base.EvalModel):
    """Shows a model a grey picture of the same size instead of every picture.

    Args:
        config: of the model; without a `model` it names a local one.
        model: the model to ask.
    """

    def __init__(self, config: ModelConfig, model: LightevalModel | None = None):
        super().__init__(config)
        if model is None:
            from cadvi_hub.eval.models.vision import VisionModel

            model = VisionModel(config)
        self._model = model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._model.tokenizer

    @property
    def max_length(self) -> int:
        return self._model.max_length

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        return self._model.greedy_until(list(map(_blanked, docs)))

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        return self._model.loglikelihood(list(map(_blanked, docs)))


class _Blanks(Sequence[Image.Image]):
    """A grey picture for each of `images`, made when the model asks for it."""

    def __init__(self, images: Sequence[Image.Image]):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return Image.new("RGB", self._images[index].size, GREY)


def _blanked(doc: Doc) -> Doc:
    return replace(doc, images=_Blanks(doc.images or []))  # type: ignore[arg-type]  # lighteval asks for a list
