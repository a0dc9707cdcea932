"""The model that `evaluate` asks: local, served, or the constant baseline."""

from pathlib import Path
from typing import TYPE_CHECKING

from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.settings import Dtype, EndpointSettings

if TYPE_CHECKING:
    from cadvi_hub.eval.models.base import EvalModel  # imports lighteval

CONSTANT = "constant"


def load_model(
    model: str,
    out: Path,
    name: str = "",
    batch_size: int = 32,
    endpoint: EndpointSettings | None = None,
    retry_unreadable: bool = False,
    dtype: Dtype = "auto",
) -> "EvalModel":
    """A local model, a served one, or the baseline; models store their replies in `out/replies.sqlite`.

    Args:
        model: folder or Hub repo id of a model or LoRA adapter, its name at the endpoint, or "constant".
        out: folder of the results, where a stopped run continues.
        name: the model's name in the results; "" takes the last part of `model`.
        batch_size: questions per forward pass of a local model.
        endpoint: where the model is served; None, or one without an address, runs it in this process.
        retry_unreadable: whether a served model is asked again where its stored answer is empty.
        dtype: of a local model's weights; "auto" is its own.

    Raises:
        InputError: there is no model, or `out` cannot be written.
    """
    from lighteval.models.abstract_model import ModelConfig

    config = ModelConfig(model_name=name or Path(model).name)
    if model == CONSTANT:
        from cadvi_hub.eval.models.constant import ConstantModel

        return ConstantModel(config)

    replies = out / "replies.sqlite"
    if endpoint and endpoint.base_url:
        from cadvi_hub.eval.models.served import ServedModel

        return ServedModel(config, make_generator(model, endpoint, replies=replies, retry_unreadable=retry_unreadable))

    from cadvi_hub.eval.models.vision import VisionModel
    from cadvi_hub.generation.store import ReplyStore
    from cadvi_hub.training.adapters import local_model

    return VisionModel(config, local_model(model, batch_size, dtype), ReplyStore(replies))
