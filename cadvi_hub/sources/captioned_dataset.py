"""Captioned images in a data set that `datasets` loads: a repository on the Hub, or a folder of parquet or pictures.

Columns: `image`, `caption` and optionally `image_id`, by default the number of the row. `source.columns` maps these
names to those of the data set. A caption can be a list of captions of one image.
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.dataset import dataset_rows, load_source
from cadvi_hub.sources.rows import Row, caption, found, identifier, read_rows
from cadvi_hub.sources.settings import SourceSettings


def read_captioned_dataset(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[CaptionedImage]:
    """Yield one record per caption in row order; empty captions are dropped and counted.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "image", "caption")
    columns = [name for name in ("image_id", "caption") if name in dataset.column_names]

    def make_record(row: Row) -> CaptionedImage:
        words = caption(row)
        image_id = identifier(row, "image_id") if "image_id" in row else row["number"]
        return CaptionedImage(image_id, found(row["number"], images), words, settings.name)

    rows = (
        (position, {**row, "caption": caption})
        for position, row in dataset_rows(dataset.select_columns(columns), settings)
        for caption in (row["caption"] or [""] if isinstance(row["caption"], list) else [row["caption"]])
    )
    return read_rows(settings.path, rows, make_record, settings, drops)
