"""Settings of the writers of summaries and questions, and of what is kept of their work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cadvi_hub.core.ranges import BatchSize, Share, Tokens, Words
from cadvi_hub.generation.settings import EndpointSettings, SamplingSettings

SummaryPrompt = Literal["summary_from_captions", "summary_from_images"]


@dataclass
class AnnotatorSettings(SamplingSettings, EndpointSettings):
    """Who writes the summaries, and which ones are kept.

    Attributes:
        kind: `mentions` (no model, offline), `server` (an OpenAI-compatible endpoint), or `local` (a transformers
            model in this process).
        prompt: `summary_from_captions` (V1) or `summary_from_images` (V2); `mentions` reads captions only.
        model: name of the model at the endpoint; for `local` a Hub id or a folder.
        base_url: the endpoint, up to and including `/v1`, or a list of endpoints that serve the same model.
        batch_size: requests per forward pass of a `local` model.
        min_words: shorter summaries are dropped; the paper's have 157 words on average.
        max_words: longer summaries are dropped.
        reply_store: file that keeps every reply; by default `replies.sqlite` in the output folder.
        retry_unreadable: ask again for stored replies that are empty or cannot be used. A finished build is left
            alone: remove its folder first.
    """

    kind: Literal["mentions", "server", "local"] = "mentions"
    prompt: SummaryPrompt = "summary_from_captions"
    model: str = ""
    base_url: str | list[str] = "http://127.0.0.1:8000/v1"
    batch_size: BatchSize = 8
    min_words: Words = 8
    max_words: Tokens = 400
    reply_store: str | None = None
    retry_unreadable: bool = False


@dataclass
class QuestionSettings(SamplingSettings):
    """How the annotator's model writes questions, and which of them are kept.

    Attributes:
        max_tokens: longest reply: three to five questions with their answers.
        seed: of the sampling, the example in each pair's prompt, and the question that is kept.
        max_words: longer questions and answers are dropped; the paper's answers have 26 words on average.
    """

    max_tokens: Tokens = 768
    max_words: Tokens = 100


@dataclass
class VerifierSettings(EndpointSettings):
    """Who checks the statements of summaries against their images, and how.

    Each statement becomes a yes/no question about one image; those that fail are removed. What is said of one image
    also fails unless it is denied of the other. A number also fails where the model says yes to one more or one fewer.

    Attributes:
        model: `self` asks the model that writes the summaries; otherwise the name of a model that reads pictures, at
            `base_url`, or without one a Hub id or folder, run in this process. "" checks nothing.
        threshold: smallest probability of a statement that is kept. A model that returns no log-probabilities only
            says 0 or 1.
        statements: ask about the statements. False leaves only the checks below that are on.
        missing_aspects: ask about each image for colors, sizes, numbers, actions and places, unless the summary says
            how both images differ in them. Answers that differ become a difference, and numbers, actions and settings
            that agree a commonality; they are verified, too.
        round_trip: afterwards also show both images, in either order, with each statement that is left about one of
            them, and ask which one it suits. A statement is removed unless the model is right both times.
        caption_round_trip: at the end, give the model no image but the summary, and ask which image has each of the
            pair's captions, in either order of the images. A summary is dropped unless the model is right all four
            times. With `statements: false`, a model that reads no pictures can do it.
        batch_size: questions per forward pass of a model in this process.
        max_tokens: longest answer of an endpoint.
    """

    model: str = ""
    threshold: Share = 0.5
    statements: bool = True
    missing_aspects: bool = False
    round_trip: bool = False
    caption_round_trip: bool = False
    batch_size: BatchSize = 32
    max_tokens: Tokens = 64
