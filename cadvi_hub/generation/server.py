"""Chat requests to any OpenAI-compatible endpoint (vLLM, llama.cpp, a hosted service)."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import operator
import os
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from cadvi_hub.errors import InputError
from cadvi_hub.generation import ChatRequest, Failed, OnReply, Reply, public_name
from cadvi_hub.schema import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOOK_AHEAD = 4  # requests read ahead, per request that may be at the endpoint: a slow one does not idle the others
MAX_REFUSALS = 8  # an endpoint that refuses this many requests and answers none cannot do what we ask


def chat_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages in the form of the chat completions API, images as data URLs where the prompt has them."""
    images = iter(request.images)

    def content(message: Message) -> str | list[dict[str, Any]]:
        parts = message["content"]
        if all(part["type"] == "text" for part in parts):
            return "".join(part["text"] for part in parts)
        return [
            {"type": "text", "text": part["text"]}
            if part["type"] == "text"
            else {"type": "image_url", "image_url": {"url": _data_url(next(images))}}
            for part in parts
        ]

    return [{"role": message["role"], "content": content(message)} for message in request.messages]


def _data_url(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            mime = image.get_format_mimetype()
    except UnidentifiedImageError as error:
        raise InputError("picture of a request", "its format is not known", "Give PNG or JPEG pictures") from error
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


class ServerGenerator:
    """Answers by an endpoint, `concurrency` requests at a time.

    The client sends a request again, `max_retries` times with growing pauses, after 408, 409, 429, 5xx, a timeout or
    a lost connection. A request that the endpoint refuses (400, 413, 422: too long, say) is `Failed`, and the rest
    goes on.

    Args:
        model: name of the model at the endpoint.
        base_url: the endpoint, up to and including `/v1`.
        api_key_env: environment variable that holds the key; unset or empty means that the endpoint wants none.
        concurrency: requests at the endpoint at once.
        timeout: seconds until a request counts as lost.
        max_retries: how often a request is sent again.

    Raises:
        InputError: (from `generate`) the endpoint is not there, knows no such model, takes no such key, does not
            speak this API, or has failed for longer than the retries last.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        timeout: float = 300.0,
        max_retries: int = 6,
    ):
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError("base_url", "it is no http(s) address", "Write it like http://127.0.0.1:8000/v1")
        self.name, self._model = public_name(model), model  # some servers know a model by the path that it has there
        self._base_url, self._api_key_env = base_url, api_key_env
        self._shown_url = address._replace(netloc=address.netloc.rpartition("@")[2], query="").geturl()
        self._concurrency, self._timeout, self._max_retries = concurrency, timeout, max_retries

    def generate(self, requests: Iterable[ChatRequest], on_reply: OnReply | None = None) -> Iterator[Reply | Failed]:
        arrived: SimpleQueue[tuple[int, Reply | Failed | Exception]] = SimpleQueue()
        remaining = iter(requests)
        is_counted = operator.length_hint(remaining) > 0
        in_flight: dict[int, ChatRequest] = {}
        done: dict[int, Reply | Failed] = {}
        asked = yielded = replies = refusals = 0

        def take(index: int, outcome: Reply | Failed | Exception) -> None:
            nonlocal replies, refusals
            request = in_flight.pop(index)
            if isinstance(outcome, Reply):
                replies += 1
                progress.update()
                tokens["tokens"] += outcome.completion_tokens
                progress.set_postfix(tokens, refresh=False)
                if on_reply:
                    on_reply(request, outcome)
            elif isinstance(outcome, Failed):
                refusals += 1
                if refusals >= MAX_REFUSALS and not replies:
                    raise self._error(f"refuses every request ({outcome.reason})", "Check the model and the settings")
            else:
                while not arrived.empty():  # what was answered by now is paid for: hand it on before giving up
                    index, other = arrived.get()
                    if isinstance(other, Reply):
                        take(index, other)
                raise self._explained(outcome) from None
            done[index] = outcome

        tokens = {"tokens": 0}
        with (
            _Connection(self, arrived) as connection,
            tqdm(desc=self.name, unit=" replies", leave=False, disable=None) as progress,
        ):
            while True:
                for request in itertools.islice(remaining, LOOK_AHEAD * self._concurrency - (asked - yielded)):
                    in_flight[asked] = request
                    connection.ask(asked, request)
                    asked += 1
                if is_counted:
                    progress.total = asked + operator.length_hint(remaining)
                if yielded == asked:
                    return
                while yielded not in done:
                    take(*arrived.get())
                yield done.pop(yielded)
                yielded += 1

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=self._base_url, api_key=self._key(), timeout=self._timeout, max_retries=self._max_retries
        )

    def _key(self) -> str:
        return os.environ.get(self._api_key_env) or "EMPTY"

    async def _answer(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Failed | Exception:
        from openai import APIStatusError, omit

        decoding = request.decoding
        schema = {"name": "reply", "schema": request.json_schema, "strict": True}
        try:
            completion: Any = await client.chat.completions.create(
                model=self._model,
                messages=chat_messages(request),  # type: ignore[arg-type]
                temperature=decoding.temperature,
                max_tokens=decoding.max_tokens,
                top_p=decoding.top_p,
                seed=decoding.seed,
                stop=list(decoding.stop) or omit,
                response_format={"type": "json_schema", "json_schema": schema} if request.json_schema else omit,  # type: ignore[arg-type]
            )
            choice, usage = completion.choices[0], completion.usage
            return Reply(
                text=_whole(choice.message.content or ""),
                finish_reason="length" if choice.finish_reason == "length" else "stop",
                prompt_tokens=usage.prompt_tokens if usage else 0,
                completion_tokens=usage.completion_tokens if usage else 0,
            )
        except APIStatusError as error:
            if error.status_code in (400, 413, 422):
                return Failed(f"{error.status_code}: {self._without_key(error.message)[:500]}")
            return error
        except Exception as error:  # goes to the caller's thread, which raises what it means
            return error

    def _explained(self, error: Exception) -> InputError:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        match error:
            case APIStatusError(status_code=401 | 403):
                return self._error("does not take the key", f"Set {self._api_key_env} to a key that is valid there")
            case APIStatusError(status_code=404):
                mend = "Check the model's name, and that the address ends in /v1"
                return self._error(f"knows no model {self._model!r} or no chat completions (404)", mend)
            case APIStatusError():
                fault = f"still answers {error.status_code} after {self._max_retries} retries"
                return self._error(f"{fault} ({self._without_key(error.message)[:200]})", "Look at its log; run again")
            case APITimeoutError():
                fault = f"gave no answer within {self._timeout:g} s, tried {self._max_retries + 1} times"
                return self._error(fault, "Look at its log, or raise the timeout; run again")
            case APIConnectionError():
                return self._error(f"cannot be reached, tried {self._max_retries + 1} times", "Start it; run again")
            case InputError():
                return error
        mend = "Check that the address ends in /v1 and that an OpenAI-compatible server runs there"
        return self._error(f"answers with something other than a chat completion ({type(error).__name__})", mend)

    def _error(self, fault: str, mend: str) -> InputError:
        return InputError(f"endpoint {self._shown_url}", fault, mend)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key(), "[key]")


class _Connection:
    """An event loop in a thread of its own, with the client in it; outcomes go to a queue as they arrive."""

    def __init__(self, generator: ServerGenerator, arrived: SimpleQueue[tuple[int, Reply | Failed | Exception]]):
        self._generator, self._arrived = generator, arrived
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._slots = asyncio.Semaphore(generator._concurrency)
        self._client = generator._client()

    def ask(self, index: int, request: ChatRequest) -> None:
        asyncio.run_coroutine_threadsafe(self._ask(index, request), self._loop)

    async def _ask(self, index: int, request: ChatRequest) -> None:
        async with self._slots:
            self._arrived.put((index, await self._generator._answer(self._client, request)))

    def __enter__(self) -> _Connection:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.close()


def _whole(text: str) -> str:
    """`text` without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
