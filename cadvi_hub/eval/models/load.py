"""The model that `evaluate` asks: local, served, or the constant baseline."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lighteval.models.abstract_model import LightevalModel

CONSTANT = "constant"


@dataclass
class EndpointSettings:
    """An OpenAI-compatible endpoint that serves the model.

    Attributes:
        base_url: its address, up to and including `/v1`, or a list of endpoints that serve the same model; "" runs the
            model in this process.
        api_key_env: name of the environment variable that holds the key; unset means no key.
        concurrency: requests at an endpoint at once.
        timeout: seconds until a request counts as lost.
        max_retries: times that a request is sent again after a timeout, a lost connection, 429 or 5xx.
    """

    base_url: str | list[str] = ""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 32
    timeout: float = 300.0
    max_retries: int = 6


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

    from cadvi_hub.generation.store import ReplyStore

    if endpoint and endpoint.base_url:
        from cadvi_hub.eval.models.served import ServedModel
        from cadvi_hub.generation.server import ServerGenerator

        served = ServerGenerator(
            model,
            endpoint.base_url,
            api_key_env=endpoint.api_key_env,
            concurrency=endpoint.concurrency,
            timeout=endpoint.timeout,
            max_retries=endpoint.max_retries,
        )
        return ServedModel(config, served, ReplyStore(out / "replies.sqlite"))

    from cadvi_hub.eval.models.vision import VisionModel, local_model

    local = local_model(model, batch_size)
    return VisionModel(config, local, ReplyStore(out / "replies.sqlite"))
