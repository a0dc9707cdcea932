"""What a training reads: named sources, each checked row by row, repeated or thinned, shuffled into one data set.

`datasets` makes an Arrow copy of the parquet files in HF_DATASETS_CACHE, of the same size. In return, every row is
checked before the first step. `streaming` reads the parquet files themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, concatenate_datasets, load_dataset
from transformers import ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular
from cadvi_hub.training.lengths import RowCounter, fit_rows
from cadvi_hub.training.order import SwappedCounter
from cadvi_hub.training.pixels import UNLIMITED, PixelBudget
from cadvi_hub.training.revisions import hub_commit, rows_digest
from cadvi_hub.training.settings import Source, parse_sources

Rows = TypeVar("Rows", Dataset, pa.Table)


@dataclass(frozen=True)
class Mixture:
    """Rows to train on, and what went into them.

    Attributes:
        dataset: the rows, such as `lengths.Fitted` has them; or a `streaming.RowStream`.
        rows: rows per source, repeats counted.
        revisions: per source, the commit of its repository or the digest of its folder; see `pin`.
        dropped: per source, the dropped rows by reason.
        cut: per source, the rows that lost text by kind; see `lengths.fit_rows`.
    """

    dataset: Any
    rows: dict[str, int]
    revisions: dict[str, str | None]
    dropped: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, Mapping[str, int]]


def place_of(name: str, source: Source) -> str:
    """What errors call a source."""
    return f"data set {name!r} ({source.path}{', ' + source.config if source.config else ''})"


def pin(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The sources with their current revision: a repository's commit, or a digest of a folder.

    The digest is that of the folder's `build.json`, or of its files' footers where it has none.

    Raises:
        InputError: a repository does not answer, a folder has no rows, or holds others than its revision says.
    """
    pinned = {}
    for name, source in sources.items():
        revision = source.revision
        if Path(source.path).is_dir():
            report = Path(source.path, source.config or "", "build.json")
            if report.is_file():
                found = f"sha256:{hashlib.sha256(report.read_bytes()).hexdigest()}"
            else:
                found = rows_digest(train_files(name, source))
            if revision not in (None, found):
                problem = f"its revision is {found}, not {revision}"
                raise InputError(place_of(name, source), problem, "Fix revision, or leave it out")
            revision = found
        else:
            revision = hub_commit(place_of(name, source), source.path, "dataset", revision)
        pinned[name] = replace(source, revision=revision)
    return pinned


def train_files(name: str, source: Source) -> list[str]:
    """The parquet files of a source that is a folder; an empty list for a repository on the Hub.

    Raises:
        InputError: the folder holds none.
    """
    files = sorted(map(str, Path(source.path, source.config or "").glob("train*.parquet")))
    if not files and Path(source.path).is_dir():
        hint = "Build the data set first, or fix path and config"
        raise InputError(place_of(name, source), "it has no train*.parquet", hint)
    for file in files:
        check_regular(Path(file), "Build the data set again")
    return files


def as_training_rows(rows: Rows, place: str, wanted: Features | None = None) -> Rows:
    """`rows` with only the `wanted` columns (by default images and messages), in their types.

    Raises:
        InputError: one is missing or has another type. It names `place`.
    """
    wanted = wanted or RowCounter.features()
    if missing := sorted(set(wanted) - set(rows.column_names)):
        raise InputError(place, f"no column {', '.join(missing)}", f"Training reads the columns {', '.join(wanted)}")
    try:
        if isinstance(rows, pa.Table):
            return rows.select(list(wanted)).cast(wanted.arrow_schema)
        chosen = rows.select_columns(list(wanted))
        return chosen if chosen.features == wanted else chosen.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise InputError(place, f"its columns have other types ({error})", "See schema.instruct_features") from error


def load_source(name: str, source: Source, wanted: Features | None = None) -> Dataset:
    """Rows of a pinned source with the columns of `as_training_rows`. Pictures stay encoded until a row is read.

    Raises:
        InputError: there is no data, or it has other columns.
    """
    place = place_of(name, source)
    files = train_files(name, source)
    try:
        if files:
            dataset = load_dataset("parquet", data_files=files, split="train")
        else:
            dataset = load_dataset(source.path, source.config, revision=source.revision, split="train")
    except Exception as error:  # Arrow, the Hub's client and `datasets` raise many kinds
        hint = "Fix path, config and revision, or the files"
        raise InputError(place, f"it does not load ({error})", hint) from error
    dataset = as_training_rows(dataset, place, wanted)
    if not len(dataset):
        raise InputError(place, "it has no rows", "Build it again, or remove it from the mixture")
    return dataset


def _draw(rows: np.ndarray, number: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(rows)[:number])


def passes(source: Source, rows: int, seed: int) -> list[np.ndarray]:
    """Row numbers (from 0, in order) that an epoch reads of `rows` rows: one array per repeat of the source."""
    chosen = np.arange(rows)
    if source.max_rows is not None:
        chosen = _draw(chosen, source.max_rows, seed)
    whole, part = divmod(source.repeats, 1)
    again = _draw(chosen, max(round(part * len(chosen)), not whole), seed)  # at least one row
    return [drawn for drawn in [chosen] * int(whole) + [again] if len(drawn)]


def load_mixture(
    settings: Mapping[str, Any],
    processor: ProcessorMixin,
    max_tokens: int,
    seed: int,
    num_proc: int | None = None,
    budget: PixelBudget = UNLIMITED,
    counting: type[RowCounter] = RowCounter,
) -> Mixture:
    """Load, check, weigh and shuffle the sources of a recipe. Equal arguments give equal rows in equal order.

    Args:
        settings: `{name: {path, config, revision, repeats, max_rows}}`, see `Source`; or the result of `pin`.
        processor: renders and counts the tokens.
        max_tokens: longest row, image tokens included; `lengths.fit_rows` says what happens to longer ones.
        seed: of the draw and the shuffle.
        num_proc: processes that count tokens.
        budget: of the pixels of a row's pictures.
        counting: the rows of the method; conversations by default.

    Raises:
        InputError: a source or one of its rows cannot be trained on, or no row of a source remains.
    """
    parts: list[Dataset] = []
    rows: dict[str, int] = {}
    dropped: dict[str, dict[str, int]] = {}
    cut: dict[str, dict[str, int]] = {}
    sources = pin(parse_sources(settings))
    for name, source in sources.items():
        counter = SwappedCounter if source.swapped else counting
        loaded = load_source(name, source, counter.features())
        fitted = fit_rows(loaded, name, processor, max_tokens, num_proc, budget, counter)
        dropped[name], cut[name] = fitted.dropped, fitted.cut
        if not len(fitted.dataset):
            why = max(fitted.dropped, key=lambda reason: fitted.dropped[reason])
            hint = "Raise max_tokens, make the pictures smaller with max_row_pixels, or fix the rows"
            raise InputError(f"data set {name!r}", f"no row is left ({why})", hint)
        repeated = [fitted.dataset.select(drawn) for drawn in passes(source, len(fitted.dataset), seed)]
        parts += repeated
        rows[name] = sum(map(len, repeated))
    revisions = {name: source.revision for name, source in sources.items()}
    return Mixture(concatenate_datasets(parts).shuffle(seed=seed), rows, revisions, dropped, cut)
