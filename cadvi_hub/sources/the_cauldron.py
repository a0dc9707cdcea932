"""Pairs of similar images with notes on their differences, as The Cauldron publishes them (`mimic_cgd`, 71K rows).

Columns: `images`, a list of two pictures, and `texts`, a list of `{user, assistant, source}`. `source.path` is a
folder of the parquet files, or the repository on the Hub with `mimic_cgd` as `source.subset`.
Format: https://huggingface.co/datasets/HuggingFaceM4/the_cauldron (after MIMIC-IT "general difference")
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources.dataset import DatasetImages, dataset_rows, load_source
from cadvi_hub.sources.rows import EmptyRowError, Row, found, items, mapping, read_rows, text, unreadable
from cadvi_hub.sources.settings import SourceSettings


def read_the_cauldron(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[ImagePair]:
    """Yield one record per row; `pair_id` is its number, `context` joins all answers with spaces (paper, section 3.2).

    Rows without an answer are dropped and counted.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "images", "texts").select_columns("texts")
    pictures = DatasetImages(settings, "images")

    def make_record(row: Row) -> ImagePair:
        number = row["number"]
        if (count := len(pictures.names(int(number)))) != 2:
            raise unreadable(f"{count} images, which should be 2", "Remove the row")
        first, second = (found(f"{number}/{place}", images) for place in range(2))
        return ImagePair(number, (first, second), settings.name, context=difference_note(row))

    return read_rows(settings.path, dataset_rows(dataset, settings), make_record, settings, drops)


def difference_note(row: Row) -> str:
    """All answers in `texts`, joined with spaces."""
    answers = [text(mapping(entry, "an entry of 'texts'"), "assistant").strip() for entry in items(row, "texts")]
    if not (note := " ".join(filter(None, answers))):
        raise EmptyRowError("no difference note")
    return note
