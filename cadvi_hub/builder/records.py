"""What shards are cut from: records read from the source, or pairs mined from its captions, kept as a stage.

Shards are cut from the stage and not from the source: files that come or go between two runs must not move a row from
one shard to another.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import asdict
from itertools import islice
from sys import intern
from typing import Any

from cadvi_hub.annotation.annotators import graph_name
from cadvi_hub.builder.counts import Counted, StagedRecords
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.plan import Plan
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.builder.stages import CAPTIONS, GRAPHS, GRAPHS_FILE, RECORDS
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.grounding.store import write_graphs
from cadvi_hub.pairing.explain import OTHER_LANGUAGE, advise
from cadvi_hub.pairing.nouns import tag_captions
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.sources.formats import Format, format_of
from cadvi_hub.sources.held_out import leave_out, read_held_out

CAPTIONS_PER_BLOCK = 10_000

logger = logging.getLogger(__name__)


def stage_records(plan: Plan, folder: BuildFolder) -> StagedRecords:
    """Keep the records, unless an earlier run did."""
    if not folder.stages.has(RECORDS):
        folder.remove_parts()  # cut from records that were damaged
        settings = plan.settings
        source_format = format_of(settings.config, settings.source)
        if source_format.holds == "captions":
            _stage_captions(settings, source_format, folder, plan.source_digest)
            records: Counted[Any, StagedRecords] = Counted(_mine(settings, folder))
        else:
            records = Counted(_read(settings, source_format))
        folder.stages.write(RECORDS, map(asdict, records), settings.rows_per_shard, lambda: asdict(records.result))
    return staged_records(folder)


def staged_records(folder: BuildFolder) -> StagedRecords:
    """What was counted while the records were read, which has been done."""
    return StagedRecords(**folder.stages.counts(RECORDS))


def stage_graphs(plan: Plan, folder: BuildFolder) -> None:
    """Keep the scene graphs of the records' images in one file for all shards, unless an earlier run did.

    Raises:
        InputError: the folder has none of them, or a bad one when bad rows are refused.
    """
    graphs, source = plan.settings.graphs, plan.settings.source
    if graphs is None or folder.stages.has(GRAPHS):
        return
    images = format_of(plan.settings.config, source).images(source)
    blocks = range(staged_records(folder).blocks)
    names = {name for number in blocks for row in folder.stages.read_block(RECORDS, number) for name in row["images"]}
    wanted = {graph_name(name, images) for name in names} - {""}
    drops = Drops()

    def counts() -> Json:
        return {"images": len(names), "images_with_a_graph": found, "drops": drops.as_dict()}

    with folder.stages.new(GRAPHS, counts) as stage:
        found = write_graphs(stage / GRAPHS_FILE, graphs, wanted, source.bad_rows, drops)
        if not found:
            problem = f"none of the {len(names)} images has a scene graph there"
            raise InputError(str(graphs), problem, "Name the folder of their graphs, or leave graphs out")


def _read(settings: BuildSettings, source_format: Format) -> Generator[Any, None, StagedRecords]:
    """The records of the source, one by one."""
    drops, number = Drops(), 0
    images = source_format.images(settings.source)
    read = _apart(settings, source_format.read(settings.source, images, drops), images, drops)
    for record in islice(read, settings.max_rows):
        number += 1
        yield record
    return StagedRecords(number, drops.as_dict(), {})


def _apart(settings: BuildSettings, records: Iterator[Any], images: ImageStore, drops: Drops) -> Iterator[Any]:
    """The records without those that show an excluded image."""
    if not settings.exclude_images:
        return records

    def files_of(record: Any) -> Iterator[str]:
        for name in (record.image,) if isinstance(record, CaptionedImage) else record.images:
            file = images.file_name(name)
            if file is None:
                problem = f"image {name} of the source has no file name, so it cannot be compared"
                raise InputError("exclude_images", problem, "Leave exclude_images out, or give the images names")
            yield file

    return leave_out(records, files_of, read_held_out(settings.exclude_images), drops)


def _stage_captions(settings: BuildSettings, source_format: Format, folder: BuildFolder, digest: str) -> None:
    """Keep the captions with their nouns and wordings, unless an earlier run kept those of the same source.

    They are a stage of their own because tagging takes far longer than mining: builds with other settings of pairs,
    annotator or conversations go on from there. Captions in another language than the tagger's are dropped.
    """
    from tqdm import tqdm

    if folder.stages.has(CAPTIONS):
        if folder.stages.counts(CAPTIONS)["source_digest"] == digest:
            return
        folder.stages.remove(CAPTIONS)
    drops = Drops()
    images = source_format.images(settings.source)
    captioned = list(_apart(settings, source_format.read(settings.source, images, drops), images, drops))
    tagged = tag_captions((entry.caption for entry in captioned), settings.pairs.spacy_model)
    shown = tqdm(tagged, "nouns", len(captioned), unit="caption", disable=None)
    kept = 0

    def rows() -> Iterator[tuple[Json, tuple[str, ...], str]]:
        nonlocal kept
        for entry, read in zip(captioned, shown, strict=True):
            if read.language:
                drops.add(f"{OTHER_LANGUAGE} ({read.language})", f"{entry.image}: {entry.caption[:60]}")
            else:
                kept += 1
                yield asdict(entry), read.nouns, read.wording

    def counts() -> Json:
        return {"source_digest": digest, "records_read": kept, "drops": drops.as_dict()}

    folder.stages.write(CAPTIONS, rows(), CAPTIONS_PER_BLOCK, counts)


def _mine(settings: BuildSettings, folder: BuildFolder) -> Generator[ImagePair, None, StagedRecords]:
    """Pairs from the captions that are kept."""
    read = folder.stages.counts(CAPTIONS)
    captions: list[CaptionedImage] = []
    nouns: list[tuple[str, ...]] = []
    wordings: list[str] = []
    for number in range(read["blocks"]):
        for entry, row, wording in folder.stages.read_block(CAPTIONS, number):
            captions.append(CaptionedImage(**entry))
            nouns.append(tuple(map(intern, row)))
            wordings.append(wording)
    mined = mine_pairs(captions, nouns, settings.pairs, wordings)
    if advice := advise(mined.counts, read["drops"], asdict(settings.pairs)):
        logger.warning("%s: %s", settings.source.path, advice)
    yield from mined.pairs[: settings.max_rows]
    return StagedRecords(read["records_read"], read["drops"], mined.counts)
