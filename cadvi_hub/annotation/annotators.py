"""Pairs → CaD summaries (paper, sections 3.1 and 3.2), with the reason for every pair that is dropped.

V1: an LLM reads the two captions. V2: a vision-language model reads both images and an existing difference note.
`mentions` needs no model: it writes down what the two captions mention, aspect by aspect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from cadvi_hub.annotation.filters import Dropped, DropReason, check_grounded, check_summary, read_summary
from cadvi_hub.annotation.mentions import Mentions
from cadvi_hub.annotation.prompt import captions_of, decoding_of, render_prompt
from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore, read_plain
from cadvi_hub.core.schema import Aspect, CadSummary, ImagePair, Provenance
from cadvi_hub.core.summaries import summary_json_schema
from cadvi_hub.generation.chat import ChatRequest, Failed, Generator, Reply, ask
from cadvi_hub.generation.make import make_generator
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.store import GraphStore

Summarized = Iterator[tuple[ImagePair, CadSummary | Dropped]]  # each pair with its summary, or why it has none


class Annotator(Protocol):
    """Writes the summaries of pairs."""

    @property
    def provenance(self) -> Provenance: ...

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        """One result per pair, in order; `images` holds their pictures."""
        ...


def make_annotator(settings: AnnotatorSettings, out: Path) -> Annotator:
    """The annotator for `settings`; `out` is the output folder.

    Raises:
        InputError: settings that contradict each other.
    """
    if settings.kind == "mentions":
        if settings.prompt != "summary_from_captions":
            raise InputError("annotator.prompt", "`mentions` reads captions only", "Take summary_from_captions")
        return MentionsAnnotator(settings.min_words, settings.max_words)
    if settings.kind == "local" and settings.json_schema:
        raise InputError(
            "annotator.json_schema", "a local model cannot be held to JSON", "Leave it out or use a server"
        )
    return LlmAnnotator(annotator_model(settings, out), settings)


def annotator_model(settings: AnnotatorSettings, out: Path) -> Generator:
    """The model for `settings`, with every reply stored; `out` is the output folder.

    Raises:
        InputError: no model is named.
    """
    if settings.kind == "mentions" or not settings.model:
        raise InputError("annotator.model", "no model is named", "Name one, and take the kind server or local")
    return make_generator(
        settings.model,
        settings if settings.kind == "server" else None,
        batch_size=settings.batch_size,
        replies=reply_store(settings, out),
        retry_unreadable=settings.retry_unreadable,
    )


def reply_store(settings: AnnotatorSettings, out: Path) -> Path:
    """The file that keeps the replies; `out` is the output folder."""
    return Path(settings.reply_store) if settings.reply_store else out / "replies.sqlite"


class MentionsAnnotator:
    """Writes down only what the two captions mention (`cadvi_hub.annotation.mentions`)."""

    def __init__(self, min_words: int, max_words: int):
        self._mentions = Mentions()
        self._min_words, self._max_words = min_words, max_words
        self.provenance = Provenance(annotator="mentions", prompt_hash="", decoding="{}")

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        for pair, summary in zip(pairs, self._mentions.summarize_all(list(map(captions_of, pairs))), strict=True):
            yield pair, check_summary(summary, min_words=self._min_words, max_words=self._max_words) or summary


class LlmAnnotator:
    """Asks a model for each summary, with the prompt in the settings."""

    def __init__(self, generator: Generator, settings: AnnotatorSettings):
        self.generator, self._settings = generator, settings
        self._decoding, self.provenance = decoding_of(generator, settings.prompt, settings)

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        def request(pair: ImagePair) -> ChatRequest:
            return replace(self._request(pair, images), is_readable=self._is_readable)

        for pair, outcome in ask(self.generator, pairs, request):
            yield pair, self._read(outcome)

    def _is_readable(self, reply: Reply) -> bool:
        return not isinstance(self._read(reply), Dropped)

    def _request(self, pair: ImagePair, images: ImageStore) -> ChatRequest:
        schema = summary_json_schema() if self._settings.json_schema else None
        if self._settings.prompt == "summary_from_captions":
            messages = render_prompt("summary_from_captions", captions=captions_of(pair), as_json=schema is not None)
            return ChatRequest(messages, decoding=self._decoding, json_schema=schema)
        messages = render_prompt(
            "summary_from_images",
            context=" ".join(pair.context.split()),
            aspects=list(Aspect),
            as_json=schema is not None,
        )
        pictures = tuple(read_plain(images, name) for name in pair.images)
        return ChatRequest(messages, pictures, self._decoding, schema)

    def _read(self, outcome: Reply | Failed) -> CadSummary | Dropped:
        if isinstance(outcome, Failed):
            return Dropped(DropReason.REQUEST_FAILED, outcome.reason)
        summary = read_summary(outcome, as_json=self._settings.json_schema)
        if isinstance(summary, Dropped):
            return summary
        dropped = check_summary(summary, min_words=self._settings.min_words, max_words=self._settings.max_words)
        return dropped or summary


class GroundedAnnotator:
    """Drops summaries of `annotator` that the scene graphs of their images contradict.

    Args:
        graphs: scene graphs by file name; a pair with an image that has none stays unchecked.
        max_contradicted: share of a summary's statements that the graphs may contradict.
    """

    def __init__(self, annotator: Annotator, graphs: GraphStore, max_contradicted: float):
        self._annotator, self._graphs, self._max_contradicted = annotator, graphs, max_contradicted
        self.provenance = annotator.provenance

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Summarized:
        for pair, summary in self._annotator.annotate(pairs, images):
            first, second = (self._graphs.get(graph_name(name, images)) for name in pair.images)
            if isinstance(summary, Dropped) or first is None or second is None:
                yield pair, summary
            else:
                grounding = check_grounding(summary, (first, second))
                yield pair, check_grounded(grounding, max_contradicted=self._max_contradicted) or summary


def graph_name(name: str, images: ImageStore) -> str:
    """The file name that identifies the scene graph of image `name`; empty where the picture has no file."""
    return PurePosixPath(images.file_name(name) or "").name
