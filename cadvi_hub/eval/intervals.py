"""95 % intervals of shares and means. Questions of one cluster share images, so together they say less than as many
independent ones: an interval is as wide as that of the number of independent questions that would say as much."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

Interval = tuple[float, float]

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Share(float):
    """`successes` of `n` (at least 1): a number that lighteval can average, with the counts that intervals need.

    `effective` is how many independent outcomes would say as much; `n` where they are independent.
    """

    successes: int
    n: int
    effective: float

    def __new__(cls, successes: int, n: int, effective: float | None = None) -> Share:
        share = super().__new__(cls, successes / n)
        share.successes, share.n, share.effective = successes, n, n if effective is None else effective
        return share

    def __eq__(self, other: object) -> bool:
        same_counts = not isinstance(other, Share) or (self.successes, self.n) == (other.successes, other.n)
        return super().__eq__(other) and same_counts

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = float.__hash__

    def __reduce__(self) -> tuple[type[Share], tuple[int, int, float]]:
        return Share, (self.successes, self.n, self.effective)

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the share for `effective` outcomes."""
        return wilson_interval(float(self) * self.effective, self.effective)


def clustered_share(outcomes: Sequence[bool], clusters: Sequence[Hashable]) -> Share:
    """The share of outcomes that are true, at least one, where those of one cluster depend on each other.

    Effective is n over the design effect (Kish 1965), which is the cluster-robust variance of the share over the
    binomial one, and at least 1. Where all outcomes are equal it cannot be estimated; then a cluster counts as one.
    """
    successes, n = sum(outcomes), len(outcomes)
    number = len(set(clusters))
    if number == n:
        return Share(successes, n)
    if successes in (0, n):
        return Share(successes, n, number)
    share = successes / n
    effect = standard_error([float(each) for each in outcomes], clusters) ** 2 / (share * (1 - share) / n)
    return Share(successes, n, max(1.0, n / max(1.0, effect)))


def standard_error(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float:
    """Cluster-robust standard error of the mean; infinite for a single cluster. Without clusters, the usual one."""
    import numpy as np

    if not len(values):
        return float("inf")
    deviations = np.asarray(values, dtype=float) - np.mean(values)
    if clusters is not None:
        numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
        deviations = np.bincount([numbers[cluster] for cluster in clusters], weights=deviations)
    count = len(deviations)
    return float(np.sqrt(count / (count - 1) * (deviations**2).sum())) / len(values) if count > 1 else float("inf")


def wilson_interval(successes: float, n: float) -> Interval:
    """Wilson's 95 % interval of a proportion (E. B. Wilson, 1927); neither number has to be whole."""
    share, square = successes / n, NORMAL_95**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    reach = NORMAL_95 * (share * (1 - share) / n + square / (4 * n * n)) ** 0.5 / (1 + square / n)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def mean_and_interval(
    scores: Sequence[float],
    lowest: float = 0.0,
    clusters: Sequence[Hashable] | None = None,
    highest: float = 1.0,
) -> tuple[float, Interval]:
    """The mean of scores between `lowest` and `highest` and its normal 95 % interval, cut to that range."""
    import numpy as np

    mean, error = float(np.mean(scores)), standard_error(scores, clusters)
    return mean, (max(lowest, mean - NORMAL_95 * error), min(highest, mean + NORMAL_95 * error))
