"""Settings of the commands, and what a training reads. `recipe.py` adds those that TRL defines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.ranges import Pixels, Ranged, Tokens
from cadvi_hub.generation.settings import Dtype
from cadvi_hub.training.pixels import PixelBudget

Method = Literal["sft", "dpo", "grpo"]


@dataclass
class MergeSettings:
    """What to merge.

    Attributes:
        adapter: Folder or Hub repository of the adapter (LoRA and projector).
        out: Folder for the merged model: a new one, or one that holds an earlier merged model and nothing else.
        dtype: Of the merged model's weights: the base's (auto), float32, bfloat16 or float16.
    """

    adapter: str
    out: Path
    dtype: Dtype = "auto"


@dataclass
class AssembleSettings:
    """What to assemble. Each part is a folder or a repository on the Hub.

    Attributes:
        language_model: Llama with its tokenizer. The paper uses lmsys/vicuna-7b-v1.5.
        vision_tower: CLIP with its image processor. The paper uses openai/clip-vit-large-patch14-336.
        projector: LLaVA-1.5's stage-1 projector: the file, or the place of an mm_projector.safetensors or .bin.
        out: Folder for the model. It must be new or empty.
    """

    language_model: str
    vision_tower: str
    projector: str
    out: Path


@dataclass(frozen=True)
class Source:
    """One part of a mixture.

    Attributes:
        path: folder that a build wrote (`<path>/<config>/train*.parquet`), or a data set repository on the Hub.
        config: configuration, such as `v1`; unset if the folder holds the files itself.
        revision: commit, branch or tag of the repository; for a folder, the digest that `mixture.pin` computes.
        repeats: how often the rows occur: 0.5 draws half of them by the seed, 1.5 takes all and half of them again.
        max_rows: rows to keep before they are repeated, drawn by the seed; all if unset.
        swapped: show rows with two images in the other order, with texts that are true of it; rows for which nobody
            knows such texts are dropped. Name a source twice, once so, to train on both orders.
    """

    path: str
    config: str | None = None
    revision: str | None = None
    repeats: float = 1
    max_rows: int | None = None
    swapped: bool = False


@dataclass
class DataArguments(Ranged):
    """What to train on.

    Attributes:
        mixture: sources, `{name: {path, config, revision, repeats, max_rows, swapped}}` (JSON on the command line).
        eval_mixture: held-out sources in the same form, to evaluate the loss on during the training (`eval_strategy`).
        max_tokens: longest row, image tokens included. A longer row loses later turns or the end of an answer, which
            is counted. A row whose images and question do not fit is dropped.
        max_pixels: most pixels of a picture; a larger one is made smaller, with its shape. For models that take
            pictures in their own size. Evaluation shows whole pictures.
        max_row_pixels: most pixels of all pictures of a row together, in the same way.
        streaming: read the parquet files during the training, without a copy on the disk.
        dry_run: print rows, steps, tokens and an estimate of the memory, and train nothing; it needs no GPU.
        method: how to train: `sft` imitates the answers of conversations, `dpo` learns to prefer one of two answers,
            `grpo` is rewarded for right answers to which-image questions.
    """

    mixture: dict[str, Any] | str | None = None
    eval_mixture: dict[str, Any] | str | None = None
    max_tokens: Tokens = 2048
    max_pixels: Pixels | None = None
    max_row_pixels: Pixels | None = None
    streaming: bool = False
    dry_run: bool = False
    method: Method = "sft"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mixture, self.eval_mixture = _mapping(self.mixture), _mapping(self.eval_mixture)

    @property
    def sources(self) -> dict[str, Source]:
        """The sources of `mixture`; InputError as `parse_sources` raises it."""
        return parse_sources(_mapping(self.mixture))

    @property
    def eval_sources(self) -> dict[str, Source]:
        """The sources of `eval_mixture`, perhaps none; InputError as `parse_sources` raises it."""
        return parse_sources(_mapping(self.eval_mixture)) if self.eval_mixture else {}

    @property
    def budget(self) -> PixelBudget:
        """The pixels of pictures."""
        return PixelBudget(self.max_pixels, self.max_row_pixels)


def _mapping(mixture: Any) -> dict[str, Any]:
    mixture = json.loads(mixture) if isinstance(mixture, str) else mixture or {}
    if not isinstance(mixture, dict):
        raise ValueError("mixture must map the name of each source to its settings")
    return mixture


def parse_sources(settings: Mapping[str, Any]) -> dict[str, Source]:
    """The sources of a recipe's `mixture` section, `{name: {path, config, repeats, …}}`.

    Raises:
        InputError: no source is named, a key is unknown, or a number is out of range.
    """
    known = {field.name for field in fields(Source)}
    sources = {}
    for name, values in settings.items():
        place = f"mixture, source {name!r}"
        if isinstance(values, Source):
            sources[name] = values
            continue
        if not isinstance(values, Mapping) or "path" not in values:
            raise InputError(place, "it has no path", "Give the folder or the repository that holds the rows")
        if unknown := sorted(set(values) - known):
            raise InputError(place, f"unknown keys {unknown}", f"Known are {sorted(known)}")
        source = Source(**values)
        if not isinstance(source.repeats, int | float) or not 0 < source.repeats < float("inf"):
            raise InputError(place, f"repeats is {source.repeats!r}", "Give a number above 0, such as 0.5 or 2")
        if source.max_rows is not None and (not isinstance(source.max_rows, int) or source.max_rows < 1):
            raise InputError(place, f"max_rows is {source.max_rows!r}", "Give a number of rows, 1 or more")
        if not isinstance(source.swapped, bool):
            raise InputError(place, f"swapped is {source.swapped!r}", "Give true or false")
        sources[name] = source
    if not sources:
        raise InputError("mixture", "no source is named", "Name at least one")
    return sources
