"""Makes the model that settings name."""

from __future__ import annotations

from pathlib import Path

from cadvi_hub.generation.chat import Generator
from cadvi_hub.generation.settings import EndpointSettings
from cadvi_hub.generation.store import ReplyStore, StoredGenerator


def make_generator(
    model: str,
    endpoint: EndpointSettings | None,
    *,
    revision: str = "",
    batch_size: int = 8,
    replies: Path | None = None,
    retry_unreadable: bool = False,
) -> Generator:
    """The model at `endpoint`; without an endpoint, the model in this process.

    Args:
        model: its name at the endpoint; in this process a Hub id or a folder.
        endpoint: where it is served.
        revision: of its weights; part of the generator's name. "" takes `main` of a Hub id.
        batch_size: requests per forward pass in this process.
        replies: file that keeps every reply, so that a rerun asks nothing twice; None keeps none.
        retry_unreadable: whether stored replies that are empty or cannot be read are asked again.

    Raises:
        InputError: an address is not valid, no model is there, or `replies` cannot be written.
    """
    generator: Generator
    if endpoint is None:
        from cadvi_hub.generation.local import LocalGenerator

        generator = LocalGenerator(model, revision or "main", batch_size)
    else:
        from cadvi_hub.generation.server import ServerGenerator

        generator = ServerGenerator(model, endpoint, revision)
    return generator if replies is None else StoredGenerator(generator, ReplyStore(replies), retry_unreadable)
