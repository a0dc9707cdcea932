"""Pictures with an edited copy and a caption for each: hard pairs that differ in exactly what was edited.

Columns, as VisMin names them: `image_0`, `text_0`, `image_1`, `text_1` and optionally `id`, by default the number of
the row. `source.columns` maps them to those of another set (Img-Diff: `{image_0: path1, text_0: caption1, …}`). The
images are embedded, or names of files in `source.images`.
Format: https://huggingface.co/datasets/mair-lab/vismin
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.core.schema import EmbeddedImage, ImagePair
from cadvi_hub.sources.dataset import DatasetImages, dataset_rows, load_source
from cadvi_hub.sources.rows import EmptyRowError, Row, caption, found, identifier, read_rows, text
from cadvi_hub.sources.settings import SourceSettings

IMAGES, TEXTS = ("image_0", "image_1"), ("text_0", "text_1")


class EditedImages(ImageStore):
    """The embedded pictures of both columns, named `12/0` and `12/1` by row and side."""

    def __init__(self, settings: SourceSettings):
        self._sides = [DatasetImages(settings, column) for column in IMAGES]

    def find(self, name: str) -> str:
        side, row = self._place(name)
        side.find(row)
        return name

    def file_name(self, name: str) -> str | None:
        side, row = self._place(name)
        return side.file_name(row)

    def read(self, name: str) -> EmbeddedImage:
        side, row = self._place(name)
        return side.read(row)

    def _place(self, name: str) -> tuple[DatasetImages, str]:
        row, _, side = name.partition("/")
        return self._sides[side == "1"], row


def edited_images(settings: SourceSettings) -> ImageStore:
    """The pictures: embedded, or files below `source.images` if the columns hold names.

    Raises:
        InputError: no such data set or column.
    """
    if _are_named(settings):
        return ImageFolders(settings.images or [settings.path], search=bool(settings.images))
    return EditedImages(settings)


def read_edited_pairs(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[ImagePair]:
    """Yield one record per row with both captions; pairs with an empty caption or twice the same are dropped.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset, named = load_source(settings, *IMAGES, *TEXTS), _are_named(settings)
    columns = [*TEXTS, *(IMAGES if named else ()), *({"id"} & set(dataset.column_names))]

    def make_record(row: Row) -> ImagePair:
        number = row["number"]
        first, second = (
            found(text(row, column) if named else f"{number}/{side}", images) for side, column in enumerate(IMAGES)
        )
        captions = caption(row, TEXTS[0]), caption(row, TEXTS[1])
        if captions[0].casefold() == captions[1].casefold():
            raise EmptyRowError("the two captions are the same")
        pair_id = identifier(row, "id") if "id" in row else number
        return ImagePair(pair_id, (first, second), settings.name, captions=captions)

    return read_rows(
        settings.path, dataset_rows(dataset.select_columns(columns), settings), make_record, settings, drops
    )


def _are_named(settings: SourceSettings) -> bool:
    kind = load_source(settings, *IMAGES).features[IMAGES[0]]
    return getattr(kind, "dtype", "") in ("string", "large_string")
