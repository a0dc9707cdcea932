"""Who writes the texts of a build: summaries of pairs, and questions about them; and who checks the summaries."""

from __future__ import annotations

from typing import NamedTuple

from cadvi_hub.annotation.annotators import Annotator, LlmAnnotator, annotator_model, make_annotator
from cadvi_hub.annotation.questions import QuestionWriter
from cadvi_hub.annotation.verify import Verifier, make_verifier
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.sources.formats import format_of


class Authors(NamedTuple):
    """Who writes summaries and questions, and who checks summaries; None if nobody does."""

    annotator: Annotator | None = None
    writer: QuestionWriter | None = None
    verifier: Verifier | None = None


def make_authors(settings: BuildSettings, annotator: Annotator | None = None) -> Authors:
    """Who writes the summaries, `annotator` if there is one, who checks them, and who writes the questions.

    Raises:
        InputError: settings that contradict each other.
    """
    holds = format_of(settings.config, settings.source).holds
    if holds == "summaries":
        return Authors(verifier=make_verifier(settings.verifier, settings.annotator, settings.out))
    if holds not in ("captions", "captioned_pairs", "pairs"):
        return Authors()
    if holds == "pairs" and annotator is None and settings.annotator.prompt == "summary_from_captions":
        hint = "Set it to summary_from_images, and annotator.kind to server or local"
        raise InputError("annotator.prompt", "these pairs have no captions to read", hint)
    if settings.config != "cad_qa":
        annotator = annotator or make_annotator(settings.annotator, settings.out)
        return Authors(annotator, verifier=_verifier(settings, annotator))
    if settings.annotator.kind == "local" and (settings.annotator.json_schema or settings.questions.json_schema):
        raise InputError("json_schema", "a local model cannot be forced to write JSON", "Leave it out or use a server")
    generator = annotator_model(settings.annotator, settings.out)  # one for both: it may hold a model
    annotator = annotator or LlmAnnotator(generator, settings.annotator)
    return Authors(annotator, QuestionWriter(generator, settings.questions), _verifier(settings, annotator))


def _verifier(settings: BuildSettings, annotator: Annotator) -> Verifier | None:
    writer = annotator.generator if isinstance(annotator, LlmAnnotator) else None
    return make_verifier(settings.verifier, settings.annotator, settings.out, writer)
