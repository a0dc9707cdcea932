"""Scores over several seeds, with intervals that cover both the choice of the seed and that of the questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.eval.benchmarks.benchmark import PAIRS
from cadvi_hub.eval.comparison import read_predictions, resampled_means
from cadvi_hub.eval.scoring import clusters, group_metrics, group_outcomes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 4000
COLUMNS = {
    "bison": "BISON",
    "svo_probes": "SVO",
    "nlvr2": "NLVR2",
    "eqben": "EQBEN pairs",
    "cola": "COLA pairs",
    "single_image": "single image",
}
DEMO_MODELS = ("constant", "base", "v1", "v2")  # the first rows of the table; variants follow by age
COMPARED = ("bison", "svo_probes", "eqben", "cola")
MEAN = "mean"  # of the sets in `COMPARED`, all of which ask which image a caption suits


@dataclass(frozen=True)
class Score:
    """A share, its mean over the seeds, the draws of a bootstrap, and the share of each seed."""

    mean: float
    draws: NDArray[np.float64]
    seeds: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % percentile interval."""
        import numpy as np

        low, high = np.quantile(self.draws, (0.025, 0.975))
        return float(low), float(high)

    @property
    def percent(self) -> str:
        """The mean in percent: "94.2"."""
        return f"{100 * self.mean:.1f}"

    @property
    def percent_interval(self) -> str:
        """The interval in percent: "92.0 to 96.1"."""
        low, high = self.interval
        return f"{100 * low:.1f} to {100 * high:.1f}"

    def minus(self, other: Score) -> Score:
        """The difference; both have the same draws of seeds and questions."""
        seeds = tuple(a - b for a, b in zip(self.seeds, other.seeds, strict=True))
        return Score(self.mean - other.mean, self.draws - other.draws, seeds)


@dataclass(frozen=True)
class Scores:
    """Model → set → score, for the sets of `COLUMNS` and `MEAN`."""

    of: Mapping[str, Mapping[str, Score]]

    @property
    def columns(self) -> list[str]:
        """Headings of the table."""
        return [*COLUMNS.values(), "mean of four"]

    def rows(self) -> dict[str, list[Score]]:
        """Model → its score for each column."""
        return {model: [scores[task] for task in (*COLUMNS, MEAN)] for model, scores in self.of.items()}

    def claims(self) -> list[str]:
        """The differences in words: "V2 − V1: 1.2 (-0.4 to 2.8) points"."""
        return [f"{text}: {_text(score)} points" for text, score in self.differences().items()]

    def differences(self) -> dict[str, Score]:
        """What is claimed of the method, as differences of the mean of four."""
        claims = {
            "V2 − V1": ("v2", "v1"),
            "V1 − which-image rows alone": ("v1", "which_image"),
            "V2 verified − unverified": ("v2", "v2_unverified"),
        }
        return {
            text: self.of[first][MEAN].minus(self.of[second][MEAN])
            for text, (first, second) in claims.items()
            if first in self.of and second in self.of
        }

    def points(self, models: Mapping[float, str]) -> list[tuple[float, float, float, float]]:
        """x, the model's mean of four there in percent, and its interval; for the models that were evaluated."""
        found = []
        for x, model in models.items():
            if model in self.of:
                score = self.of[model][MEAN]
                low, high = score.interval
                found.append((x, 100 * score.mean, 100 * low, 100 * high))
        return found

    def as_results(self) -> dict[str, Any]:
        """Model → set → value, its interval, and the value of each seed."""
        return {
            model: {
                task: {"mean": score.mean, "mean_interval": score.interval, "seeds": score.seeds}
                for task, score in scores.items()
            }
            for model, scores in self.of.items()
        }


def scores_over_seeds(evaluations: Sequence[Path]) -> Scores:
    """The scores of the models that were evaluated with every seed.

    A draw takes seeds with replacement and, in each, clusters of questions with replacement: the same for all models,
    so that differences are paired.

    Args:
        evaluations: per seed, a folder with an evaluation per model.

    Raises:
        InputError: predictions that cannot be read.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    of_seeds = rng.integers(len(evaluations), size=(DRAWS, len(evaluations)))
    names = [{folder.name for folder in each.iterdir() if (folder / "results.json").is_file()} for each in evaluations]
    by_age = sorted(evaluations[0].iterdir(), key=lambda folder: folder.stat().st_mtime)
    first = dict.fromkeys([*DEMO_MODELS, *(folder.name for folder in by_age)])
    models = [name for name in first if all(name in some for some in names)]
    found: dict[str, dict[str, Score]] = {model: {} for model in models}
    for task in COLUMNS:
        drawn: dict[str, list[NDArray[np.float64]]] = {model: [] for model in models}
        values: dict[str, list[float]] = {model: [] for model in models}
        for seed, folder in enumerate(evaluations):
            for model in models:
                right, groups = _outcomes(task, folder / model)
                drawn[model].append(resampled_means(right, groups, DRAWS, seed))
                values[model].append(float(np.mean(right)))
        for model in models:
            per_seed = np.stack(drawn[model], axis=1)
            draws = np.take_along_axis(per_seed, of_seeds, axis=1).mean(axis=1)
            found[model][task] = Score(float(np.mean(values[model])), draws, tuple(values[model]))
    for scores in found.values():
        four = [scores[task] for task in COMPARED]
        seeds = tuple(float(np.mean(some)) for some in zip(*(score.seeds for score in four), strict=True))
        draws = np.mean([score.draws for score in four], axis=0)
        scores[MEAN] = Score(float(np.mean(seeds)), draws, seeds)
    return Scores(found)


def _outcomes(task: str, folder: Path) -> tuple[list[float], list[str]]:
    """Per question, or per group where a set has a group metric: whether it is right, and its cluster."""
    rows = read_predictions(folder, task)
    right = [bool(row["correct"]) for row in rows]
    of = clusters(task, rows)
    joints = [joint for joint in group_metrics(task, rows) if joint.metric == PAIRS]
    if not joints:
        return list(map(float, right)), of
    (joint,) = joints
    cluster_of = {joint.unit(row["id"], row["group"]): cluster for row, cluster in zip(rows, of, strict=True)}
    whole = group_outcomes(joint, rows, right)
    return list(map(float, whole.values())), [cluster_of[unit] for unit in whole]


def table(scores: Scores) -> str:
    """The scores in percent with their 95 % intervals, and the differences that the method claims, as Markdown."""
    lines = [_line(("model", *scores.columns)), _line(["---"] * (1 + len(scores.columns)))]
    lines += [_line((model, *map(_text, cells))) for model, cells in scores.rows().items()]
    lines += [f"\n{text}" for text in scores.claims()]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(score: Score) -> str:
    return f"{score.percent} ({score.percent_interval})"
