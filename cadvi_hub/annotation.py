"""Pairs → CaD summaries (paper, sections 3.1 and 3.2), with the reason for every pair that is dropped.

V1: an LLM reads the two captions. V2: a vision-language model reads both images and an older difference note.
`mentions` needs no model: it writes down what the two captions mention, aspect by aspect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from cadvi_hub.errors import InputError
from cadvi_hub.filters import Dropped, DropReason, check_summary, read_summary
from cadvi_hub.generation import ChatRequest, Decoding, Failed, Generator, MadeAsRead, Reply
from cadvi_hub.images import image_file
from cadvi_hub.prompts import prompt_hash, render_prompt
from cadvi_hub.schema import Aspect, CadSummary, ImagePair, Provenance
from cadvi_hub.summaries import summary_json_schema

Prompt = Literal["summary_from_captions", "summary_from_images"]


class Annotator(Protocol):
    """Writes the summaries of pairs."""

    @property
    def provenance(self) -> Provenance: ...

    def annotate(
        self, pairs: Sequence[ImagePair], image_root: Path
    ) -> Iterator[tuple[ImagePair, CadSummary | Dropped]]:
        """One result per pair, in order; images are looked up below `image_root`."""
        ...


@dataclass
class AnnotatorSettings:
    """Who writes the summaries, and which ones are kept.

    Attributes:
        kind: `mentions` (no model, offline), `server` (an OpenAI-compatible endpoint), or `local` (a transformers
            model in this process).
        prompt: `summary_from_captions` (V1) or `summary_from_images` (V2); `mentions` reads captions only.
        model: name of the model at the endpoint; for `local` a Hub id or a folder.
        base_url: the endpoint, up to and including `/v1`.
        api_key_env: name of the environment variable that holds the endpoint's key; unset means no key.
        concurrency: requests at the endpoint at once.
        timeout: seconds until a request counts as lost.
        max_retries: times that a request is sent again after a timeout, a lost connection, 429 or 5xx.
        batch_size: requests per forward pass of a `local` model.
        max_tokens: longest reply.
        temperature: 0 is greedy.
        top_p: nucleus sampling, where the temperature is above 0.
        seed: of the sampling.
        json_schema: whether the endpoint has to answer in JSON of a given form.
        min_words: shorter summaries are dropped; the paper's have 157 words on average.
        max_words: longer summaries are dropped.
        reply_store: file that keeps every reply; default `replies.sqlite` in the output folder.
    """

    kind: Literal["mentions", "server", "local"] = "mentions"
    prompt: Prompt = "summary_from_captions"
    model: str = ""
    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 32
    timeout: float = 300.0
    max_retries: int = 6
    batch_size: int = 8
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    json_schema: bool = False
    min_words: int = 8
    max_words: int = 400
    reply_store: str | None = None


def make_annotator(settings: AnnotatorSettings, out: Path) -> Annotator:
    """The annotator that `settings` describe; `out` is the output folder.

    Raises:
        InputError: settings that do not go together.
    """
    if settings.kind == "mentions":
        if settings.prompt != "summary_from_captions":
            raise InputError("annotator.prompt", "`mentions` reads captions only", "Take summary_from_captions")
        return MentionsAnnotator(settings.min_words, settings.max_words)
    if not settings.model:
        raise InputError("annotator.model", "no model is named", "Name the model that writes the summaries")
    if settings.kind == "local" and settings.json_schema:
        raise InputError(
            "annotator.json_schema", "a local model cannot be held to JSON", "Leave it out or use a server"
        )
    from cadvi_hub.generation.store import ReplyStore, StoredGenerator

    store = ReplyStore(Path(settings.reply_store) if settings.reply_store else out / "replies.sqlite")
    generator = StoredGenerator(_make_generator(settings), store)
    return LlmAnnotator(generator, settings)


def _make_generator(settings: AnnotatorSettings) -> Generator:
    if settings.kind == "local":
        from cadvi_hub.generation.local import LocalGenerator

        return LocalGenerator(settings.model, batch_size=settings.batch_size)
    from cadvi_hub.generation.server import ServerGenerator

    return ServerGenerator(
        settings.model,
        base_url=settings.base_url,
        api_key_env=settings.api_key_env,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        max_retries=settings.max_retries,
    )


class MentionsAnnotator:
    """Writes down what the two captions mention, and no more (`cadvi_hub.mentions`)."""

    def __init__(self, min_words: int, max_words: int):
        from cadvi_hub.mentions import Mentions

        self._mentions = Mentions()
        self._min_words, self._max_words = min_words, max_words
        self.provenance = Provenance(annotator="mentions", prompt_hash="", decoding="{}")

    def annotate(
        self, pairs: Sequence[ImagePair], image_root: Path
    ) -> Iterator[tuple[ImagePair, CadSummary | Dropped]]:
        for pair in pairs:
            summary = self._mentions.summarize(_captions(pair))
            yield pair, check_summary(summary, min_words=self._min_words, max_words=self._max_words) or summary


class LlmAnnotator:
    """Asks a model for each summary, with the prompt that the settings name."""

    def __init__(self, generator: Generator, settings: AnnotatorSettings):
        self._generator, self._settings = generator, settings
        self._decoding = Decoding(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        decoding = {**asdict(self._decoding), "json_schema": settings.json_schema}
        self.provenance = Provenance(
            annotator=generator.name,
            prompt_hash=prompt_hash(settings.prompt),
            decoding=json.dumps(decoding, sort_keys=True),
        )

    def annotate(
        self, pairs: Sequence[ImagePair], image_root: Path
    ) -> Iterator[tuple[ImagePair, CadSummary | Dropped]]:
        unread = iter(pairs)
        requests = MadeAsRead((self._request(pair, image_root) for pair in unread), unread)
        for pair, outcome in zip(pairs, self._generator.generate(requests), strict=True):
            yield pair, self._read(outcome)

    def _request(self, pair: ImagePair, image_root: Path) -> ChatRequest:
        schema = summary_json_schema() if self._settings.json_schema else None
        if self._settings.prompt == "summary_from_captions":
            captions = [" ".join(caption.split()) for caption in _captions(pair)]
            messages = render_prompt("summary_from_captions", captions=captions, as_json=schema is not None)
            return ChatRequest(messages, decoding=self._decoding, json_schema=schema)
        if not pair.context:
            raise InputError(f"pair {pair.pair_id}", "it has no difference note", "Take pairs that have a context")
        messages = render_prompt(
            "summary_from_images",
            context=" ".join(pair.context.split()),
            aspects=list(Aspect),
            as_json=schema is not None,
        )
        images = tuple(image_file(image_root, name).read_bytes() for name in pair.images)
        return ChatRequest(messages, images, self._decoding, schema)

    def _read(self, outcome: Reply | Failed) -> CadSummary | Dropped:
        if isinstance(outcome, Failed):
            return Dropped(DropReason.REQUEST_FAILED, outcome.reason)
        summary = read_summary(outcome, as_json=self._settings.json_schema)
        if isinstance(summary, Dropped):
            return summary
        dropped = check_summary(summary, min_words=self._settings.min_words, max_words=self._settings.max_words)
        return dropped or summary


def _captions(pair: ImagePair) -> tuple[str, str]:
    if len(pair.captions) != 2:
        raise InputError(f"pair {pair.pair_id}", "it has no captions", "Take pairs that were mined from captions")
    return pair.captions
