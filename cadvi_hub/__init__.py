"""Comparison visual instruction tuning (CaD-VI): data, training and evaluation for models that compare two images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cadvi_hub.api import (
        build,
        build_benchmark,
        compare_images,
        evaluate,
        merge,
        mine_pairs,
        parse_summary,
        publish,
        read_answer,
        render_summary,
        report,
        score,
        summarize,
        train,
    )

__version__ = "0.1.0"
__all__ = [
    "build",
    "build_benchmark",
    "compare_images",
    "evaluate",
    "merge",
    "mine_pairs",
    "parse_summary",
    "publish",
    "read_answer",
    "render_summary",
    "report",
    "score",
    "summarize",
    "train",
]

# Modules of the former layout: an import of one, or of a module below it, fails with its new name.
MOVED = {
    "build": "builder.build",
    "cards": "hub.cards",
    "conversations": "annotation.conversations",
    "dataset_cards": "hub.dataset_card",
    "errors": "core.errors",
    "eval.answer_clauses": "annotation.answer_clauses",
    "eval.answer_forms": "annotation.answer_forms",
    "eval.answers": "annotation.answers",
    "eval.blank_images": "eval.models.blank_images",
    "eval.chat": "eval.models.chat",
    "eval.constant_model": "eval.models.constant",
    "eval.judge_check": "eval.judge.check",
    "eval.judge_model": "eval.judge.model",
    "eval.judged_files": "eval.judge.files",
    "eval.ranking": "eval.models.ranking",
    "eval.rating": "eval.judge.rating",
    "eval.report": "pages.report",
    "eval.row_images": "eval.models.row_images",
    "eval.sample_cache": "eval.models.base",
    "eval.served_model": "eval.models.served",
    "eval.vision_model": "eval.models.vision",
    "filters": "annotation.filters",
    "grounding.graph": "core.scene_graph",
    "held_out": "sources.held_out",
    "images": "core.images",
    "mentions": "annotation.mentions",
    "model_cards": "hub.model_card",
    "processors": "generation.processors",
    "prompts": "annotation.prompt",
    "publish": "hub.publish",
    "questions": "annotation.questions",
    "scenes": "world",
    "schema": "core.schema",
    "sources.large_json": "core.json_stream",
    "summaries": "core.summaries",
    "training.assembling": "training.llava",
    "training.merging": "training.adapters",
    "training.pictures": "training.inputs",
    "upload": "hub.upload",
    "view": "pages.view",
    "workers": "core.processes",
}


class _MovedModules:
    """Asked last by the import system, for modules that it does not find elsewhere."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if new := MOVED.get(name.removeprefix("cadvi_hub.")) if name.startswith("cadvi_hub.") else None:
            raise ImportError(f"{name} is now cadvi_hub.{new}", name=name)


sys.meta_path.append(_MovedModules)


def __getattr__(name: str) -> Any:
    """The functions of `api`, which are loaded when they are used: `cadvi --help` must stay quick."""
    if name in __all__:
        from cadvi_hub import api

        return getattr(api, name)
    raise AttributeError(f"module 'cadvi_hub' has no attribute {name!r}")
