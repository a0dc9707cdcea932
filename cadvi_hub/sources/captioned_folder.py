"""A folder of images with a caption file in the fields of Localized Narratives' light files.

`captions.jsonl` holds one JSON object per line: `image_id`, `caption`, and `image`, the file name below the folder
(the upstream files leave it out, because each collection derives it from the id in its own way). An image can have
several lines. `dataset_id` and `annotator_id` are not read.
Format: https://google.github.io/localized-narratives/
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.rows import Row, caption, found, identifier, read_rows, text
from cadvi_hub.sources.settings import SourceSettings

FILE = "captions.jsonl"


def read_captioned_folder(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[CaptionedImage]:
    """Yield one record per caption in file order; empty captions are dropped and counted.

    Raises:
        InputError: no caption file, or a bad row if `settings.bad_rows` is `refuse`.
    """

    def make_record(row: Row) -> CaptionedImage:
        words = caption(row)
        image = found(text(row, "image"), images)
        return CaptionedImage(identifier(row, "image_id"), image, words, settings.name)

    file = settings.path / FILE
    return read_rows(file, json_lines(file), make_record, settings, drops)
