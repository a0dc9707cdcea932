"""One OpenAI-compatible endpoint: what we send, how we read its replies, and what its failures mean.

The API: https://platform.openai.com/docs/api-reference/chat; vLLM, llama.cpp and hosted services speak it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply, without_system_role
from cadvi_hub.generation.completions import (
    ReplyError,
    check_for_error,
    check_parameters,
    may_be_the_requests_own,
    read_completion,
)
from cadvi_hub.generation.completions import request_body as body_of
from cadvi_hub.generation.settings import EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

REFUSED = (400, 413, 422)  # about this one request, such as a too long one; not sent again
MAX_REFUSALS = 8  # after this many refusals in a row, a short request of the same form tests whether it is answered
PASSING = (408, 429, 500, 502, 503, 504)  # asked again where a response with status 200 holds them
PAUSES = (1, 2, 4, 8, 15, 30, 60)  # seconds between further tries at an endpoint that limits the rate: two minutes

logger = logging.getLogger(__name__)


class EndpointError(InputError):
    """The endpoint is out of use; another one may answer what it was asked."""


class Endpoint:
    """Answers requests one by one; `problem` holds the reason once it is out of use.

    Args:
        url: its address, up to and including `/v1`.
        model: name of the model there.
        settings: key, time-out, retries and parameters. The client pauses longer and longer between retries, or as
            long as the endpoint asks for (`Retry-After`).

    Raises:
        InputError: `url` is not an address, or a parameter of `settings` cannot be changed.
    """

    def __init__(self, url: str, model: str, settings: EndpointSettings):
        address = http_address(url)
        check_parameters(settings)
        self.problem: EndpointError | None = None
        self._url, self._model, self._settings = url, model, settings
        self.shown_url = address._replace(netloc=address.netloc.rpartition("@")[2], query="").geturl()
        self._replies = self._refusals = 0  # refusals since the last reply
        self._has_system_role = True  # until it turns out not to
        self._ranks = True  # until it refuses a request for log-probabilities

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
            outcome = await self._post_in_its_form(client, request)
            if isinstance(outcome, Reply):
                self._replies, self._refusals = self._replies + 1, 0
            else:
                self._refusals += 1
                await self._blame_form(client, request, outcome)
            return outcome
        except InputError:
            raise
        except Exception as error:
            problem, hint = self.meaning(error)
            if not self.problem and may_be_the_requests_own(error) and await self._is_alive(client, request):
                return Failed(f"the endpoint {problem}, though it answers others")
            raise self._unusable(problem, hint) from None

    async def _post_in_its_form(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Failed:
        """The outcome of `request`; if the model has no system role, of the request without one.

        Only a real request shows whether it has one, because the chat template refuses the role, not the endpoint.
        """
        from openai import APIStatusError

        if not any(turn["role"] == "system" for turn in request.messages):
            return await self._post(client, request)
        merged = replace(request, messages=without_system_role(request.messages))
        if not self._has_system_role:
            return await self._post(client, merged)
        refusal: Failed | Exception
        try:
            outcome = await self._post(client, request)
            if isinstance(outcome, Reply):
                return outcome
            refusal = outcome
        except (APIStatusError, ReplyError) as error:
            if error.status_code != 500:  # as some servers answer where a template raises
                raise
            refusal = error
        if not self._replies or not self._has_system_role:  # the role has been taken by none so far
            with suppress(APIStatusError, ReplyError):
                if isinstance(answer := await self._post(client, merged), Reply):
                    if self._has_system_role:
                        logger.warning("%s: the model has no system role; the first user turn gets it", self.shown_url)
                    self._has_system_role = False
                    return answer
        if isinstance(refusal, Exception):
            raise refusal
        return refusal

    async def _post(self, client: AsyncOpenAI, request: ChatRequest) -> Reply | Failed:
        from openai import APIStatusError

        body = body_of(self._model, request, self._settings, self._ranks)
        try:
            completion = await self._completion(client, body)
        except (APIStatusError, ReplyError) as error:
            if error.status_code not in REFUSED:
                raise
            if "logprobs" in body:  # it may refuse nothing but these
                outcome = await self._post(client, replace(request, options=()))
                self._ranks = not isinstance(outcome, Reply)
                return outcome
            return Failed(f"{error.status_code}: {self._without_key(error.message)[:500]}")
        try:
            return read_completion(completion, request.options)
        except (AttributeError, LookupError, TypeError) as error:
            begin = self._without_key(" ".join(str(completion).split()))[:60]
            raise ValueError(f"it begins with {begin!r}") from error

    async def _completion(self, client: AsyncOpenAI, body: dict[str, Any]) -> Any:
        """The response to `body`. An endpoint that limits the rate is asked again after `PAUSES`, beyond the client's
        retries; so is one whose response holds a passing error."""
        from openai import RateLimitError

        for number, pause in enumerate(chain(PAUSES, [None])):
            try:  # as JSON: the client's typed call takes 50 % longer, to check what `read_completion` checks
                completion = await client.post("/chat/completions", body=body, cast_to=object)
                check_for_error(completion)
                return completion
            except RateLimitError as error:
                if pause is None or error.code == "insufficient_quota" or "retry-after" in error.response.headers:
                    raise
            except ReplyError as error:
                out_of_tries = pause is None or (number >= self._settings.max_retries and error.status_code != 429)
                if out_of_tries or error.status_code not in PASSING:
                    raise
            await asyncio.sleep(pause or 0)
        raise AssertionError("the last try returns or raises")

    async def _blame_form(self, client: AsyncOpenAI, request: ChatRequest, refusal: Failed) -> None:
        """Raise if the endpoint refuses every request of this form."""
        if not self._has_system_role:
            request = replace(request, messages=without_system_role(request.messages))
        if self._refusals == 1 and not self._replies and request.json_schema:
            plain = replace(request, json_schema=None)
            if not await self._answers_short(client, request) and await self._answers_short(client, plain):
                raise self._unusable(f"takes no JSON schema ({refusal.reason})", "Set json_schema to false")
        if self._refusals % MAX_REFUSALS == 0 and not await self._answers_short(client, request):
            hint = "Check the model and the settings; extra_body and rename_parameters change what is sent"
            raise self._unusable(f"refuses every request ({refusal.reason})", hint)

    async def _answers_short(self, client: AsyncOpenAI, request: ChatRequest) -> bool:
        """Whether it answers a short request of the same form: the roles of its turns, and its pictures."""
        turns = [message(turn["role"], "Hello.") for turn in request.messages]
        last = max((k for k, turn in enumerate(turns) if turn["role"] == "user"), default=0)
        turns[last] = message("user", "<image>\n" * len(request.images) + "Hello.")
        return isinstance(await self._post(client, replace(request, messages=turns)), Reply)

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
            case APIStatusError(status_code=401 | 403) | ReplyError(status_code=401 | 403):
                return "does not take the key", f"Set {self._settings.api_key_env} to a key that is valid there"
            case APIStatusError(status_code=404) | ReplyError(status_code=404):
                hint = "Check the model's name, and that the address ends in /v1"
                return f"knows no model {self._model!r} or no chat completions (404)", hint
            case APIStatusError(status_code=status) | ReplyError(status_code=status):
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
