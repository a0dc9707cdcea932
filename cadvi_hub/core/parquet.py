"""The one way to open a parquet file: what it raises becomes an InputError that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ROWS_PER_GROUP = 100  # the Hub's viewer reads whole row groups; with pictures, 100 rows are about 50 MB
_BATCH = 1024


@contextmanager
def open_parquet(file: Path, hint: str = "Build it again") -> Iterator[ParquetFile]:
    """The parquet file, open for the block.

    Raises:
        InputError: it cannot be read, now or within the block.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(file), f"does not read as parquet ({str(error).strip()})", hint) from error


def read_rows(
    file: Path, columns: Sequence[str], needed: Sequence[str] = (), hint: str = "Build it again"
) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, of which a batch is in memory.

    Args:
        file: the file.
        columns: what is read of each row, where the file has it.
        needed: columns that the file must have.
        hint: what to do where it cannot be used.

    Raises:
        InputError: it cannot be read, or lacks a column of `needed`.
    """
    with open_parquet(file, hint) as opened:
        names = opened.schema_arrow.names
        if missing := sorted(set(needed) - set(names)):
            raise InputError(str(file), f"has no column {', '.join(missing)}", hint)
        for batch in opened.iter_batches(_BATCH, columns=[name for name in columns if name in names]):
            yield from batch.to_pylist()


def count_rows(file: Path) -> int:
    """How many rows the file's footer tells; InputError where it cannot be read."""
    with open_parquet(file) as opened:
        return int(opened.metadata.num_rows)


def is_whole(file: Path) -> bool:
    """Whether the file is there with a footer that reads."""
    try:
        count_rows(file)
    except InputError:
        return False
    return True
