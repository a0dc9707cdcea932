"""Records → sharded parquet with embedded images: read, pair, annotate, filter, converse, write.

`v1`: captioned images → pairs by shared nouns → summaries from captions → two turns (paper, section 3.1).
`v2`: similar pairs with a difference note → summaries from images and note → one turn (paper, section 3.2); or pairs
    mined from captions, as in `v1`, for a further phase on any images.
`instruct`: single-image and text-only conversations as they stand.
`cad_qa`: open questions with reference answers, in a split `test` (the paper's CaD-QA): those of a question file, or
    pairs mined from captions → summaries → questions that a model writes.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.annotation.annotators import Annotator
from cadvi_hub.annotation.settings import AnnotatorSettings, QuestionSettings
from cadvi_hub.builder.folder import BuildFolder
from cadvi_hub.builder.plan import Plan, make_plan, output_faults
from cadvi_hub.builder.records import GRAPHS, RECORDS, stage_graphs, stage_records
from cadvi_hub.builder.rows import Turns
from cadvi_hub.builder.shards import make_shards, summed
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.explain import explain_mined
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.formats import format_of
from cadvi_hub.sources.settings import SourceSettings

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass
class BuildSettings:
    """What a data set is built from; a recipe file sets these.

    Attributes:
        config: which data set.
        source: the upstream files; captioned images for `v1`, similar pairs for `v2`, the LLaVA mix for `instruct`, a
            question file or captioned images for `cad_qa`.
        out: output folder; the data set is written to `<out>/<name>`.
        pairs: how pairs are mined from captions.
        annotator: who writes the summaries, and the questions of `cad_qa`.
        clip_model: CLIP model that scores how alike the images of a `v1` pair are (`clip_sim_score`), a Hub id or a
            folder; left out, the column is empty. It needs the extra `train`.
        graphs: folder of scene graphs, as `cadvi ground` takes it: summaries that they contradict are dropped.
        max_contradicted: share of a summary's statements that the graphs may contradict.
        questions: how the questions of `cad_qa` are written and checked.
        exclude_images: images that stay out, by file name: text files with one name per line, question files and mixes
            (`.jsonl`, `.json`), or folders of built data sets, those to be trained or measured on.
        turns: what a conversation holds: `full` is the method's; the others are ablations on the same pairs, without
            summaries: `which_image` (`v1`) or `difference_note` (`v2`) alone.
        name: of the data set and its folder; left out, that of its config. A further phase has its own, `v3` say.
        rows_per_shard: pairs or rows that go into one parquet file; fewer stand in it where some are dropped.
        max_rows: pairs or rows at most, before any is dropped; None takes all.
        images: `embedded` writes the pictures into the files; `referenced` writes their names alone, for pictures that
            may not be given away.
        executor: where shards are made: `local` on this machine, `slurm` or `ray` on a cluster.
        executor_options: further arguments of datatrove's executor, as `{partition: cpu, time: "24:00:00"}`.
        workers: processes, or tasks of the cluster, that make shards; their number does not change a byte. Each loads
            the model of a `local` annotator, and sends `annotator.concurrency` requests at once to a `server`.
        seed: of the conversations.
        overwrite: replace the build of another recipe in the output folder.
    """

    config: Literal["v1", "v2", "instruct", "cad_qa"]
    source: SourceSettings
    out: Path
    pairs: PairSettings = field(default_factory=PairSettings)
    annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    clip_model: str | None = None
    graphs: Path | None = None
    max_contradicted: float = 0.25
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    exclude_images: list[Path] = field(default_factory=list)
    turns: Turns = "full"
    name: str = ""
    rows_per_shard: int = 1000
    max_rows: int | None = None
    images: Literal["embedded", "referenced"] = "embedded"
    executor: Literal["local", "slurm", "ray"] = "local"
    executor_options: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    seed: int = 0
    overwrite: bool = False


def build(settings: BuildSettings, annotator: Annotator | None = None) -> Path:
    """Build one data set and return its folder, `<out>/<name>`.

    A finished build is left alone; one that was killed goes on where it stood, with the same bytes as an uninterrupted
    one. What decides the content is the recipe, in which the source's files count by their digest. Pictures are too
    many to be digested: a build under way goes on with the same folders of pictures alone, and a finished one takes no
    notice of them, so other pictures want another `out`.

    Pass `annotator` to use it instead of the one that the settings describe; all shards are then made in this process.
    On a cluster the build is only submitted.

    Raises:
        InputError: bad input, an output folder that is taken or cannot be written, or no row left.
    """
    if annotator is not None:
        if settings.executor != "local":
            problem = "an annotator that is passed works in this process alone"
            raise InputError("executor", problem, "Take the local executor")
        settings = replace(settings, workers=1)
    plan = make_plan(settings, annotator)
    with output_faults(plan.path):
        if settings.executor != "local":
            from cadvi_hub.builder.cluster import submit

            submit(plan)
            return plan.path
        with plan.locked_folder() as folder:
            if not folder.is_complete():
                if not folder.is_laid_out():
                    _make(plan, folder)
                folder.finish()
            report = folder.report()
    logger.info("%s: %d rows; dropped: %s", plan.path, report["rows"], _reasons(report["drops"]) or "nothing")
    return plan.path


def mine(settings: BuildSettings) -> str:
    """Mine the pairs of a build and say how, without asking any model; the build goes on from there.

    Raises:
        InputError: as of `build`, or a source that holds no captions.
    """
    plan = make_plan(settings)
    if format_of(settings.config, settings.source).holds != "captions":
        raise InputError("source.format", "pairs are mined from captions alone", "Name a format of captions")
    with output_faults(plan.path), plan.locked_folder() as folder:
        if folder.is_complete() or folder.is_laid_out():
            hint = f"Run `cadvi pairs explain --folder {plan.path}`"
            raise InputError(str(plan.path), "the build is past that", hint)
        read = stage_records(plan, folder)
        blocks = (folder.stages.read_block(RECORDS, number) for number in range(read["blocks"]))
        shared = [len(row["shared_nouns"]) for block in blocks for row in block]
    return explain_mined(read, asdict(settings.pairs), shared)


def _make(plan: Plan, folder: BuildFolder) -> None:
    """Make what is missing of stages and shards, then fix the layout."""
    from tqdm import tqdm

    read = stage_records(plan, folder)
    stage_graphs(plan, folder)
    missing = [number for number in range(read["blocks"]) if not folder.has_part(number)]
    done = read["records"] - min(read["records"], len(missing) * plan.settings.rows_per_shard)
    with tqdm(desc=plan.path.name, total=read["records"], initial=done, unit="row", disable=None) as bar:
        for records in make_shards(plan, folder, missing):
            bar.update(records)
    lay_out(plan, folder, read)


def lay_out(plan: Plan, folder: BuildFolder, read: Row) -> None:
    """Fix the final names of the shards, and the report over all of them.

    Raises:
        InputError: no row is left.
    """
    rows_per_part, counted = summed(folder.part_facts(read["blocks"]), read)
    if not counted["rows"]:
        problem = f"no row is left ({_reasons(counted['drops'], examples=True) or 'no pair or row was found'})"
        raise InputError(str(plan.settings.source.path), problem, "Look at the source and at the recipe's limits")
    if plan.settings.graphs:
        counted["graphs"] = folder.stages.facts(GRAPHS)
    report = {"config": plan.settings.config, "digest": plan.digest, "recipe": plan.recipe, **counted}
    folder.lay_out(rows_per_part, report)


def _reasons(drops: Row, examples: bool = False) -> str:
    return ", ".join(
        f"{entry['count']} × {reason}" + (f", as {entry['first'][0]}" if examples else "")
        for reason, entry in drops.items()
    )
