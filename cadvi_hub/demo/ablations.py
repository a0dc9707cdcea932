"""What each part of the method adds: the demo over several seeds, and beside it one training per variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from cadvi_hub.core.files import write_json, write_text
from cadvi_hub.core.ranges import Count
from cadvi_hub.demo.over_seeds import Scores, scores_over_seeds, table
from cadvi_hub.demo.run import Stages, demo, prepare
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.demo.variants import SHARES, VARIANTS, Variant, tune_variant

WRITERS = {"perfect": "v2_perfect", "from captions": "v2_mentions", "V1": "v2", "unverified V1": "v2_unverified"}


@dataclass
class AblationSettings(DemoSettings):
    """The demo's recipe, over how many seeds it runs, and what is trained beside it.

    Attributes:
        runs: demos, with the seeds from `seed` on, each in its own folder below `out`.
        variants: what is trained for each seed, in this order: `which_image` (V1's which-image rows alone),
            `difference_notes` (V2's notes instead of V1's rows), `v2_unverified`, `v2_summaries` (V2 without
            which-image rows), `v2_perfect` (V2 as a writer without errors would write it), `v2_mentions` (V2 written
            from captions), and V1 and V2 with a share of their pairs (`v1_1_of_8` …).
    """

    out: Path = Path("out/ablations")
    runs: Count = 3
    variants: list[Variant] = field(default_factory=lambda: list(VARIANTS))


def ablations(settings: AblationSettings) -> str:
    """Run the demo for each seed, then each variant for each seed; returns the table of means with their intervals.

    Writes `results.json` (model → task → metric → value over seeds), `report.md` and `index.html` whenever all seeds
    of a model are evaluated. What is finished stays, so that the same command goes on where it was killed.

    Raises:
        InputError: whatever `demo` raises.
    """
    runs = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        recipe = {field.name: getattr(settings, field.name) for field in fields(DemoSettings)}
        one = replace(DemoSettings(**recipe), seed=seed, out=settings.out / f"seed-{seed}")
        print(demo(one), flush=True)
        runs.append(prepare(one, Stages()))
    evaluations = [run.out / "evaluation" for run in runs]
    shown = _write(settings.out, evaluations)
    for name in settings.variants:
        for run in runs:
            with Stages().stage(f"{name}, seed {run.settings.seed}"):
                run.evaluate(name, str(tune_variant(run, name)))
        shown = _write(settings.out, evaluations)
    return f"{shown}\n\nPage: {settings.out / 'index.html'}"


def _write(out: Path, evaluations: Sequence[Path]) -> str:
    """Write the scores over seeds; returns their table."""
    scores = scores_over_seeds(evaluations)
    write_json(out / "results.json", scores.as_results())
    shown = table(scores)
    write_text(out / "report.md", shown + "\n")
    write_text(out / "index.html", _page(scores))
    return shown


def _page(scores: Scores) -> str:
    from cadvi_hub.pages.charts import curve_chart
    from cadvi_hub.pages.rendering import page_html

    def curve(phase: str) -> Mapping[float, str]:
        """Share of the pairs → the model that was tuned on them; with no pairs of V2, V2 is V1."""
        fewer = {share: f"{phase}_{name}" for name, share in SHARES.items()}
        return {0.0: "base" if phase == "v1" else "v1", **fewer, 1.0: phase}

    by_share = {phase.upper(): scores.points(curve(phase)) for phase in ("v1", "v2")}
    by_writer = {"V2": scores.points(dict(enumerate(WRITERS.values())))}
    charts = []
    if max(map(len, by_share.values())) > 2:  # the ends alone are in the table
        charts.append(curve_chart("Score by share of the pairs", by_share, "share of the pairs"))
    if len(by_writer["V2"]) > 1:
        charts.append(curve_chart("Score by who wrote V2's summaries", by_writer, "", list(WRITERS)))
    return page_html(
        "ablations.html.jinja",
        images="data:",
        charts=charts,
        has_filters=False,
        table=scores.rows(),
        columns=scores.columns,
        claims=scores.claims(),
    )
