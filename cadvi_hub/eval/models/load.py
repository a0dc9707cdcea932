"""The model that `evaluate` asks: local, served, or the constant baseline."""

from pathlib import Path
from typing import TYPE_CHECKING

from cadvi_hub.generation.make import make_generator
from cadvi_hub.generation.settings import EndpointSettings

if TYPE_CHECKING:
    from lighteval.models.abstract_model import LightevalModel

CONSTANT = "constant"


def load_model(
    model: str, out: Path, name: str = "", batch_size: int = 32, endpoint: EndpointSettings | None = None
) -> "LightevalModel":
    """The model of a folder or Hub repo id, of an endpoint, or the baseline; replies are kept in `out/replies.sqlite`.

    Args:
        model: folder or Hub repo id of a model or LoRA adapter, its name at the endpoint, or "constant".
        out: folder of the results, where a stopped run goes on.
        name: the model's name in the results; "" takes the last part of `model`.
        batch_size: questions per forward pass of a local model.
        endpoint: where the model is served; None, or one without address, loads it into this process.

    Raises:
        InputError: no model is there, or `out` cannot hold the replies.
    """
    from lighteval.models.abstract_model import ModelConfig

    config = ModelConfig(model_name=name or Path(model).name)
    if model == CONSTANT:
        from cadvi_hub.eval.models.constant import ConstantModel

        return ConstantModel(config)

    replies = out / "replies.sqlite"
    if endpoint and endpoint.base_url:
        from cadvi_hub.eval.models.served import ServedModel

        return ServedModel(config, make_generator(model, endpoint, replies=replies))

    from cadvi_hub.eval.models.vision import VisionModel, local_model
    from cadvi_hub.generation.store import ReplyStore

    return VisionModel(config, local_model(model, batch_size), ReplyStore(replies))
