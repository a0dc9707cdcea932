"""Answers that appear while they are written, from a model in this process or from an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Protocol, cast

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import DEMO_BASE_FOLDER, named
from cadvi_hub.generation.chat import ChatRequest
from cadvi_hub.generation.completions import chat_messages
from cadvi_hub.generation.endpoint import Endpoint
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.settings import EndpointSettings

DEMO_MODEL = Path("out/demo/models/v1/merged")  # where `make demo` leaves its V1 model
# "What do the two images have in common, and how do they differ?": as anybody would ask. It matters to small models:
# the demo's first base wrote both parts of a summary for 96 of 120 pairs when asked this, and for 45 when asked to
# summarize.
IN_COMMON_AND_DIFFERENT = 1
TIMEOUT = 120  # seconds until an endpoint counts as lost
LONGEST = 600  # seconds that one answer may take


class Chat(Protocol):
    """A model to talk to."""

    name: str
    about: str  # what a reader must know about it

    def stream(self, request: ChatRequest) -> Iterator[str]:
        """The answer in pieces, in order; closing the iterator stops the model.

        Raises:
            InputError: the model does not exist, cannot be reached, or has no room for the conversation.
        """
        ...


def chat_with(model: str = "", base_url: str = "", api_key_env: str = "OPENAI_API_KEY") -> Chat:
    """The model at `base_url`, or the local one; without a name the demo's V1 model, or the base in the package.

    Raises:
        InputError: an endpoint without the name of a model, or something that is not an address.
    """
    if base_url:
        return EndpointChat(base_url, model, api_key_env)
    return LocalChat(named(model) or str(DEMO_MODEL if DEMO_MODEL.is_dir() else DEMO_BASE_FOLDER))


class LocalChat:
    """A model in this process, loaded at the first question; it answers one conversation at a time."""

    def __init__(self, model: str):
        self._model = model
        self._generator: LocalGenerator | None = None
        self.name = "/".join(Path(model).parts[-2:])
        self.about = f"The model is {self.name}, run on this machine."
        if model == str(DEMO_BASE_FOLDER):
            self.about = (
                "This one is the demo's base model, which has never been shown two pictures: expect little. "
                "Name a tuned one with --model, or run `make demo` first."
            )
        self._lock = Lock()

    def stream(self, request: ChatRequest) -> Iterator[str]:
        try:
            import torch
            from transformers import StoppingCriteriaList, TextIteratorStreamer

            from cadvi_hub.training.adapters import local_model
        except ModuleNotFoundError as error:
            hint = "Run `pip install 'cadvi-hub[train]'`, or name an endpoint"
            raise InputError(f"model {self.name}", f"{error.name} is not installed", hint) from error

        with self._lock:
            generator = self._generator = self._generator or local_model(self._model)
            model, _, tokenizer = generator.load()
            inputs = generator.encode([request])
            room = model.config.get_text_config().max_position_embeddings - inputs["input_ids"].shape[1]
            if room < 1:
                problem = "the conversation is longer than it can read"
                raise InputError(f"model {self.name}", problem, "Begin a new comparison")
            streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
            stopped, failed = Event(), []

            def is_stopped(input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
                return torch.full((input_ids.shape[0],), stopped.is_set(), device=input_ids.device)

            def write() -> None:
                try:
                    torch.manual_seed(request.decoding.seed)
                    with torch.inference_mode():
                        model.generate(
                            **inputs,
                            max_new_tokens=min(request.decoding.max_tokens, room),
                            do_sample=False,
                            num_beams=1,
                            temperature=None,
                            top_p=None,
                            top_k=None,
                            streamer=streamer,
                            stopping_criteria=StoppingCriteriaList([is_stopped]),
                        )
                except Exception as error:  # raised below, by the reader of the stream, which must not wait for ever
                    failed.append(error)
                finally:
                    streamer.end()

            writer = Thread(target=write, daemon=True)
            writer.start()
            try:
                yield from streamer
            finally:
                stopped.set()
                writer.join()
            if failed:
                problem = f"it failed ({type(failed[0]).__name__}: {str(failed[0])[:200]})"
                raise InputError(f"model {self.name}", problem, "Look at its folder, or name another model")


class EndpointChat:
    """A model that an OpenAI-compatible endpoint serves; its key never leaves the request."""

    def __init__(self, base_url: str, model: str, api_key_env: str):
        settings = EndpointSettings(timeout=TIMEOUT, max_retries=1, api_key_env=api_key_env)
        self._endpoint = Endpoint(base_url, model, settings)
        if not model:
            raise InputError("model", "none is named", "Give --model the name that the endpoint has for it")
        self.name, self._url = model, base_url
        self.about = f"The model is {model} at {self._endpoint.shown_url}."

    def stream(self, request: ChatRequest) -> Iterator[str]:
        from openai import OpenAI

        from cadvi_hub.generation.bounded_http import BoundedClient

        key, decoding = self._endpoint.key(), request.decoding
        try:
            with (
                OpenAI(
                    base_url=self._url,
                    api_key=key,
                    timeout=TIMEOUT,
                    max_retries=1,
                    http_client=BoundedClient(LONGEST),
                ) as client,
                cast(Any, client.chat.completions.create)(
                    model=self.name,
                    messages=chat_messages(request),
                    temperature=decoding.temperature,
                    max_tokens=decoding.max_tokens,
                    seed=decoding.seed,
                    stream=True,
                ) as chunks,
            ):
                for chunk in chunks:
                    if chunk.choices and (piece := chunk.choices[0].delta.content):
                        yield piece
        except InputError:
            raise
        except Exception as error:  # whatever the client raises, the reader gets a message without the key
            problem, hint = self._endpoint.meaning(error)
            raise InputError(f"endpoint {self._endpoint.shown_url}", problem, hint) from None
