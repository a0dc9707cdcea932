"""What each part of the method adds: the demo over several seeds, and beside it one training per variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from cadvi_hub.core.files import write_json, write_text
from cadvi_hub.core.ranges import Count
from cadvi_hub.demo.over_seeds import Scores, scores_over_seeds, table
from cadvi_hub.demo.run import Stages, demo, prepare
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.demo.variants import SHARES, tune_variants

WRITERS = {"perfect": "v2_perfect", "verified": "v2", "unverified": "v2_unverified"}


@dataclass
class AblationSettings(DemoSettings):
    """The demo's recipe, and over how many seeds it runs.

    Attributes:
        runs: demos, with the seeds from `seed` on, each in its own folder below `out`.
        variants: whether to train the variants, too: eleven trainings for each seed.
    """

    out: Path = Path("out/ablations")
    runs: Count = 3
    variants: bool = True


def ablations(settings: AblationSettings) -> str:
    """Run the demo and the variants for each seed; returns the table of means with their intervals.

    Writes `results.json` (model → task → metric → value over seeds), `report.md` and `index.html`. What is finished
    stays, so that the same command goes on where it was killed.

    Raises:
        InputError: whatever `demo` raises.
    """
    folders = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        recipe = {field.name: getattr(settings, field.name) for field in fields(DemoSettings)}
        one = replace(DemoSettings(**recipe), seed=seed, out=settings.out / f"seed-{seed}")
        print(demo(one), flush=True)
        if settings.variants:
            timer = Stages()
            run = prepare(one, timer)
            for name, model in tune_variants(run, one.out / "models/v1/merged"):
                with timer.stage(name):
                    run.evaluate(name, str(model))
        folders.append(one.out / "evaluation")
    scores = scores_over_seeds(folders)
    write_json(settings.out / "results.json", scores.as_results())
    shown = table(scores)
    write_text(settings.out / "report.md", shown + "\n")
    write_text(settings.out / "index.html", _page(scores))
    return f"{shown}\n\nPage: {settings.out / 'index.html'}"


def _page(scores: Scores) -> str:
    from cadvi_hub.pages.charts import curve_chart
    from cadvi_hub.pages.rendering import page_html

    def curve(phase: str) -> Mapping[float, str]:
        """Share of the pairs → the model that was tuned on them; with no pairs of V2, V2 is V1."""
        fewer = {share: f"{phase}_{name}" for name, share in SHARES.items()}
        return {0.0: "base" if phase == "v1" else "v1", **fewer, 1.0: phase}

    charts = [
        curve_chart(
            "Score by share of the pairs",
            {phase.upper(): scores.points(curve(phase)) for phase in ("v1", "v2")},
            "share of the pairs",
        ),
        curve_chart(
            "Score by who wrote V2's summaries",
            {"V2": scores.points(dict(enumerate(WRITERS.values())))},
            "",
            list(WRITERS),
        ),
    ]
    return page_html(
        "ablations.html.jinja",
        images="data:",
        charts=charts,
        has_filters=False,
        table=scores.rows(),
        columns=scores.columns,
        differences={text: f"{100 * score.mean:+.1f}" for text, score in scores.differences().items()},
    )
