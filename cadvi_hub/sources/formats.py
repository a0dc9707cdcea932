"""The formats of upstream files: what each holds, which function reads it, and where its pictures are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.sources import (
    built,
    cad_inst,
    cad_qa_file,
    captioned_dataset,
    captioned_folder,
    dataset,
    edited_pairs,
    llava_mix,
    localized_narratives,
    mimic_it,
    similar_pairs,
    svit,
    the_cauldron,
)
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.caption_files import captions_digest, with_compressed
from cadvi_hub.sources.llava_mix import InstructExample
from cadvi_hub.sources.settings import SourceSettings

Holds = Literal["captions", "captioned_pairs", "pairs", "instruct", "questions", "summaries", "rows"]
Record = ImagePair | InstructExample | PairQuestion | BuiltRow  # what a row is made of

_RECORDS: dict[Holds, type[Record]] = {
    "captions": ImagePair,  # mined from them
    "captioned_pairs": ImagePair,
    "pairs": ImagePair,
    "instruct": InstructExample,
    "questions": PairQuestion,
    "summaries": BuiltRow,
    "rows": BuiltRow,
}
_TUPLES = ("images", "captions", "shared_nouns")  # fields of records; JSON makes lists of them


def _folders(settings: SourceSettings) -> ImageStore:
    for folder in settings.images:
        if not folder.is_dir():
            raise InputError("source.images", f"{folder} is not a folder", "Fix its path or leave it out")
    return ImageFolders(settings.images or [settings.path], search=bool(settings.images))


def digest_of(*patterns: str) -> Callable[[SourceSettings], str]:
    """SHA-256 over the source's files that match the first of `patterns` with a match."""

    def digest(settings: SourceSettings) -> str:
        files: list[Path] = next(filter(None, (with_compressed(settings.path, pattern) for pattern in patterns)), [])
        return digest_of_files(files or [settings.path / patterns[-1]])

    return digest


def _svit_digest(settings: SourceSettings) -> str:
    return digest_of(svit.DESCRIPTIONS)(settings) + digest_of(svit.PICTURES)(settings)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        holds: the kind of records that `read` yields.
        read: yields the records one by one.
        digest: changes with the content of the files.
        images: opens the pictures.
    """

    holds: Holds
    read: Callable[[SourceSettings, ImageStore, Drops], Iterator[CaptionedImage | Record]]
    digest: Callable[[SourceSettings], str]
    images: Callable[[SourceSettings], ImageStore] = _folders

    def record_from(self, fields: dict[str, Any]) -> Record:
        """The record that a row is made of, from its `dataclasses.asdict`, which may have been JSON since."""
        tuples = {name: tuple(fields[name]) for name in _TUPLES if name in fields}
        return _RECORDS[self.holds](**{**fields, **tuples})


FORMATS: dict[str, Format] = {
    "captioned_folder": Format(
        "captions", captioned_folder.read_captioned_folder, lambda settings: captions_digest(settings.path)
    ),
    "localized_narratives": Format(
        "captions", localized_narratives.read_localized_narratives, digest_of(localized_narratives.FILES)
    ),
    "captioned_dataset": Format(
        "captions",
        captioned_dataset.read_captioned_dataset,
        dataset.fingerprint,
        lambda settings: dataset.DatasetImages(settings, "image"),
    ),
    "svit": Format("captions", svit.read_svit, _svit_digest),
    "edited_pairs": Format(
        "captioned_pairs", edited_pairs.read_edited_pairs, dataset.fingerprint, edited_pairs.edited_images
    ),
    "similar_pairs": Format("pairs", similar_pairs.read_similar_pairs, digest_of(similar_pairs.FILE)),
    "mimic_it": Format("pairs", mimic_it.read_mimic_it, digest_of(mimic_it.INSTRUCTIONS), mimic_it.decoded_images),
    "the_cauldron": Format(
        "pairs",
        the_cauldron.read_the_cauldron,
        dataset.fingerprint,
        lambda settings: dataset.DatasetImages(settings, "images"),
    ),
    "llava_mix": Format("instruct", llava_mix.read_llava_mix, digest_of(*llava_mix.FILES)),
    "cad_qa_file": Format("questions", cad_qa_file.read_cad_qa_file, digest_of(cad_qa_file.FILE)),
    "cad_inst_questions": Format("questions", cad_inst.read_cad_inst_questions, dataset.fingerprint),
    "summaries": Format(
        "summaries",
        built.read_summaries,
        dataset.fingerprint,
        lambda settings: dataset.DatasetImages(settings, "images"),
    ),
    "cad_inst": Format("rows", cad_inst.read_cad_inst, dataset.fingerprint),
    "built": Format("rows", built.read_built, dataset.fingerprint),
}
# What each data set can be made of; the first format is the default.
HOLDS: dict[str, tuple[Holds, ...]] = {
    "v1": ("captions", "captioned_pairs", "rows"),
    "v2": ("pairs", "captions", "rows"),
    "instruct": ("instruct", "rows"),
    "cad_qa": ("questions", "captions", "rows"),
    "preferences": ("summaries", "rows"),
}


def format_of(config: str, settings: SourceSettings) -> Format:
    """The format of the source of data set `config`.

    Raises:
        InputError: the format is unknown, or `config` cannot be made of it.
    """
    fitting = [name for holds in HOLDS[config] for name, form in FORMATS.items() if form.holds == holds]
    name = settings.format or fitting[0]
    if name not in fitting:
        raise InputError("source.format", f"{config} cannot be made of {name!r}", f"Use one of {', '.join(fitting)}")
    return FORMATS[name]
