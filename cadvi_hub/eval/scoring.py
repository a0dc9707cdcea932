"""How answers are scored: pure functions over strings, booleans and the rows of a predictions file.

Every question counts in every share: as in the paper, an answer that cannot be read is wrong. The number of such
answers is a share of its own.
"""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cadvi_hub.eval.answers import IMAGE_LETTERS, READINGS, Reading, read_answer
from cadvi_hub.eval.benchmarks.benchmark import CONSISTENCY, PAIRS, Grouping
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED, benchmark_of

Interval = tuple[float, float]
Prediction = Mapping[str, Any]  # as `prediction` makes it

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
PREFIX: dict[Reading, str] = {"strict": "", "tolerant": "tolerant_"}  # of the metrics of a reading


class Share(float):
    """`successes` of `n` (at least 1): a number that lighteval can average, with the counts that intervals need."""

    successes: int
    n: int

    def __new__(cls, successes: int, n: int) -> "Share":
        share = super().__new__(cls, successes / n)
        share.successes, share.n = successes, n
        return share

    def __eq__(self, other: object) -> bool:
        same_counts = not isinstance(other, Share) or (self.successes, self.n) == (other.successes, other.n)
        return super().__eq__(other) and same_counts

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = float.__hash__

    def __reduce__(self) -> tuple[type["Share"], tuple[int, int]]:
        return Share, (self.successes, self.n)


def prediction(task: str, question: Mapping[str, Any], answer: str, text: str) -> dict[str, Any]:
    """One answered question, as the predictions file has it.

    Args:
        task: name of its set.
        question: with `id`, `category`, `group` and `options`.
        answer: the right answer.
        text: what the model wrote.

    Returns:
        id, category, group, answer, prediction (the text) and `correct` (strictly read); of closed questions also
        `tolerant_correct` and the option that each reading finds (`strict`, `tolerant`; None if it finds none).
    """
    row = {key: question[key] for key in ("id", "category", "group")} | {"answer": answer, "prediction": text}
    if benchmark_of(task).is_open:
        return {**row, "correct": text.strip() == answer.strip()}
    for reading in READINGS:
        said, right = (read_answer(each, question["options"], reading) for each in (text, answer))
        row |= {reading: said, f"{PREFIX[reading]}correct": said is not None and said == right}
    return row


def group_metric(task: str, rows: Sequence[Prediction]) -> Grouping:
    """The metric of questions that count together; "" where there is none, or no statement was asked twice."""
    grouping = benchmark_of(task).grouping
    return "" if grouping == CONSISTENCY and len({row["group"] for row in rows}) == len(rows) else grouping


def closed_shares(task: str, rows: Sequence[Prediction]) -> dict[str, Share]:
    """The shares of a closed set, for each reading: accuracy, unreadable and the group metric, also by category.

    Args:
        task: name of the set, or of the set with swapped images.
        rows: its predictions, at least one.

    Returns:
        Metric → share; those of the tolerant reading begin with `tolerant_`, those of a category end in `_<category>`.
    """
    shares: dict[str, Share] = {}
    grouped = group_metric(task, rows)
    for reading in READINGS:
        prefix = PREFIX[reading]
        shares[f"{prefix}accuracy"] = _share(_right(rows, reading))
        if grouped:
            shares[f"{prefix}{grouped}"] = _share(group_outcomes(grouped, rows, _right(rows, reading)).values())
        shares[f"{prefix}unreadable"] = _share(row[reading] is None for row in rows)
        for category in sorted({row["category"] for row in rows} - {""}):
            members = [row for row in rows if row["category"] == category]
            right = _right(members, reading)
            shares[f"{prefix}accuracy_{category}"] = _share(right)
            if grouped:
                shares[f"{prefix}{grouped}_{category}"] = _share(group_outcomes(grouped, members, right).values())
    return shares


def both_orders_shares(task: str, rows: Sequence[Prediction], swapped: Sequence[Prediction]) -> dict[str, Share]:
    """For each reading, the share of questions (and of groups) that are right in both orders of their images.

    Only questions count that were asked in both orders; at least one.
    """
    there, back = both_orders(rows, swapped)
    shares: dict[str, Share] = {}
    grouped = group_metric(task, there)
    for reading in READINGS:
        right = [a and b for a, b in zip(_right(there, reading), _right(back, reading), strict=True)]
        shares[f"{PREFIX[reading]}both_orders_accuracy"] = _share(right)
        if grouped:
            outcomes = group_outcomes(grouped, there, right)
            shares[f"{PREFIX[reading]}both_orders_{grouped}"] = _share(outcomes.values())
    return shares


def both_orders(
    rows: Sequence[Prediction], swapped: Sequence[Prediction]
) -> tuple[list[Prediction], list[Prediction]]:
    """The rows that were asked in both orders, question by question (`index` joins them), and their swapped ones."""
    found = {row["index"]: row for row in swapped}
    there = [row for row in rows if row["index"] in found]
    return there, [found[row["index"]] for row in there]


def position_bias(rows: Sequence[Prediction], swapped: Sequence[Prediction], reading: Reading) -> list[float]:
    """Per question read in both orders, how much more often than it is right the first image was chosen, from −1 to 1.

    Its mean is the share of answers "A" minus the share of questions whose right answer is "A", over both orders.
    Questions whose options do not name an image (NLVR2) have none.
    """
    first, second = IMAGE_LETTERS
    pairs = zip(*both_orders(rows, swapped), strict=True)
    return [
        sum((row[reading] == first) - (row["answer"] == first) for row in pair) / 2
        for pair in pairs
        if all(row[reading] is not None and row["answer"] in (first, second) for row in pair)
    ]


def group_outcomes(metric: str, rows: Sequence[Prediction], right: Sequence[bool]) -> dict[str, bool]:
    """Group → whether its questions are all right; for `PAIRS`, a group must also have two questions."""
    members: defaultdict[str, list[bool]] = defaultdict(list)
    for row, is_right in zip(rows, right, strict=True):
        members[row["group"]].append(is_right)
    return {group: all(each) and (metric != PAIRS or len(each) == 2) for group, each in members.items()}


def _right(rows: Sequence[Prediction], reading: Reading) -> list[bool]:
    return [row[f"{PREFIX[reading]}correct"] for row in rows]


def _share(outcomes: Iterable[bool]) -> Share:
    counted = list(outcomes)
    return Share(sum(counted), len(counted))


def wilson_interval(successes: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion (E. B. Wilson, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mean_and_interval(scores: Sequence[float], lowest: float = 0.0) -> tuple[float, Interval]:
    """The mean of scores between `lowest` and 1 and its normal 95 % interval, cut to that range."""
    import numpy as np

    mean = float(np.mean(scores))
    error = float(np.std(scores, ddof=1)) / len(scores) ** 0.5 if len(scores) > 1 else float("inf")
    return mean, (max(lowest, mean - NORMAL_95 * error), min(1.0, mean + NORMAL_95 * error))


def token_f1(prediction: str, answer: str) -> float:
    """F1 of the two bags of words after SQuAD's normalisation (Rajpurkar et al. 2016): case, punctuation, articles.

    lighteval's own F1 compares sets, which forgets how often a word occurs.
    """
    found, wanted = _words(prediction), _words(answer)
    shared = (found & wanted).total()
    if not shared:
        return float(found == wanted)
    precision, recall = shared / found.total(), shared / wanted.total()
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> Counter[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return Counter(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def task_scores(
    task: str, rows: Mapping[str, Sequence[Prediction]], both_orders: bool, closed: Mapping[str, Share] | None = None
) -> dict[str, Any]:
    """The scores of one task as `evaluate` returns them: metric → value, interval, and n.

    Args:
        task: name of its set, or of a set with swapped images.
        rows: task → predictions, each with `index`, of all tasks.
        both_orders: whether questions about two images were asked in both orders.
        closed: `closed_shares` of a closed set; None computes them.
    """
    own, swapped = rows[task], rows.get(task + SWAPPED, [])
    n = len(own)
    if benchmark_of(task).is_open:
        value, interval = mean_and_interval([token_f1(row["prediction"], row["answer"]) for row in own])
        exact = Share(sum(row["correct"] for row in own), n)
        return {"token_f1": value, "token_f1_interval": list(interval)} | _values({"exact_match": exact}, n) | {"n": n}
    shares = dict(closed_shares(task, own) if closed is None else closed)
    if "ranked" in own[0]:
        shares["ranked_accuracy"] = Share(sum(row["ranked"] == row["answer"] for row in own), n)
    if swapped:
        shares |= both_orders_shares(task, own, swapped)
    scores = _values(shares, n)
    for reading in READINGS:
        if bias := position_bias(own, swapped, reading):
            value, interval = mean_and_interval(bias, lowest=-1.0)
            name = f"{PREFIX[reading]}position_bias"
            scores |= {name: value, f"{name}_interval": list(interval), f"{name}_n": len(bias)}
    if both_orders and task in BENCHMARKS and BENCHMARKS[task].swaps:
        scores["not_swapped_n"] = n - len(swapped)
    return scores | {"n": n}


def _values(shares: Mapping[str, Share], n: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric, share in shares.items():
        values |= {metric: float(share), f"{metric}_interval": list(wilson_interval(share.successes, share.n))}
        if share.n != n:
            values[f"{metric}_n"] = share.n
    return values
