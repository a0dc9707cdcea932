"""Checked settings of a build: its folder, and the recipe that decides its content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cadvi_hub import __version__
from cadvi_hub.annotation.annotators import Annotator
from cadvi_hub.builder.authors import Authors, make_authors
from cadvi_hub.builder.folder import BuildFolder, open_build_folder
from cadvi_hub.builder.settings import TURNS_OF, BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import WriteError, digest_of_files, writing
from cadvi_hub.generation.chat import public_name
from cadvi_hub.grounding.store import graph_files
from cadvi_hub.sources.formats import Format, format_of
from cadvi_hub.sources.held_out import read_held_out

Row = dict[str, Any]
CONFIG_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")


@dataclass(frozen=True)
class Plan:
    """A build whose settings have been checked.

    Attributes:
        settings: as given.
        path: the folder of the build.
        recipe: what decides the content.
        authors: write the texts in this process; None in a plan for other processes, where each makes its own.
    """

    settings: BuildSettings
    path: Path
    recipe: Row
    authors: Authors | None = field(repr=False)

    @property
    def digest(self) -> str:
        return _digest(self.recipe)

    @property
    def source_digest(self) -> str:
        """Changes with what is read from the source, and with nothing else."""
        read = {key: self.recipe.get(key) for key in ("version", "source", "exclude_images")}
        model = self.recipe.get("pairs", {}).get("spacy_model")
        return _digest({**read, "pictures": self.pictures, "spacy_model": model})

    @property
    def pictures(self) -> list[str]:
        """The folders that images are read from. They are not in the recipe: a path says nothing of its content."""
        source = self.settings.source
        return [str(folder.absolute()) for folder in source.images or [source.path] if folder.is_dir()]

    @property
    def split(self) -> str:
        return "test" if self.settings.config == "cad_qa" else "train"

    def locked_folder(self) -> AbstractContextManager[BuildFolder]:
        """The folder, for this process alone."""
        settings = self.settings
        return open_build_folder(
            self.path, self.digest, settings.overwrite, self.pictures, self.split, settings.verify
        )


def make_plan(settings: BuildSettings, annotator: Annotator | None = None) -> Plan:
    """Check `settings` and make their output folder.

    Raises:
        InputError: settings that contradict each other, a source that is missing, or a folder that cannot be written.
    """
    if settings.turns not in TURNS_OF[settings.config]:
        allowed = ", ".join(TURNS_OF[settings.config])
        raise InputError("turns", f"{settings.config} rows cannot be made of {settings.turns} alone", f"Use {allowed}")
    source_format = format_of(settings.config, settings.source)
    annotated = source_format.holds in ("captions", "captioned_pairs", "pairs")
    if settings.clip_model and not (annotated and settings.config == "v1"):
        raise InputError("clip_model", "it scores pairs of v1 that are made of captions alone", "Leave it out")
    verifier = settings.verifier
    checks_statements = verifier.model and verifier.statements
    if settings.turns == "which_image" and source_format.holds == "pairs" and not checks_statements:
        problem = "these pairs have no captions, and nobody checks which differences hold of one image alone"
        raise InputError("turns", problem, "Name a verifier.model, and leave verifier.statements on")
    checked = annotated or source_format.holds == "summaries"
    if verifier.model and not checked:
        raise InputError("verifier.model", "it checks summaries while these are written, not rows", "Leave it out")
    checks = (verifier.statements, verifier.missing_aspects, verifier.round_trip, verifier.caption_round_trip)
    if verifier.model and not any(checks):
        problem = "no other check is on, so nothing is checked"
        raise InputError("verifier.statements", problem, "Leave out the verifier, or turn a check on")
    if verifier.caption_round_trip and source_format.holds == "pairs":
        raise InputError("verifier.caption_round_trip", "these pairs have no captions", "Leave it out")
    if settings.graphs and not checked:
        raise InputError("graphs", "they filter summaries while these are written, not rows", "Use `cadvi ground`")
    name = settings.name or settings.config
    if not CONFIG_NAME.fullmatch(name):
        raise InputError("name", f"{name!r} cannot name a data set", "Use lower-case letters, digits and _")
    path = settings.out / name
    with output_errors(path):
        with writing(path, every_error=True):
            path.mkdir(parents=True, exist_ok=True)
        authors = make_authors(settings, annotator)
        recipe = _recipe(settings, source_format, authors)
    return Plan(settings, path, recipe, authors)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Say how much of the build at `path` is whole when a file cannot be written."""
    try:
        with writing(path):
            yield
    except WriteError as error:
        whole = len(list(path.glob("_work/part-*.parquet"))) if path.is_dir() else 0
        hint = f"{whole} shards are whole, and the same command goes on from there"
        raise InputError(error.where, error.problem, f"Free some space or choose another out; {hint}") from error


def _digest(content: Row) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _recipe(settings: BuildSettings, source_format: Format, authors: Authors) -> Row:
    """What decides the content of a build: the digest of the source's files, but no path and no endpoint."""
    annotator, writer, verifier = authors
    source = {
        "name": settings.source.name,
        "bad_rows": settings.source.bad_rows,
        "format": settings.source.format,
        "columns": settings.source.columns,
        "subset": settings.source.subset,
        "split": settings.source.split,
        "sha256": source_format.digest(settings.source),
    }
    recipe: Row = {
        "version": __version__,
        "config": settings.config,
        "source": source,
        "rows_per_shard": settings.rows_per_shard,
        "max_rows": settings.max_rows,
        "seed": settings.seed,
        "turns": settings.turns,
        "images": settings.images,
    }
    if source_format.holds == "captions":
        recipe["pairs"] = {**asdict(settings.pairs), "spacy_model": public_name(settings.pairs.spacy_model)}
    if annotator:
        kept = {"min_words": settings.annotator.min_words, "max_words": settings.annotator.max_words}
        recipe["annotator"] = {**asdict(annotator.provenance), **kept}
    if verifier:
        recipe["verifier"] = verifier.recipe
    if source_format.holds == "summaries":
        recipe["rejections"] = sorted(settings.rejections)
    if settings.config == "cad_qa":
        kept = {"max_words": settings.questions.max_words, "seed": settings.questions.seed}
        recipe["questions"] = {**(asdict(writer.provenance) if writer else {}), **kept}
    if settings.clip_model:
        recipe["clip_model"] = public_name(settings.clip_model)
    if settings.graphs:
        sha256 = digest_of_files(graph_files(settings.graphs))
        recipe["graphs"] = {"sha256": sha256, "max_contradicted": settings.max_contradicted}
    if settings.exclude_images:
        names = "\n".join(sorted(read_held_out(settings.exclude_images)))
        recipe["exclude_images"] = hashlib.sha256(names.encode()).hexdigest()
    return recipe
