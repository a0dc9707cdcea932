"""What a run of requests has used so far: replies, failures, tokens, speed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cadvi_hub.generation.chat import Failed, Reply


@dataclass
class Usage:
    """Counts of one run; tokens as the engine reports them."""

    replies: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    start: float = field(default_factory=time.monotonic)

    def count(self, outcome: Reply | Failed) -> None:
        if isinstance(outcome, Reply):
            self.replies += 1
            self.prompt_tokens += outcome.prompt_tokens
            self.completion_tokens += outcome.completion_tokens
        else:
            self.failed += 1

    def speed(self) -> str:
        """Tokens read and written, and how many per second, for a progress bar."""
        tokens = self.prompt_tokens + self.completion_tokens
        rate = tokens / max(time.monotonic() - self.start, 1e-9)
        return f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens, {rate:,.0f} tokens/s"

    def __str__(self) -> str:
        seconds = time.monotonic() - self.start
        return f"{self.replies:,} replies in {seconds:,.1f} s, {self.failed:,} failed; {self.speed()}"
