"""The one way to open a parquet file: its errors become an InputError that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

# The Hub's viewer reads whole row groups: at most `VIEWER_BYTES`. Whichever limit comes first ends a group.
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 100_000_000  # of pictures
VIEWER_BYTES = 286 << 20
_BATCH = 1024


@contextmanager
def open_parquet(file: Path, hint: str = "Build it again") -> Iterator[ParquetFile]:
    """The parquet file, open for the block.

    Raises:
        InputError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(file, hint)
    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(file), f"does not read as parquet ({str(error).strip()})", hint) from error


def read_rows(
    file: Path,
    columns: Sequence[str],
    needed: Sequence[str] = (),
    hint: str = "Build it again",
    batch_size: int = _BATCH,
) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file; one batch is in memory at a time.

    Args:
        file: the file.
        columns: what to read of each row ("images.list.element.path" is a part of one); those that the file lacks
            are left out.
        needed: columns that the file must have.
        hint: what the user can do if the file is of no use.
        batch_size: rows in memory; take few where they have pictures.

    Raises:
        InputError: it cannot be read, or lacks a column of `needed`.
    """
    with open_parquet(file, hint) as opened:
        names = opened.schema_arrow.names
        if missing := sorted(set(needed) - set(names)):
            raise InputError(str(file), f"has no column {', '.join(missing)}", hint)
        present = [name for name in columns if name.partition(".")[0] in names]
        for batch in opened.iter_batches(batch_size, columns=present):
            yield from batch.to_pylist()


def image_names(file: Path) -> Iterator[list[str | None]]:
    """The image names of every row of a built data set's file, without reading a picture.

    Raises:
        LookupError: it has no column of images.
        InputError: it cannot be read.
    """
    with open_parquet(file) as opened:
        leaves = [opened.schema.column(index).path for index in range(len(opened.schema))]
        columns = [leaf for leaf in leaves if leaf.startswith("images.") and leaf.endswith(".path")]
        if not columns:
            raise LookupError(file)
        for batch in opened.iter_batches(columns=columns):
            for images in batch.column(0).to_pylist():
                yield [image and image["path"] for image in images or []]


def count_rows(file: Path) -> int:
    """The number of rows in the file's footer; InputError if it cannot be read."""
    with open_parquet(file) as opened:
        return int(opened.metadata.num_rows)


def is_whole(file: Path) -> bool:
    """Whether the file exists and its footer can be read."""
    try:
        count_rows(file)
    except InputError:
        return False
    return True
