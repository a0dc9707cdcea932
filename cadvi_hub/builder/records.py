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

from cadvi_hub.annotation.annotators import graph_name
from cadvi_hub.builder.folder import CAPTIONS, BuildFolder
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.grounding.store import write_graphs
from cadvi_hub.pairing.nouns import extract_nouns
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.sources.formats import Format, format_of
from cadvi_hub.sources.held_out import leave_out, read_held_out

if TYPE_CHECKING:
    from cadvi_hub.builder.build import BuildSettings
    from cadvi_hub.builder.plan import Plan

RECORDS = "records"  # the stage that shards are cut from, block by block
GRAPHS, GRAPHS_FILE = "graphs", "graphs.sqlite"  # the stage of scene graphs
CAPTIONS_PER_BLOCK = 10_000

Row = dict[str, Any]


def stage_records(plan: Plan, folder: BuildFolder) -> Row:
    """Keep the records, unless an earlier run did; returns what was counted, with the number of their blocks."""
    if not folder.stages.has(RECORDS):
        settings, counted = plan.settings, Row()
        source_format = format_of(settings.config, settings.source)
        if source_format.holds == "captions":
            _stage_captions(settings, source_format, folder, plan.source_digest)
            records: Iterator[Any] = _mine(settings, folder, counted)
        else:
            records = _read(settings, source_format, counted)
        folder.stages.write(RECORDS, map(asdict, records), settings.rows_per_shard, counted)
    return folder.stages.facts(RECORDS)


def stage_graphs(plan: Plan, folder: BuildFolder) -> None:
    """Keep the scene graphs of the images in the records, unless an earlier run did, where each shard finds its own.

    Raises:
        InputError: the folder has none of them, or a bad one where bad rows are refused.
    """
    graphs, source = plan.settings.graphs, plan.settings.source
    if graphs is None or folder.stages.has(GRAPHS):
        return
    images = format_of(plan.settings.config, source).images(source)
    blocks = range(folder.stages.facts(RECORDS)["blocks"])
    names = {name for number in blocks for row in folder.stages.read_block(RECORDS, number) for name in row["images"]}
    wanted = {graph_name(name, images) for name in names} - {""}
    drops, facts = Drops(), Row()
    with folder.stages.new(GRAPHS, facts) as stage:
        found = write_graphs(stage / GRAPHS_FILE, graphs, wanted, source.bad_rows, drops)
        if not found:
            problem = f"none of the {len(names)} images has a scene graph there"
            raise InputError(str(graphs), problem, "Name the folder of their graphs, or leave graphs out")
        facts |= {"images": len(names), "images_with_a_graph": found, "drops": drops.as_dict()}


def _read(settings: BuildSettings, source_format: Format, counted: Row) -> Iterator[Any]:
    """The records of the source one by one; `counted` is filled when all are read."""
    drops, number = Drops(), 0
    images = source_format.images(settings.source)
    read = _apart(settings, source_format.read(settings.source, images, drops), images, drops)
    for record in islice(read, settings.max_rows):
        number += 1
        yield record
    counted |= {"records_read": number, "drops": drops.as_dict(), "pair_counts": {}}


def _apart(settings: BuildSettings, records: Iterator[Any], images: ImageStore, drops: Drops) -> Iterator[Any]:
    """The records without those that show an excluded image."""
    if not settings.exclude_images:
        return records

    def files_of(record: Any) -> Iterator[str]:
        for name in (record.image,) if isinstance(record, CaptionedImage) else record.images:
            file = images.file_name(name)
            if file is None:
                problem = f"image {name} of the source has no file name by which it could be told"
                raise InputError("exclude_images", problem, "Leave exclude_images out, or name the pictures")
            yield file

    return leave_out(records, files_of, read_held_out(settings.exclude_images), drops)


def _stage_captions(settings: BuildSettings, source_format: Format, folder: BuildFolder, digest: str) -> None:
    """Keep the captions with their nouns, unless an earlier run kept those of the same source.

    They are a stage of their own, since tagging takes far longer than mining: other settings of pairs, annotator or
    conversations go on from there.
    """
    from tqdm import tqdm

    if folder.stages.has(CAPTIONS):
        if folder.stages.facts(CAPTIONS)["source_digest"] == digest:
            return
        folder.stages.remove(CAPTIONS)
    drops = Drops()
    images = source_format.images(settings.source)
    captioned = list(_apart(settings, source_format.read(settings.source, images, drops), images, drops))
    tagged = extract_nouns(entry.caption for entry in captioned)
    nouns_of = tqdm(tagged, "nouns", len(captioned), unit="caption", disable=None)
    rows = zip(map(asdict, captioned), nouns_of, strict=True)
    facts = {"source_digest": digest, "records_read": len(captioned), "drops": drops.as_dict()}
    folder.stages.write(CAPTIONS, rows, CAPTIONS_PER_BLOCK, facts)


def _mine(settings: BuildSettings, folder: BuildFolder, counted: Row) -> Iterator[ImagePair]:
    """Pairs from the captions that are kept; `counted` is filled when they are mined."""
    facts, images_of, nouns = folder.stages.facts(CAPTIONS), [], []
    for number in range(facts["blocks"]):
        for entry, row in folder.stages.read_block(CAPTIONS, number):
            images_of.append(CaptionedImage(**entry))
            nouns.append(tuple(map(intern, row)))
    mined = mine_pairs(images_of, nouns, settings.pairs)
    counted |= {"records_read": facts["records_read"], "drops": facts["drops"], "pair_counts": mined.counts}
    yield from mined.pairs[: settings.max_rows]
