"""One OpenAI-compatible endpoint: what we send, how we read its replies, and what its failures mean.

The API: https://platform.openai.com/docs/api-reference/chat; vLLM, llama.cpp and hosted services speak it.
"""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import FORMATS, open_encoded
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply
from cadvi_hub.generation.settings import EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

REFUSED = (400, 413, 422)  # about this one request, such as a too long one; not sent again
MAX_REFUSALS = 8  # after this many refusals without an answer, a short request tests whether it answers at all
BROKEN_OFF = ("abort", "content_filter", "error")  # finish reasons of replies that the model did not finish


class EndpointError(InputError):
    """The endpoint is out of use; another one may answer what it was asked."""


class Endpoint:
    """Answers requests one by one; `problem` holds the reason once it is out of use.

    Args:
        url: its address, up to and including `/v1`.
        model: name of the model there.
        settings: key, time-out and retries. The client pauses longer and longer between retries, or as long as the
            endpoint asks for (`Retry-After`).

    Raises:
        InputError: `url` is not an address.
    """

    def __init__(self, url: str, model: str, settings: EndpointSettings):
        address = http_address(url)
        self.problem: EndpointError | None = None
        self._url, self._model, self._settings = url, model, settings
        self.shown_url = address._replace(netloc=address.netloc.rpartition("@")[2], query="").geturl()
        self._replies = self._refusals = 0

    def connect(self) -> AsyncOpenAI:
        """A client for `answer`, to be used in one event loop and closed there."""
        from openai import AsyncOpenAI

        from cadvi_hub.generation.bounded_http import BoundedAsyncClient

        return AsyncOpenAI(
            base_url=self._url,
            api_key=self.key(),
            timeout=self._settings.timeout,
            max_retries=self._settings.max_retries,
            http_client=BoundedAsyncClient(self._settings.timeout),
        )

    async def answer(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Failed:
        """The reply to `request`; `Failed` if it is the request that cannot be answered.

        Raises:
            EndpointError: it is the endpoint that cannot answer.
            InputError: a picture of the request cannot be read.
        """
        try:
            outcome = await self._post(client, request)
            if isinstance(outcome, Reply):
                self._replies += 1
            elif not self._replies:
                self._refusals += 1
                await self._blame_form(client, request, outcome)
            return outcome
        except InputError:
            raise
        except Exception as error:
            problem, hint = self.meaning(error)
            if not self.problem and _may_be_the_requests_own(error) and await self._is_alive(client, request):
                return Failed(f"the endpoint {problem}, though it answers others")
            raise self._unusable(problem, hint) from None

    async def _post(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Failed:
        from openai import APIStatusError

        decoding = request.decoding
        body: dict[str, Any] = {
            "model": self._model,
            "messages": chat_messages(request),
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_tokens,
            "top_p": decoding.top_p,
            "seed": decoding.seed,
        }
        if decoding.stop:
            body["stop"] = list(decoding.stop)
        if request.json_schema:
            schema = {"name": "reply", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:  # as JSON: the client's typed call takes 50 % longer, to check what `_read` checks
            completion = await client.post("/chat/completions", body=body, cast_to=object)
        except APIStatusError as error:
            if error.status_code not in REFUSED:
                raise
            return Failed(f"{error.status_code}: {self._without_key(error.message)[:500]}")
        try:
            return _read(completion)
        except (AttributeError, LookupError, TypeError) as error:
            begin = self._without_key(" ".join(str(completion).split()))[:60]
            raise ValueError(f"it begins with {begin!r}") from error

    async def _blame_form(self, client: AsyncOpenAI, request: ChatRequest, refusal: Failed) -> None:
        """Raise if the endpoint, which has answered nothing so far, refuses every request of this form."""
        if self._refusals == 1 and request.json_schema:
            plain = replace(request, json_schema=None)
            if not await self._answers_short(client, request) and await self._answers_short(client, plain):
                raise self._unusable(f"takes no JSON schema ({refusal.reason})", "Set json_schema to false")
        if self._refusals == MAX_REFUSALS and not await self._answers_short(client, request):
            raise self._unusable(f"refuses every request ({refusal.reason})", "Check the model and the settings")

    async def _answers_short(self, client: AsyncOpenAI, request: ChatRequest) -> bool:
        """Whether it answers the shortest request of the same form as `request`."""
        short = message("user", "<image>\n" * len(request.images) + "Hello.")
        return isinstance(await self._post(client, replace(request, messages=[short])), Reply)

    async def _is_alive(self, client: AsyncOpenAI, request: ChatRequest) -> bool:
        try:
            return await self._answers_short(client, request)
        except Exception:  # whatever it is: the first failure is the one to report
            return False

    def meaning(self, error: Exception) -> tuple[str, str]:
        """What is wrong, and a hint, after the last retry."""
        import ssl

        from httpx2 import HTTPError, ProxyError
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        from cadvi_hub.generation.bounded_http import RefusedReplyError

        tries = f"tried {self._settings.max_retries + 1} times"
        match error:
            case APIStatusError(status_code=403) if proxy := proxy_of(self._url):
                hint = f"Ask the proxy's owner, set NO_PROXY, or set {self._settings.api_key_env}"
                return f"is refused (403), by itself or by the proxy {proxy}", hint
            case APIStatusError(status_code=401 | 403):
                return "does not take the key", f"Set {self._settings.api_key_env} to a key that is valid there"
            case APIStatusError(status_code=404):
                hint = "Check the model's name, and that the address ends in /v1"
                return f"knows no model {self._model!r} or no chat completions (404)", hint
            case APIStatusError(status_code=status):
                hint = "Lower the concurrency" if status == 429 else "Look at its log"
                said = self._without_key(error.message)[:200]
                return (
                    f"still answers {status} after {self._settings.max_retries} retries ({said})",
                    f"{hint}; run again",
                )
            case APITimeoutError():
                hint = "Look at its log, or raise the timeout; run again"
                return f"gave no answer within {self._settings.timeout:g} s, {tries}", hint
            case APIConnectionError() | HTTPError():
                if refused := _cause(error, RefusedReplyError):
                    return refused.problem, refused.hint
                if untrusted := _cause(error, ssl.SSLCertVerificationError):
                    reason = untrusted.verify_message or str(untrusted)
                    hint = "Check the address; for an authority of your own, name its certificate in SSL_CERT_FILE"
                    return f"has a TLS certificate that is not valid ({reason})", hint
                if unencrypted := _cause(error, ssl.SSLError):
                    problem = f"does not speak TLS ({unencrypted.reason or unencrypted})"
                    return problem, "Check whether its address begins with http:// or https://"
                if blocked := _cause(error, ProxyError):
                    problem = f"cannot be reached: the proxy {proxy_of(self._url)} says {str(blocked)[:200]!r}"
                    return problem, "Check HTTP_PROXY and HTTPS_PROXY, or add the endpoint's host to NO_PROXY"
                is_there = "Connect" not in type(error.__cause__).__name__
                problem = "breaks off the connection" if is_there else "cannot be reached"
                return f"{problem}, {tries}", "Look at its log; run again" if is_there else "Start it; run again"
        hint = "Check that the address ends in /v1 and that an OpenAI-compatible server runs there"
        said = self._without_key(str(error)).strip().split("\n")[0][:200]
        return f"answers with something other than a chat completion ({said or type(error).__name__})", hint

    def _unusable(self, problem: str, hint: str) -> EndpointError:
        self.problem = self.problem or EndpointError(f"endpoint {self.shown_url}", problem, hint)
        return self.problem

    def key(self) -> str:
        """The key that the environment holds, or a word for servers that need none."""
        return os.environ.get(self._settings.api_key_env) or "EMPTY"

    def _without_key(self, text: str) -> str:
        return text.replace(self.key(), "[key]")


def http_address(url: str) -> SplitResult:
    """The parts of `url`.

    Raises:
        InputError: it is not an address of http or https.
    """
    try:
        address = urlsplit(url)
        is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # such as half of an IPv6 address, or a port of letters
        is_address = False
    if not is_address or any(character.isspace() or character < " " for character in url):
        raise InputError("base_url", "it is not an http(s) address", "Write it like http://127.0.0.1:8000/v1")
    return address


def proxy_of(url: str) -> str:
    """The proxy that the environment names for `url`, without its password; "" if there is none."""
    address = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(address.hostname or ""):
        return ""
    return proxy.rpartition("@")[2]


_Error = TypeVar("_Error", bound=BaseException)


def _cause(error: BaseException, kind: type[_Error]) -> _Error | None:
    """The first of `kind` among `error` and what caused it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found


def chat_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages in the form of the chat completions API, images as data URLs where the prompt has them."""
    images = iter(request.images)

    def content(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if all(part["type"] == "text" for part in parts):
            return _whole("".join(part["text"] for part in parts))
        return [
            {"type": "text", "text": _whole(part["text"])}
            if part["type"] == "text"
            else {"type": "image_url", "image_url": {"url": _data_url(next(images))}}
            for part in parts
        ]

    return [{"role": turn["role"], "content": content(turn["content"])} for turn in request.messages]


def _data_url(data: bytes) -> str:
    try:
        with open_encoded(data) as image:
            mime = image.get_format_mimetype()
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error, ValueError …
        problem = f"it is damaged, or none of {', '.join(FORMATS)}"
        raise InputError("picture of a request", problem, "Give PNG or JPEG pictures") from error
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _read(completion: Any) -> Reply | Failed:
    """What a completion says; raises AttributeError, LookupError or TypeError if it is not a completion."""
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
    if finish_reason in BROKEN_OFF or (text is None and finish_reason != "length"):
        return Failed(f"the reply has no {'end' if text else 'text'} (finish_reason {finish_reason!r})")
    return Reply(
        text=_whole(text or ""),
        finish_reason="length" if finish_reason == "length" else "stop",
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
    )


def _tokens(number: Any) -> int:
    """A number of tokens; 0 for a value that cannot be one, which is no reason to lose the reply."""
    return number if isinstance(number, int) and 0 <= number < 2**31 else 0


def _may_be_the_requests_own(error: Exception) -> bool:
    """Whether one request can cause this while the endpoint answers others; an overloaded one fails them all."""
    from openai import APIConnectionError, APIStatusError

    return error.status_code == 500 if isinstance(error, APIStatusError) else not isinstance(error, APIConnectionError)


def _whole(text: str) -> str:
    """`text` without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
