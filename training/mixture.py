"""What a training reads: named sources, each checked row by row, repeated or thinned, shuffled into one data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, concatenate_datasets, load_dataset
from jinja2 import TemplateError
from PIL import Image
from transformers import LlavaProcessor

from cadvi_hub.errors import InputError
from cadvi_hub.schema import instruct_features


@dataclass(frozen=True)
class Source:
    """One part of a mixture.

    Attributes:
        path: folder that a build wrote (`<path>/<config>/train*.parquet`), or a data set repository on the Hub.
        config: configuration, such as `v1`; none if the folder holds the files itself.
        revision: commit, branch or tag of the repository.
        repeats: how many times every row occurs.
        max_rows: rows to keep, drawn at random by the seed; all if none.
    """

    path: str
    config: str | None = None
    revision: str | None = None
    repeats: int = 1
    max_rows: int | None = None


@dataclass(frozen=True)
class Mixture:
    """Rows to train on, and what went into them.

    Attributes:
        dataset: columns images, messages, source (the source's name) and length (tokens, image tokens included).
        rows: rows per source, repeats counted.
        dropped: per source, rows left out by reason.
    """

    dataset: Dataset
    rows: dict[str, int]
    dropped: dict[str, dict[str, int]]


def parse_sources(settings: Mapping[str, Any]) -> dict[str, Source]:
    """The sources of a recipe's `mixture` section, `{name: {path, config, repeats, …}}`.

    Raises:
        InputError: nothing is named, a key is unknown, or a number is out of range.
    """
    known = {field.name for field in fields(Source)}
    sources = {}
    for name, values in settings.items():
        place = f"mixture, source {name!r}"
        if not isinstance(values, Mapping) or "path" not in values:
            raise InputError(place, "it has no path", "Give the folder or the repository that holds the rows")
        if unknown := sorted(set(values) - known):
            raise InputError(place, f"unknown keys {unknown}", f"Known are {sorted(known)}")
        source = Source(**values)
        if source.repeats < 1 or (source.max_rows is not None and source.max_rows < 1):
            raise InputError(place, "repeats and max_rows count rows from 1", "Remove the source to leave it out")
        sources[name] = source
    if not sources:
        raise InputError("mixture", "no source is named", "Name at least one")
    return sources


def _row_features() -> Features:
    features = instruct_features()
    return Features({name: features[name] for name in ("images", "messages")})


def load_source(name: str, source: Source) -> Dataset:
    """Rows of `source` with the columns images and messages; pictures stay encoded until a row is read.

    Raises:
        InputError: no data is there, or its columns are others.
    """
    place = f"data set {name!r} ({source.path}{', ' + source.config if source.config else ''})"
    folder = Path(source.path, source.config or "")
    files = sorted(map(str, folder.glob("train*.parquet")))
    try:
        if files:
            dataset = load_dataset("parquet", data_files=files, split="train")
        elif Path(source.path).is_dir():
            raise InputError(place, "no train*.parquet is there", "Build the data set first, or mend path and config")
        else:
            dataset = load_dataset(source.path, source.config, revision=source.revision, split="train")
    except InputError:
        raise
    except Exception as error:  # Arrow, the Hub's client and `datasets` each raise their own kinds
        raise InputError(
            place, f"it does not load ({error})", "Mend path, config and revision, or the files"
        ) from error
    wanted = _row_features()
    if missing := sorted(set(wanted) - set(dataset.column_names)):
        raise InputError(place, f"no column {', '.join(missing)}", "Training reads the columns images and messages")
    dataset = dataset.select_columns(list(wanted))
    if not len(dataset):
        raise InputError(place, "it has no rows", "Build it again, or remove it from the mixture")
    if dataset.features == wanted:
        return dataset
    try:
        return dataset.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise InputError(place, f"its columns have other types ({error})", "See schema.instruct_features") from error


def row_lengths(dataset: Dataset, name: str, processor: LlavaProcessor, num_proc: int | None = None) -> np.ndarray:
    """Tokens of every row as the model sees it, image tokens included.

    Args:
        dataset: columns images and messages; no picture is decoded.
        name: what errors call the data set.
        processor: its template renders the messages; all pictures take equally many tokens (LLaVA-1.5's layout).
        num_proc: processes that count.

    Raises:
        InputError: a row has other image places than images, no answer, or messages that the template refuses.
    """
    image_token = processor.image_token
    probe = processor(text=image_token, images=Image.new("RGB", (64, 64)), add_special_tokens=False)
    extra_tokens = len(probe["input_ids"][0]) - 1  # the place itself is one token already

    def count(rows: pa.Table, indices: list[int]) -> pa.Table:
        if pc.list_flatten(rows["images"]).combine_chunks().field("bytes").null_count:
            mend = "Join them in: cadvi build … --source.format built --source.images '[…]'"
            raise InputError(f"data set {name!r}", "its rows name their pictures and do not hold them", mend)
        images = pc.list_value_length(rows["images"]).fill_null(0).to_pylist()
        texts = []
        for index, messages, expected in zip(indices, rows["messages"].to_pylist(), images, strict=True):
            place = f"data set {name!r}, row {index}"
            if not any(turn["role"] == "assistant" for turn in messages):
                raise InputError(place, "it has no assistant message", "Remove the row: there is nothing to learn")
            try:
                text = processor.apply_chat_template(messages)
            except (TemplateError, TypeError) as error:
                raise InputError(place, f"the chat template refuses it ({error})", "Mend its messages") from error
            if (places := text.count(image_token)) != expected:
                raise InputError(place, f"{places} image places for {expected} images", "Give each image its place")
            texts.append(text)
        tokens = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        lengths = [len(ids) + expected * extra_tokens for ids, expected in zip(tokens, images, strict=True)]
        return pa.table({"length": pa.array(lengths, pa.int32())})

    counted = dataset.with_format("arrow").map(
        count,
        batched=True,
        with_indices=True,
        remove_columns=dataset.column_names,
        num_proc=num_proc,
        desc=f"Counting tokens of {name}",
    )
    return counted.with_format("numpy")["length"][:]


def load_mixture(
    settings: Mapping[str, Any], processor: LlavaProcessor, max_tokens: int, seed: int, num_proc: int | None = None
) -> Mixture:
    """Load, check, weigh and shuffle the sources of a recipe; equal arguments give equal rows in equal order.

    Args:
        settings: `{name: {path, config, revision, repeats, max_rows}}`, see `Source`.
        processor: renders and counts the tokens.
        max_tokens: longest row, image tokens included; longer rows are dropped and counted, never cut.
        seed: of the draw and the shuffle.
        num_proc: processes that count tokens.

    Raises:
        InputError: a source or one of its rows is not fit to train on, or nothing of a source remains.
    """
    parts: list[Dataset] = []
    rows: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    for name, source in parse_sources(settings).items():
        dataset = load_source(name, source)
        lengths = row_lengths(dataset, name, processor, num_proc)
        fitting = np.flatnonzero(lengths <= max_tokens)
        dropped[name] = {f"longer than {max_tokens} tokens": len(dataset) - len(fitting)}
        if not len(fitting):
            raise InputError(f"data set {name!r}", f"every row exceeds {max_tokens} tokens", "Raise max_tokens")
        if source.max_rows is not None:
            fitting = np.sort(np.random.default_rng(seed).permutation(fitting)[: source.max_rows])
        columns = {"source": pa.array([name] * len(dataset)), "length": pa.array(lengths)}
        for column, values in columns.items():
            dataset = dataset.add_column(column, values)
        parts += [dataset.select(fitting)] * source.repeats
        rows[name] = len(fitting) * source.repeats
    return Mixture(concatenate_datasets(parts).shuffle(seed=seed), rows, dropped)
