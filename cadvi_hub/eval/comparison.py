"""Whether one model is better than another on the same questions: paired bootstrap, and McNemar's exact test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.annotation.answers import Reading
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular, write_json
from cadvi_hub.core.json_stream import parse_json
from cadvi_hub.core.output import open_result
from cadvi_hub.eval.benchmarks.registry import benchmark_of
from cadvi_hub.eval.intervals import NORMAL_95, Interval, standard_error
from cadvi_hub.eval.scoring import (
    PREFIX,
    UNANSWERED,
    Prediction,
    clusters,
    group_metrics,
    group_outcomes,
    is_prediction,
    text_metrics,
)
from cadvi_hub.eval.settings import CompareSettings
from cadvi_hub.eval.text_scores import TEXT_SCORES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS_AT_ONCE = 4_000_000  # numbers in memory


@dataclass(frozen=True)
class Comparison:
    """One metric of two models over the same questions.

    `n` counts questions, or groups if `metric` is about groups. `difference` is second minus first, `interval` its
    95 % interval by paired bootstrap. `only_first` and `only_second` count what only one model has right, `p_value`
    is from McNemar's exact test (two-sided), for questions that depend on each other over their clusters. All three
    are None for scores that are not right or wrong. `detectable` is the smallest difference that so many questions
    would show in four of five comparisons (`smallest_detectable`).
    """

    task: str
    metric: str
    n: int
    first: float
    second: float
    difference: float
    interval: Interval
    detectable: float
    only_first: int | None = None
    only_second: int | None = None
    p_value: float | None = None


def compare(settings: CompareSettings) -> str:
    """Compare two models over the sets that both answered; returns a table, and writes `settings.out`.

    Raises:
        InputError: a folder or set has no predictions, predictions cannot be read, the models were asked different
            questions, or `settings.out` is somebody else's, or being written.
    """
    keys = [field.name for field in fields(Comparison)]
    with open_result(settings.out, keys) if settings.out else nullcontext():
        return _compare(settings)


def _compare(settings: CompareSettings) -> str:
    first, second = Path(settings.first), Path(settings.second)
    sets = {folder: _sets(folder) for folder in (first, second)}
    for folder, of_folder in sets.items():
        if not of_folder:
            raise InputError(str(folder), "it has no predictions", "Name a folder that `cadvi evaluate` wrote")
    tasks = settings.tasks or sorted(sets[first] & sets[second])
    if not tasks:
        raise InputError(f"{first} and {second}", "they have no set in common", "Evaluate both on the same sets")
    comparisons = [
        comparison
        for task in tasks
        for comparison in compare_predictions(
            task,
            read_predictions(first, task),
            read_predictions(second, task),
            settings.reading,
            settings.resamples,
            settings.seed,
        )
    ]
    if settings.out:
        write_json(settings.out, [asdict(each) for each in comparisons])
    return "\n".join([f"first: {first}, second: {second}, {settings.reading} reading", "", *_table(comparisons)])


def compare_predictions(
    task: str,
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    reading: Reading = "strict",
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """The metrics of set `task` for the predictions of two models.

    Accuracy, and for a set with groups also the share of groups that are all right; token F1 for open answers. Groups
    are resampled as a whole, because their questions share images.

    Raises:
        InputError: the questions or their answers are not the same.
    """
    for a, b in zip(first, second, strict=False):
        if any(a[key] != b[key] for key in ("index", "id", "group", "answer")):
            raise InputError(f"set {task}", f"question {a['id']!r} of one is {b['id']!r} of the other", _HINT)
    if len(first) != len(second):
        raise InputError(f"set {task}", f"one model has {len(first)} questions, the other {len(second)}", _HINT)
    both = [(a, b) for a, b in zip(first, second, strict=True) if UNANSWERED not in a and UNANSWERED not in b]
    if not both:
        raise InputError(f"set {task}", "no question was answered by both models", "Run both evaluations again")
    lost = {a["group"] for a in first} - {a["group"] for a, _ in both}
    lost |= {a["group"] for a, b in zip(first, second, strict=True) if UNANSWERED in a or UNANSWERED in b}
    first, second = [a for a, _ in both], [b for _, b in both]
    groups = clusters(task, first)
    if benchmark_of(task).is_open:
        answers = [row["answer"] for row in first]
        texts = [[row["prediction"] for row in rows] for rows in (first, second)]
        return [
            _compared(task, metric, [TEXT_SCORES[metric](each, answers) for each in texts], groups, resamples, seed)
            for metric in text_metrics(task)
        ]
    key = f"{PREFIX[reading]}correct"
    right = [[bool(row[key]) for row in rows] for rows in (first, second)]
    found = [_compared(task, "accuracy", right, groups, resamples, seed)]
    kept = [index for index, row in enumerate(first) if row["group"] not in lost]
    rows = [first[index] for index in kept]
    for joint in group_metrics(task, first):
        whole = [group_outcomes(joint, rows, [each[index] for index in kept]) for each in right]
        cluster_of = {joint.unit(first[index]["id"], first[index]["group"]): groups[index] for index in kept}
        outcomes = [list(each.values()) for each in whole]
        if whole[0]:
            of_units = [cluster_of[unit] for unit in whole[0]]
            found.append(_compared(task, joint.metric, outcomes, of_units, resamples, seed))
    return found


NORMAL_80 = 0.8416212335729143  # one-sided 80 % quantile of the normal distribution
_FEWEST_DISCORDANT = 6  # 2 / 2⁶ < 5 %
_HINT = "Evaluate both models on the same questions"


def _compared(
    task: str,
    metric: str,
    scores: Sequence[Sequence[float]],
    groups: Sequence[str],
    resamples: int,
    seed: int,
) -> Comparison:
    first, second = scores
    n = len(first)
    values = sum(first) / n, sum(second) / n
    differences = [float(b) - float(a) for a, b in zip(first, second, strict=True)]
    interval = paired_bootstrap(differences, groups, resamples, seed)
    detectable = smallest_detectable(differences, groups)
    compared = Comparison(task, metric, n, *values, values[1] - values[0], interval, detectable)
    if metric in TEXT_SCORES:
        return compared
    alone = differences.count(-1.0), differences.count(1.0)
    return replace(compared, only_first=alone[0], only_second=alone[1], p_value=clustered_mcnemar(differences, groups))


def paired_bootstrap(
    differences: Sequence[float], groups: Sequence[str], resamples: int = 10_000, seed: int = 0
) -> Interval:
    """95 % percentile interval of the mean difference.

    Args:
        differences: per question, the second model's score minus the first's.
        groups: per question, the group that is drawn as a whole.
        resamples: number of draws.
        seed: of the draws.
    """
    import numpy as np

    low, high = np.quantile(resampled_means(differences, groups, resamples, seed), (0.025, 0.975))
    return float(low), float(high)


def resampled_means(
    values: Sequence[float], groups: Sequence[str], resamples: int, seed: int = 0
) -> NDArray[np.float64]:
    """The mean of each draw, (resamples,); whole `groups` are drawn with replacement.

    The draws depend on the groups and the seed alone, so that the means of two models are paired. Our own, because
    scipy.stats.bootstrap resamples single values: it has no clusters, and needs all draws in memory.

    Args:
        values: per question, a score or a difference of scores.
        groups: per question, the group that is drawn as a whole.
        resamples: number of draws.
        seed: of the draws.
    """
    import numpy as np

    _, member = np.unique(np.asarray(groups), return_inverse=True)
    totals, sizes = np.bincount(member, weights=values), np.bincount(member)
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // len(totals))
    means = []
    for start in range(0, resamples, at_once):
        drawn = rng.integers(len(totals), size=(min(at_once, resamples - start), len(totals)))
        means.append(totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p value of McNemar's exact test: could chance alone give one model so many of the questions?"""
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def clustered_mcnemar(differences: Sequence[float], groups: Sequence[str]) -> float:
    """McNemar's exact test over groups: how many of them are in favour of each model? For groups of one question, the
    usual test."""
    favour: defaultdict[str, float] = defaultdict(float)
    for difference, group in zip(differences, groups, strict=True):
        favour[group] += difference
    return mcnemar(sum(each < 0 for each in favour.values()), sum(each > 0 for each in favour.values()))


def smallest_detectable(differences: Sequence[float], groups: Sequence[str]) -> float:
    """The smallest true difference that a comparison of this size finds with a power of 80 % (two-sided, 5 %).

    (z₀.₉₇₅ + z₀.₈) standard errors of the mean difference, cluster-robust; where the models hardly differ, at least as
    much as six clusters, because McNemar's exact test finds nothing in fewer; at most 1.
    """
    number = len(set(groups))
    of_test = _FEWEST_DISCORDANT / number
    return min(1.0, max(of_test, (NORMAL_95 + NORMAL_80) * standard_error(differences, groups)))


def read_predictions(folder: Path, task: str) -> list[dict[str, Any]]:
    """The predictions of set `task` in the folder of an evaluation.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    file = folder / "predictions" / f"{task}.jsonl"
    check_regular(file, "Evaluate the model on this set")
    try:
        with file.open(encoding="utf-8") as lines:
            rows = [parse_json(line) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(str(file), f"cannot be read ({error})", "Evaluate the model on this set") from error
    if not rows or not all(map(is_prediction, rows)):
        raise InputError(str(file), "these are not predictions", "Evaluate the model again")
    return rows


def _sets(folder: Path) -> set[str]:
    return {file.stem for file in (folder / "predictions").glob("*.jsonl")}


def _table(comparisons: Sequence[Comparison]) -> list[str]:
    heading = f"{'difference':<22}{'detectable':<12}{'only one right':<18}McNemar p"
    lines = [f"{'':<32}{'n':>6}  {'first':>6}  {'second':>6}  {heading}"]
    for each in comparisons:
        low, high = each.interval
        difference = f"{100 * each.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        alone = "–" if each.only_first is None else f"{each.only_first} / {each.only_second}"
        p_value = "–" if each.p_value is None else f"{each.p_value:.2g}"
        lines.append(
            f"{f'{each.task} {each.metric}':<32}{each.n:>6}  {100 * each.first:>6.1f}  {100 * each.second:>6.1f}"
            f"  {difference:<22}{f'±{100 * each.detectable:.1f}':<12}{alone:<18}{p_value}"
        )
    return lines
