"""Where a model is served, and how its replies are sampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.core.ranges import Parallel, Ranged, Retries, Seconds, Seed, ShareAboveZero, Temperature, Tokens

Dtype = Literal["auto", "float32", "bfloat16", "float16"]  # of a local model's weights


@dataclass
class EndpointSettings(Ranged):
    """An OpenAI-compatible endpoint that serves the model.

    Attributes:
        base_url: its address, up to and including `/v1`, or a list of endpoints that serve the same model; "" runs the
            model in this process.
        api_key_env: name of the environment variable that holds the key; unset means no key.
        concurrency: requests at an endpoint at once.
        timeout: seconds until a request counts as lost.
        max_retries: times that a request is sent again after a timeout, a lost connection, 408, 409, 429 or 5xx. After
            them, an endpoint that only limits the rate (429) is still waited for, for two minutes.
        extra_body: keys that are added to the body of every request, such as `chat_template_kwargs: {enable_thinking:
            false}` or `reasoning_effort: low`. Replies are stored apart for each value, and rows record it.
        rename_parameters: the server's names of parameters, such as `max_tokens: max_completion_tokens`; null leaves
            one out (`seed: null`). The parameters: temperature, max_tokens, top_p, seed, stop, response_format.
    """

    base_url: str | list[str] = ""
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Parallel = 32
    timeout: Seconds = 300.0
    max_retries: Retries = 6
    extra_body: dict[str, Any] = field(default_factory=dict)
    rename_parameters: dict[str, str | None] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """Each endpoint's address, once."""
        return [self.base_url] if isinstance(self.base_url, str) else list(dict.fromkeys(self.base_url))


@dataclass
class SamplingSettings(Ranged):
    """How replies are sampled.

    Attributes:
        max_tokens: longest reply.
        temperature: 0 is greedy.
        top_p: nucleus sampling, where the temperature is above 0.
        seed: of the sampling.
        json_schema: whether the endpoint has to answer in JSON of a given form.
    """

    max_tokens: Tokens = 512
    temperature: Temperature = 0.0
    top_p: ShareAboveZero = 1.0
    seed: Seed = 0
    json_schema: bool = False


@dataclass
class RecoverSettings:
    """A damaged reply store, and where to save what can be read of it.

    Attributes:
        store: the damaged file.
        out: the new file.
    """

    store: Path
    out: Path
