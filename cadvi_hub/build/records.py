"""What shards are cut from: records read from the source, or pairs mined from its captions; kept as a stage.

Shards are cut from the stage and not from the source, so that files which come or go between two runs cannot move a
row from one shard to another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING, Any

from cadvi_hub.build.folder import BuildFolder
from cadvi_hub.errors import InputError
from cadvi_hub.held_out import leave_out, read_held_out
from cadvi_hub.images import ImageStore
from cadvi_hub.pairing.nouns import extract_nouns
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.schema import CaptionedImage, ImagePair
from cadvi_hub.sources import Drops
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.formats import Format, format_of
from cadvi_hub.sources.llava_mix import InstructExample

if TYPE_CHECKING:
    from cadvi_hub.build import BuildSettings

# Captions with their nouns, what was counted on the way to them, and records to be made rows of
CAPTIONS, CAPTIONS_READ, RECORDS = "captions.jsonl", "captions_read.jsonl", "records"

Row = dict[str, Any]


def stage_records(settings: BuildSettings, folder: BuildFolder) -> Row:
    """Keep the records, unless an earlier run did; returns what was counted, with the number of their blocks."""
    if not folder.has_stage(RECORDS):
        source_format = format_of(settings.config, settings.source)
        counted = Row()
        make = _mine if source_format.holds == "captions" else _read
        records = map(asdict, make(settings, source_format, folder, counted))
        folder.write_blocks(RECORDS, records, settings.rows_per_shard, counted)
    return folder.block_facts(RECORDS)


def _read(settings: BuildSettings, source_format: Format, folder: BuildFolder, counted: Row) -> Iterator[Any]:
    """The records of the source one by one; `counted` is filled when all are read."""
    drops, number = Drops(), 0
    images = source_format.images(settings.source)
    read = _apart(settings, source_format.read(settings.source, images, drops), images, drops)
    for record in islice(read, settings.max_rows):
        number += 1
        yield record
    counted |= {"records_read": number, "drops": drops.as_dict(), "pair_counts": {}}


def record_of(row: Row) -> Any:
    """The record that a row of the stage `RECORDS` holds: a pair, a conversation, a question, or a made row."""
    tuples: Row = {key: tuple(row[key]) for key in ("images", "captions", "shared_nouns") if key in row}
    kinds = {"row": BuiltRow, "messages": InstructExample, "answer": PairQuestion}  # each by a field of its own
    kind = next((kind for field, kind in kinds.items() if field in row), ImagePair)
    return kind(**{**row, **tuples})


def _apart(settings: BuildSettings, records: Iterator[Any], images: ImageStore, drops: Drops) -> Iterator[Any]:
    """The records without those that show an excluded image."""
    if not settings.exclude_images:
        return records

    def files_of(record: Any) -> Iterator[str]:
        for name in (record.image,) if isinstance(record, CaptionedImage) else record.images:
            file = images.file_name(name)
            if file is None:
                fault = f"image {name} of the source has no file name by which it could be told"
                raise InputError("exclude_images", fault, "Leave exclude_images out, or name the pictures")
            yield file

    return leave_out(records, files_of, read_held_out(settings.exclude_images), drops)


def _mine(settings: BuildSettings, source_format: Format, folder: BuildFolder, counted: Row) -> Iterator[ImagePair]:
    """Captions → nouns → pairs. The nouns are a stage of their own: tagging takes far longer than mining."""
    from tqdm import tqdm

    if not folder.has_stage(CAPTIONS):
        drops = Drops()
        images = source_format.images(settings.source)
        captioned = list(_apart(settings, source_format.read(settings.source, images, drops), images, drops))
        tagged = extract_nouns(entry.caption for entry in captioned)
        nouns_of = tqdm(tagged, "nouns", len(captioned), unit="caption", disable=None)
        folder.write_stage(CAPTIONS_READ, [{"records_read": len(captioned), "drops": drops.as_dict()}])
        folder.write_stage(CAPTIONS, zip(map(asdict, captioned), nouns_of, strict=True))
        del captioned
    images_of, nouns = [], []
    for entry, row in folder.read_stage(CAPTIONS):
        images_of.append(CaptionedImage(**entry))
        nouns.append(tuple(map(intern, row)))
    mined = mine_pairs(images_of, nouns, settings.pairs)
    counted |= {**next(folder.read_stage(CAPTIONS_READ)), "pair_counts": mined.counts}
    yield from mined.pairs[: settings.max_rows]
