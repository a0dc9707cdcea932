"""Pairs of similar images with notes on their differences, in the row layout of The Cauldron's `mimic_cgd`.

`pairs.jsonl` holds one JSON object per line: `images`, two file names below the folder, and `texts`, a list of
`{"user": question, "assistant": answer, "source": …}`; `id` is optional.
Format: https://huggingface.co/datasets/HuggingFaceM4/the_cauldron (after MIMIC-IT "general difference")
"""

from __future__ import annotations

from collections.abc import Iterator

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources.rows import Row, identifier, items, read_rows, two_images
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.sources.the_cauldron import difference_note

FILE = "pairs.jsonl"


def read_similar_pairs(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[ImagePair]:
    """Yield one record per pair in file order; `context` joins all answers with spaces (paper, section 3.2).

    A pair without an id gets its two file names as id. Pairs without an answer are dropped and counted.

    Raises:
        InputError: no pair file, or a bad row if `settings.bad_rows` is `refuse`.
    """

    def make_record(row: Row) -> ImagePair:
        names = two_images(items(row, "images"), images, different=True)
        pair_id = identifier(row, "id") if "id" in row else "|".join(names)
        return ImagePair(pair_id, names, settings.name, context=difference_note(row))

    file = settings.path / FILE
    return read_rows(file, json_lines(file), make_record, settings, drops)
