"""Finished rows: our own data sets without their pictures (`cadvi build … --images referenced`).

`source.path` is the folder of one data set (`data/v1`), or a repository on the Hub with `v1` as `source.subset`. The
rows name their pictures, which are searched in `source.images`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import (
    cad_qa_features,
    instruct_features,
    preferences_features,
    v1_features,
    v2_features,
)
from cadvi_hub.sources.dataset import DatasetImages, dataset_rows, load_source
from cadvi_hub.sources.rows import Row, found, identifier, read_rows, unreadable
from cadvi_hub.sources.settings import SourceSettings

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class BuiltRow:
    """A row of one of our data sets; `images` are picture names, `row` holds the other columns."""

    id: str
    images: tuple[str, ...]
    row: Row


def read_built(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[BuiltRow]:
    """Yield one record per row in row order; only columns of our data sets are read.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset = _our_columns(settings)
    pictures = DatasetImages(settings, "images")

    def make_record(row: Row) -> BuiltRow:
        number = int(row.pop("number"))
        names = pictures.names(number)
        if None in names:
            raise unreadable("an image has no name", "Remove the row")
        return BuiltRow(identifier(row, "id"), tuple(found(name, images) for name in names if name), row)

    return read_rows(settings.path, dataset_rows(dataset, settings), make_record, settings, drops)


def read_summaries(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[BuiltRow]:
    """As `read_built`, of rows that hold their pictures; these are named by row and place."""
    pictures = DatasetImages(settings, "images")

    def make_record(row: Row) -> BuiltRow:
        number = int(row.pop("number"))
        names = [f"{number}/{place}" for place in range(len(pictures.names(number)))]
        return BuiltRow(identifier(row, "id"), tuple(found(name, images) for name in names), row)

    return read_rows(settings.path, dataset_rows(_our_columns(settings), settings), make_record, settings, drops)


def _our_columns(settings: SourceSettings) -> Dataset:
    """The data set with the columns of our data sets alone, and without pictures."""
    dataset = load_source(settings, "id", "images")
    features = (v1_features(), v2_features(), instruct_features(), cad_qa_features(), preferences_features())
    ours = set().union(*features) - {"images"}
    return dataset.select_columns([name for name in dataset.column_names if name in ours])
