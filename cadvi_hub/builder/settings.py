"""The settings of a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.annotation.preferences import REJECTIONS, Rejection
from cadvi_hub.annotation.settings import AnnotatorSettings, QuestionSettings, VerifierSettings
from cadvi_hub.core.ranges import Count, Parallel, Ranged, Seed, Share
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings

Config = Literal["v1", "v2", "instruct", "cad_qa", "preferences"]
Turns = Literal["full", "which_image", "difference_note"]
TURNS_OF: dict[Config, tuple[Turns, ...]] = {
    "v1": ("full", "which_image"),
    "v2": ("full", "which_image", "difference_note"),
    "instruct": ("full",),
    "cad_qa": ("full",),
    "preferences": ("full",),
}


@dataclass
class BuildSettings(Ranged):
    """What a data set is built from; a recipe file sets these.

    Attributes:
        config: which data set.
        source: the upstream files: captioned images for `v1`, similar pairs for `v2`, the LLaVA mix for `instruct`, a
            question file or captioned images for `cad_qa`, a finished data set with summaries for `preferences`.
        out: output folder; the data set is written to `<out>/<name>`.
        pairs: how pairs are mined from captions.
        annotator: who writes the summaries, and the questions of `cad_qa`.
        verifier: who checks the statements of the summaries against the images, and how.
        clip_model: CLIP model that scores how alike the images of a `v1` pair are (`clip_sim_score`), a Hub id or a
            folder; without it the column is empty. It needs the extra `train`.
        graphs: folder of scene graphs, as for `cadvi ground`: summaries that they contradict are dropped; for
            `preferences`, statements that they contradict make worse answers.
        max_contradicted: share of a summary's statements that the graphs may contradict.
        rejections: the kinds of worse answers in `preferences`; each pair has one, drawn from those that can be made:
            the sides swapped, an aspect left out, a statement that the verifier or the graphs contradict, or the
            summary of another pair.
        questions: how the questions of `cad_qa` are written and checked.
        exclude_images: images to leave out, by file name: text files with one name per line, question files and mixes
            (`.jsonl`, `.json`), or folders of built data sets that are used for training or evaluation.
        turns: what a conversation contains: `full` is the paper's; the others have no summary. `which_image` asks
            which image a caption suits; for pairs without captions, which one each of up to three verified
            differences holds of (this needs a verifier). `difference_note` (`v2`) has the note unchanged.
        name: of the data set and its folder; by default the name of its config. A further phase has its own, `v3` say.
        rows_per_shard: pairs or rows that go into one parquet file, before any is dropped.
        max_rows: pairs or rows at most, before any is dropped; None for all.
        images: `embedded` writes the images into the files; `referenced` writes only their names, for images that may
            not be redistributed.
        executor: where shards are made: `local` on this machine, `slurm` or `ray` on a cluster.
        executor_options: more arguments of datatrove's executor, such as `{partition: cpu, time: "24:00:00"}`.
        workers: processes, or cluster tasks, that make shards; the files are the same for any number. Each loads the
            model of a `local` annotator, or sends `annotator.concurrency` requests at once to a `server`.
        seed: of the conversations.
        overwrite: replace the build of another recipe in the output folder.
        verify: read every file that an earlier run wrote and compare its digest; without it, sizes and footers are
            checked.
    """

    config: Config
    source: SourceSettings
    out: Path
    pairs: PairSettings = field(default_factory=PairSettings)
    annotator: AnnotatorSettings = field(default_factory=AnnotatorSettings)
    verifier: VerifierSettings = field(default_factory=VerifierSettings)
    clip_model: str | None = None
    graphs: Path | None = None
    max_contradicted: Share = 0.25
    rejections: list[Rejection] = field(default_factory=lambda: list(REJECTIONS))
    questions: QuestionSettings = field(default_factory=QuestionSettings)
    exclude_images: list[Path] = field(default_factory=list)
    turns: Turns = "full"
    name: str = ""
    rows_per_shard: Count = 1000
    max_rows: Count | None = None
    images: Literal["embedded", "referenced"] = "embedded"
    executor: Literal["local", "slurm", "ray"] = "local"
    executor_options: dict[str, Any] = field(default_factory=dict)
    workers: Parallel = 1
    seed: Seed = 0
    overwrite: bool = False
    verify: bool = False
