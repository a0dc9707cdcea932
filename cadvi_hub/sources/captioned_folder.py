"""A folder of images with captions: one caption file for all of them, or a `.txt` beside each picture.

`captions.jsonl`, `captions.csv`, `captions.tsv` (each also compressed, `.gz` or `.zst`) or `captions.parquet` has the
fields of Localized Narratives' light files, of which `caption` and `image` are read: `image` is the file name below
the folder (the upstream files leave it out, because each collection derives it from the id in its own way), and
`image_id` is optional. An image can have several rows. `source.columns` maps these names to those of the file.
Format: https://google.github.io/localized-narratives/
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.caption_files import caption_file, pictures_with_texts, rows_of
from cadvi_hub.sources.rows import Row, caption, found, identifier, read_rows, text
from cadvi_hub.sources.settings import SourceSettings

COLUMNS = ("image_id", "image", "caption")


def read_captioned_folder(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[CaptionedImage]:
    """Yield one record per caption, in the order of the file or of the pictures' names; empty captions are dropped.

    Raises:
        InputError: no captions, two caption files, or a bad row if `settings.bad_rows` is `refuse`.
    """
    theirs = {ours: settings.columns.get(ours, ours) for ours in COLUMNS}

    def make_record(row: Row) -> CaptionedImage:
        words = caption(row, theirs["caption"])
        image = found(text(row, theirs["image"]), images)
        image_id = identifier(row, theirs["image_id"]) if theirs["image_id"] in row else image
        return CaptionedImage(image_id, image, words, settings.name)

    file = caption_file(settings.path)
    if file is None:
        return read_rows(settings.path, pictures_with_texts(settings.path), make_record, settings, drops)
    return read_rows(file, rows_of(file, list(theirs.values())), make_record, settings, drops)
