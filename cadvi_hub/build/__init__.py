"""Records → sharded parquet with embedded images: read, pair, annotate, filter, converse, write.

`v1`: a captioned folder → pairs by shared nouns → summaries from captions → two turns (paper, section 3.1).
`v2`: similar pairs with a difference note → summaries from images and note → one turn (paper, section 3.2).
`instruct`: single-image and text-only conversations as they stand.
`cad_qa`: open questions with reference answers, in a split `test` (the paper's CaD-QA).
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any, Literal

from cadvi_hub import schema
from cadvi_hub.annotation import Annotator, AnnotatorSettings, make_annotator
from cadvi_hub.build_folder import BuildFolder, open_build_folder
from cadvi_hub.build_rows import Pictures, Turns, cad_qa_rows, cad_rows, instruct_rows, statistics
from cadvi_hub.errors import InputError
from cadvi_hub.pairing.nouns import extract_nouns
from cadvi_hub.pairing.pairs import PairSettings, mine_pairs
from cadvi_hub.schema import CaptionedImage, ImagePair
from cadvi_hub.sources import Drops, SourceSettings, cad_qa_file, captioned_folder, llava_mix, similar_pairs
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.llava_mix import InstructExample

# Stages: captions with their nouns, records to be made rows of, and what was counted on the way to each
CAPTIONS, CAPTIONS_READ, RECORDS, READ = "captions.jsonl", "captions_read.jsonl", "records.jsonl", "read.jsonl"
_OUTPUT_FAULTS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
}

Row = dict[str, Any]
TURNS_OF: dict[str, tuple[Turns, ...]] = {
    "v1": ("full", "which_image"),
    "v2": ("full", "difference_note"),
    "instruct": ("full",),
    "cad_qa": ("full",),
}
ANNOTATED = ("v1", "v2")
READERS: dict[str, Callable[[SourceSettings, Drops], Iterator[Any]]] = {
    "v2": similar_pairs.read_similar_pairs,
    "instruct": llava_mix.read_llava_mix,
    "cad_qa": cad_qa_file.read_cad_qa_file,
}


@dataclass
class BuildSettings:
    """What a data set is built from; a recipe file sets these.

    Attributes:
        config: which data set.
        source: the upstream files; a captioned folder for `v1`, similar pairs for `v2`, the LLaVA mix for `instruct`,
            a question file for `cad_qa`.
        out: output folder; the data set is written to `<out>/<config>`.
        pairs: how pairs are mined (`v1`).
        annotator: who writes the summaries (`v1`, `v2`).
        turns: what a conversation holds: `full` is the method's; the others are ablations on the same pairs, without
            summaries: `which_image` (`v1`) or `difference_note` (`v2`) alone.
        rows_per_shard: pairs or rows that go into one parquet file; fewer stand in it where some are dropped.
        max_rows: pairs or rows at most, before any is dropped; None takes all.
        seed: of the conversations.
        overwrite: replace the build of another recipe in the output folder.
    """

    config: Literal["v1", "v2", "instruct", "cad_qa"]
    source: SourceSettings
    out: Path
    pairs: PairSettings = field(default_factory=PairSettings)
    annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    turns: Turns = "full"
    rows_per_shard: int = 1000
    max_rows: int | None = None
    seed: int = 0
    overwrite: bool = False


def build(settings: BuildSettings, annotator: Annotator | None = None) -> Path:
    """Build one data set and return its folder, `<out>/<config>`.

    A finished build is left alone; one that was killed goes on where it stood, with the same bytes as an uninterrupted
    one. Pass `annotator` to use it instead of the one that the settings describe.

    Raises:
        InputError: bad input, an output folder that is taken or cannot be written, or no row left.
    """
    if settings.turns not in TURNS_OF[settings.config]:
        allowed = ", ".join(TURNS_OF[settings.config])
        raise InputError("turns", f"{settings.config} rows cannot be made of {settings.turns} alone", f"Use {allowed}")
    if settings.rows_per_shard < 1:
        raise InputError("rows_per_shard", f"{settings.rows_per_shard} is below 1", "Give at least 1")
    path = settings.out / settings.config
    try:
        path.mkdir(parents=True, exist_ok=True)
        if annotator is None and settings.config in ANNOTATED:
            annotator = make_annotator(settings.annotator, settings.out)
        recipe = _recipe(settings, annotator)
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        split = "test" if settings.config == "cad_qa" else "train"
        with open_build_folder(path, digest, settings.overwrite, split) as folder:
            if folder.is_complete():
                return path
            if not folder.is_laid_out():
                report = {"config": settings.config, "digest": digest, "recipe": recipe}
                _make_parts(settings, annotator, folder, report)
            folder.finish()
    except OSError as error:
        if error.errno not in _OUTPUT_FAULTS:
            raise
        whole = len(list(path.glob("_work/part-*.parquet"))) if path.is_dir() else 0
        mend = f"Make room or choose another out; {whole} shards are whole, and the same command goes on from there"
        raise InputError(error.filename or str(path), f"cannot be written ({error.strerror})", mend) from error
    return path


def _recipe(settings: BuildSettings, annotator: Annotator | None) -> Row:
    """What decides the content of a build: no path, no endpoint, but the source file's own digest."""
    folder = settings.source.path
    file = {
        "v1": folder / captioned_folder.FILE,
        "v2": folder / similar_pairs.FILE,
        "instruct": llava_mix.instruct_file(folder),
        "cad_qa": folder / cad_qa_file.FILE,
    }[settings.config]
    try:
        with file.open("rb") as content:
            source_hash = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})", "Check source.path") from error
    source = {"name": settings.source.name, "bad_rows": settings.source.bad_rows, "sha256": source_hash}
    recipe: Row = {
        "source": source,
        "rows_per_shard": settings.rows_per_shard,
        "max_rows": settings.max_rows,
        "seed": settings.seed,
        "turns": settings.turns,
    }
    if settings.config == "v1":
        recipe["pairs"] = asdict(settings.pairs)
    if annotator:
        kept = {"min_words": settings.annotator.min_words, "max_words": settings.annotator.max_words}
        recipe["annotator"] = {**asdict(annotator.provenance), **kept}
    return {"config": settings.config, **recipe}


def _make_parts(settings: BuildSettings, annotator: Annotator | None, folder: BuildFolder, report: Row) -> None:
    """Make the missing shards, then fix the layout with the report over all of them."""
    from tqdm import tqdm

    read = _stage_records(settings, folder)
    features = getattr(schema, f"{settings.config}_features")()
    pictures = Pictures(settings.source)
    records: Iterator[Any] = map(_record, folder.read_stage(RECORDS))
    parts = 0
    with tqdm(desc=settings.config, total=read["records"], unit="row", disable=None) as bar:
        while shard := list(islice(records, settings.rows_per_shard)):
            if not folder.has_part(parts):
                facts: Row = {}
                if annotator:
                    rows = cad_rows(settings.config, shard, annotator, pictures, settings.turns, settings.seed, facts)
                elif settings.config == "cad_qa":
                    rows = cad_qa_rows(shard, pictures, facts)
                else:
                    rows = instruct_rows(shard, pictures, facts)
                folder.write_part(parts, rows, features, facts)
            parts += 1
            bar.update(len(shard))
    drops = Drops()
    drops.merge(read["drops"])
    totals: Counter[str] = Counter()
    rows_per_part = []
    for facts in folder.part_facts(parts):
        drops.merge(facts["drops"])
        totals.update(facts["totals"])
        rows_per_part.append(facts["totals"].get("rows", 0))
    if not totals["rows"]:
        reasons = ", ".join(f"{entry['count']} × {reason}" for reason, entry in drops.as_dict().items())
        fault = f"no row is left ({reasons or 'no pair or row was found'})"
        raise InputError(str(settings.source.path), fault, "Look at the source and at the recipe's limits")
    report |= {
        "rows": totals["rows"],
        "records_read": read["records_read"],
        "pair_counts": read["pair_counts"],
        "drops": drops.as_dict(),
        "statistics": statistics(totals),
    }
    folder.lay_out(rows_per_part, report)


def _stage_records(settings: BuildSettings, folder: BuildFolder) -> Row:
    """Keep what the shards are cut from, unless an earlier run did; returns what was counted.

    Shards are cut from the stage and not from the source, so that files which come or go between two runs cannot
    move a row from one shard to another.
    """
    if not folder.has_stage(RECORDS):
        if settings.config == "v1":
            counted, pairs = _mine(settings, folder)
            records: Sequence[Any] = pairs[: settings.max_rows]
        else:
            drops = Drops()
            records = list(islice(READERS[settings.config](settings.source, drops), settings.max_rows))
            counted = {"records_read": len(records), "drops": drops.as_dict(), "pair_counts": {}}
        folder.write_stage(READ, [{**counted, "records": len(records)}])  # first: the records vouch for it
        folder.write_stage(RECORDS, map(asdict, records))
    return next(folder.read_stage(READ))


def _mine(settings: BuildSettings, folder: BuildFolder) -> tuple[Row, list[ImagePair]]:
    """Captions → nouns → pairs. The nouns are a stage of their own: tagging takes far longer than mining."""
    from tqdm import tqdm

    if not folder.has_stage(CAPTIONS):
        drops = Drops()
        captioned = list(captioned_folder.read_captioned_folder(settings.source, drops))
        captions = tqdm((entry.caption for entry in captioned), "nouns", len(captioned), unit="caption", disable=None)
        folder.write_stage(CAPTIONS_READ, [{"records_read": len(captioned), "drops": drops.as_dict()}])
        folder.write_stage(CAPTIONS, zip(map(asdict, captioned), extract_nouns(captions), strict=True))
        del captioned
    images, nouns = [], []
    for entry, row in folder.read_stage(CAPTIONS):
        images.append(CaptionedImage(**entry))
        nouns.append(tuple(map(intern, row)))
    mined = mine_pairs(images, nouns, settings.pairs)
    return {**next(folder.read_stage(CAPTIONS_READ)), "pair_counts": mined.counts}, mined.pairs


def _record(row: Row) -> ImagePair | InstructExample | PairQuestion:
    tuples: Row = {key: tuple(row[key]) for key in ("images", "captions", "shared_nouns") if key in row}
    kind = InstructExample if "messages" in row else PairQuestion if "answer" in row else ImagePair
    return kind(**{**row, **tuples})
