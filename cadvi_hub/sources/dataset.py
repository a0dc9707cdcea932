"""Sources that `datasets` loads: a repository on the Hub, a folder of parquet files or pictures, or a single file.

`source.columns` maps our column names to those of the data set, such as `{caption: text}`; by default they are equal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import EmbeddedImage
from cadvi_hub.sources.rows import Row
from cadvi_hub.sources.settings import SourceSettings

if TYPE_CHECKING:
    from datasets import Dataset

_KINDS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}  # of a single file
_NAME = re.compile(r"(?P<row>[0-9]{1,12})(?:/(?P<place>[0-9]{1,4}))?")


@cache
def _load(path: str, subset: str | None, split: str) -> Dataset:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        if Path(path).is_file():
            kind = _KINDS.get(Path(path).suffix, "parquet")
            return load_dataset(kind, data_files={split: path}, split=split)
        if not Path(path).is_dir():
            return load_dataset(path, subset, split=split)
        # `datasets` caches a folder with a card by its name alone, so another folder of that name would get the same
        # rows. Files are cached by path and time.
        kind, files = _local_files(path, subset)
        return load_dataset(kind, data_files=files, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        cause = error.__cause__ or error  # "An error occurred while generating the dataset" does not help
        reason = (str(cause).strip().split("\n")[0] or type(cause).__name__).removesuffix(".")
        hint = "Check source.path, source.subset and source.split"
        raise InputError(f"data set {path}", f"it cannot be loaded ({reason})", hint) from error


def _local_files(path: str, subset: str | None) -> tuple[str, dict[str, list[str]]]:
    """The builder that `datasets` uses for folder `path`, and the folder's files per split."""
    from datasets import load_dataset_builder

    found = load_dataset_builder(path, subset)
    of_splits = {split: list(map(str, files)) for split, files in (found.config.data_files or {}).items()}
    for file in chain.from_iterable(of_splits.values()):  # a card can name any file; the Hub client makes links
        if not Path(os.path.normpath(Path(file).absolute())).is_relative_to(os.path.normpath(Path(path).absolute())):
            raise InputError(f"data set {path}", f"its card names {file}, which lies elsewhere", "Fix the card")
    return found.name, of_splits


def fingerprint(settings: SourceSettings) -> str:
    """A string that changes with the content of the data set, not with its place.

    Raises:
        InputError: it cannot be loaded.
    """
    if settings.path.is_file():
        return digest_of_files([settings.path])
    dataset = _load(str(settings.path), settings.subset, settings.split)
    if not settings.path.is_dir():
        return str(dataset._fingerprint)  # of the repository's commit
    of_splits = _local_files(str(settings.path), settings.subset)[1]
    return digest_of_files(list(map(Path, chain.from_iterable(of_splits.values()))))


def load_source(settings: SourceSettings, *needed: str) -> Dataset:
    """The data set of `settings`, memory-mapped, with our names for its columns.

    Raises:
        InputError: it cannot be loaded, or lacks a column of `needed` or `settings.columns`.
    """
    dataset, place = _load(str(settings.path), settings.subset, settings.split), f"data set {settings.path}"
    renamed = {theirs: ours for ours, theirs in settings.columns.items()}
    if len(renamed) < len(settings.columns):
        raise InputError(place, "source.columns names one of its columns twice", "Name each once")
    for ours in (*needed, *settings.columns):
        if (theirs := settings.columns.get(ours, ours)) not in dataset.column_names:
            problem = f"no column {theirs!r} for our {ours!r}; there are {', '.join(dataset.column_names)}"
            raise InputError(place, problem, "Name the right one in source.columns")
    hidden = [name for name in dataset.column_names if name in settings.columns and name not in renamed]
    return dataset.remove_columns(hidden).rename_columns(renamed)


def dataset_rows(dataset: Dataset, settings: SourceSettings) -> Iterator[tuple[str, Row]]:
    """`("row 0", …)` and so on, numbered as in the data set's viewer; `number` holds the number as text."""
    from tqdm import tqdm

    for number, row in enumerate(tqdm(dataset, desc=settings.path.name, unit=" rows", disable=None)):
        yield f"row {number}", {**row, "number": str(number)}


class DatasetImages(ImageStore):
    """The pictures in a data set's column of images, by row: `12`, or `12/0` and `12/1` if a row has a list.

    Raises:
        InputError: no such column, or it does not hold pictures.
    """

    def __init__(self, settings: SourceSettings, column: str):
        import pyarrow as pa

        self._place = f"data set {settings.path}"
        # Arrow reads a value from the disk when it is used; `datasets` would read all of them.
        self._pictures = load_source(settings, column).data.column(column)
        kind = self._pictures.type
        self._lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if self._lists:
            kind = kind.value_type
        if not pa.types.is_struct(kind) or not {"bytes", "path"} <= {field.name for field in kind}:
            raise InputError(
                self._place, f"column {column!r} holds no pictures", "Name the right one in source.columns"
            )
        self._folder = _folder(settings.path)

    def names(self, row: int) -> list[str | None]:
        """The original file names of the pictures in a row's list."""
        pictures = self._pictures[row]
        if not pictures.is_valid:
            return []
        return [picture["path"].as_py() if picture.is_valid else None for picture in pictures]

    def find(self, name: str) -> str:
        self._picture(name)
        return name

    def file_name(self, name: str) -> str | None:
        path = self._picture(name)["path"].as_py()
        return Path(path).name if path else None

    def read(self, name: str) -> EmbeddedImage:
        """The bytes in the data set, or of the file below its folder that the row names."""
        picture = self._picture(name).as_py()
        stored, data = Path(picture["path"] or ""), picture["bytes"]
        if data is None:  # a folder of pictures; a file elsewhere could be a secret
            file = stored.resolve()
            if not file.is_relative_to(self._folder) or not file.is_file():
                problem = f"image {name} is a file outside of the data set"
                raise InputError(self._place, problem, "Embed the pictures in the data set")
            data = file.read_bytes()
        return {"bytes": data, "path": stored.name or None}

    def _picture(self, name: str) -> Any:
        """The picture as Arrow holds it."""
        parts = _NAME.fullmatch(name)
        try:
            if parts is None or (parts["place"] is not None) != self._lists:
                raise IndexError(name)
            picture = self._pictures[int(parts["row"])]
            if self._lists and picture.is_valid:
                picture = picture[int(parts["place"])]
        except IndexError as error:
            raise InputError(self._place, f"it has no image {name!r}", "Fix the row") from error
        if not picture.is_valid or not (picture["bytes"].is_valid or picture["path"].is_valid):
            raise InputError(self._place, f"image {name} is empty", "Remove the row")
        return picture


def _folder(path: Path) -> Path:
    """Where the files of a data set may be: its folder, or the Hub client's cache of its repository."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if path.is_dir():
        return path.resolve()
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=str(path), repo_type="dataset")).resolve()
