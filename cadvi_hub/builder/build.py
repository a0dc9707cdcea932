"""Records → sharded parquet with embedded images: read, pair, annotate, filter, converse, write.

`v1`: captioned images → pairs by shared nouns → summaries from captions → two turns (paper, section 3.1).
`v2`: similar pairs with a difference note → summaries from images and note → one turn (paper, section 3.2); or pairs
    mined from captions, as in `v1`, for a further phase on any images.
`instruct`: single-image and text-only conversations, unchanged.
`preferences`: a finished data set with summaries → the same question with a better and a worse answer.
`cad_qa`: open questions with reference answers, in a split `test` (the paper's CaD-QA): from a question file, or from
    pairs mined from captions → summaries → questions that a model writes.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

from cadvi_hub.annotation.annotators import Annotator
from cadvi_hub.builder.cluster import submit
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.plan import Plan, make_plan, output_errors
from cadvi_hub.builder.records import stage_graphs, stage_records
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.builder.shards import is_made, lay_out, make_shards, reasons, retry_hint
from cadvi_hub.builder.stages import RECORDS
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.explain import explain_mined
from cadvi_hub.sources.formats import format_of

logger = logging.getLogger(__name__)


def build(settings: BuildSettings, annotator: Annotator | None = None) -> Path:
    """Build one data set and return its folder, `<out>/<name>`.

    A finished build is left alone; a killed one goes on from its last shard and ends with the same bytes as an
    uninterrupted one. The recipe decides the content; it has the digest of the source's files. Images are too many to
    be digested: an unfinished build only goes on with the same image folders, and a finished build does not look at
    them, so use another `out` for other images.

    With `annotator` the one in the settings is not used, and all shards are made in this process. On a cluster the
    build is only submitted.

    Raises:
        InputError: bad input, an output folder that is taken or cannot be written, or no row left.
    """
    if annotator is not None:
        if settings.executor != "local":
            problem = "an annotator that is passed works in this process alone"
            raise InputError("executor", problem, "Use the local executor")
        settings = replace(settings, workers=1)
    plan = make_plan(settings, annotator)
    with output_errors(plan.path):
        if settings.executor != "local":
            submit(plan)
            return plan.path
        with plan.locked_folder() as folder:
            if not folder.is_complete():
                if not folder.is_laid_out():
                    _make(plan, folder)
                folder.finish()
            report = folder.report()
    dropped = (reasons(report["drops"]) or "nothing") + retry_hint(plan, report["drops"], is_finished=True)
    logger.info("%s: %d rows; dropped: %s", plan.path, report["rows"], dropped)
    return plan.path


def mine(settings: BuildSettings) -> str:
    """Mine the pairs of a build and explain them, without asking any model; the build goes on from there.

    Raises:
        InputError: a source without captions, and whatever `build` raises.
    """
    plan = make_plan(settings)
    if format_of(settings.config, settings.source).holds != "captions":
        raise InputError("source.format", "pairs can only be mined from captions", "Name a format of captions")
    with output_errors(plan.path), plan.locked_folder() as folder:
        if folder.is_complete() or folder.is_laid_out():
            hint = f"Run `cadvi pairs explain --folder {plan.path}`"
            raise InputError(str(plan.path), "the build is past that", hint)
        read = stage_records(plan, folder)
        blocks = (folder.stages.read_block(RECORDS, number) for number in range(read.blocks))
        shared = [len(row["shared_nouns"]) for block in blocks for row in block]
    return explain_mined(asdict(read), asdict(settings.pairs), shared)


def _make(plan: Plan, folder: BuildFolder) -> None:
    """Make what is missing of stages and shards, then fix the layout."""
    from tqdm import tqdm

    read = stage_records(plan, folder)
    stage_graphs(plan, folder)
    missing = [number for number in range(read.blocks) if not is_made(plan.settings, folder, number)]
    done = read.records - min(read.records, len(missing) * plan.settings.rows_per_shard)
    with tqdm(desc=plan.path.name, total=read.records, initial=done, unit="row", disable=None) as bar:
        for records in make_shards(plan, folder, missing):
            bar.update(records)
    lay_out(plan, folder, read)
