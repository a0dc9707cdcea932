"""Parquet files of a source, in a folder or on the Hub: their footers, and their row groups one by one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import load_dataset_builder
from httpx import HTTPError
from huggingface_hub import HfFileSystem
from tqdm import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.lengths import RowCounter
from cadvi_hub.training.mixture import as_training_rows, place_of, train_files
from cadvi_hub.training.settings import Source

HUB = "hf://"
READERS = 16  # files whose footers are fetched at once


@dataclass(frozen=True)
class SourceFile:
    """A parquet file that is read by row groups.

    Attributes:
        path: on this machine, or an `hf://` address.
        metadata: its footer.
        images: per row group, the number of images of each row, (rows,).
    """

    path: str
    metadata: pq.FileMetaData
    images: list[np.ndarray]

    def read(self, group: int) -> pa.Table:
        """A row group with the columns images and messages.

        Raises:
            InputError: it cannot be read.
        """
        with _opened(self.path, self.metadata) as file:
            return as_training_rows(file.read_row_group(group, columns=list(RowCounter.features())), self.path)


def source_files(name: str, source: Source) -> list[SourceFile]:
    """The files of a pinned source. This reads no picture.

    Raises:
        InputError: the source is not found, is not made of parquet files, or has other columns.
    """
    paths = _paths(name, source)
    with ThreadPoolExecutor(READERS) as pool:
        return list(tqdm(pool.map(_look_into, paths), f"Footers of {name}", len(paths), unit=" files", disable=None))


def _paths(name: str, source: Source) -> list[str]:
    if files := train_files(name, source):
        return files
    place = place_of(name, source)
    try:
        found = load_dataset_builder(source.path, source.config, revision=source.revision).config.data_files or {}
    except Exception as error:  # the Hub's client and `datasets` raise many kinds
        raise InputError(place, f"it does not load ({error})", "Fix path, config and revision") from error
    paths = list(map(str, found.get("train", [])))
    if not paths or not all(path.endswith(".parquet") for path in paths):
        raise InputError(place, "its split train is not made of parquet files", "Turn streaming off")
    return paths


def _look_into(path: str) -> SourceFile:
    with _opened(path) as file:
        as_training_rows(file.schema_arrow.empty_table(), path)
        if pa.types.is_null(file.schema_arrow.field("images").type):  # text only
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            return SourceFile(path, file.metadata, [np.zeros(size, int) for size in sizes])
        columns = [file.schema.column(index).path for index in range(len(file.schema.names))]
        # Every column below a list has the list's lengths: the paths are enough, and no picture is read.
        paths = [name for name in columns if name.startswith("images.") and name.endswith(".path")]
        groups = [file.read_row_group(number, columns=paths or ["images"]) for number in range(file.num_row_groups)]
        images = [pc.list_value_length(table["images"]).fill_null(0).to_numpy() for table in groups]
        return SourceFile(path, file.metadata, images)


@contextmanager
def _opened(path: str, metadata: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    try:
        if not path.startswith(HUB):
            with pq.ParquetFile(path, metadata=metadata, memory_map=True) as file:
                yield file
            return
        with HfFileSystem().open(path, "rb", cache_type="none") as content:  # Arrow asks for exactly what it reads
            yield pq.ParquetFile(content, metadata=metadata, pre_buffer=True)
    except (OSError, pa.ArrowException, HTTPError) as error:
        hint = "Fix the file or the connection, and start again: the run continues from the last checkpoint"
        raise InputError(path, f"cannot be read ({error})", hint) from error
