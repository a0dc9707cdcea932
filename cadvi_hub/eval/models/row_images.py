"""The pictures of a question, decoded when they are needed: a set of 54,000 questions does not fit into memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image, plain_bytes

if TYPE_CHECKING:
    from datasets import Dataset


class RowImages(Sequence[Image.Image]):
    """The pictures of row `index` as a model sees them (RGB, upright), in the given `order`.

    `rows` are in Arrow's format, in which `datasets` decodes nothing.

    Raises:
        InputError: (when a picture is read) it is not embedded, or does not decode.
    """

    def __init__(self, rows: "Dataset", index: int, order: Sequence[int]):
        self._rows, self._index, self._order = rows, index, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return RowImages(self._rows, self._index, self._order[key])
        return open_image(*self._stored(key))

    def encoded(self) -> Iterator[bytes]:
        """The pictures as PNG, JPEG or WebP: their own bytes if they need no conversion."""
        return (plain_bytes(*self._stored(position)) for position in range(len(self)))

    def _stored(self, position: int) -> tuple[bytes, str]:
        """The bytes of a picture, and where it is."""
        (row,) = self._rows[self._index].to_pylist()
        stored = row["images"][self._order[position]]
        place = f"question {row['id']}, picture {stored['path']}"
        if not stored["bytes"]:
            raise InputError(place, "the set holds its name and not the picture", "Embed the pictures")
        return stored["bytes"], place


class LazyRows:
    """The rows of a question set with `RowImages` for its pictures."""

    def __init__(self, rows: "Dataset"):
        self._rows = rows.with_format("arrow")

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for index, table in enumerate(self._rows):
            (row,) = table.to_pylist()
            yield {**row, "images": RowImages(self._rows, index, range(len(row["images"])))}
