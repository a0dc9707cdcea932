"""How answers are scored: pure functions over strings, booleans and the rows of a predictions file.

Every question counts in every share: as in the paper, an answer that cannot be read is wrong. The number of such
answers is a share of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cadvi_hub.annotation.answers import IMAGE_LETTERS, READINGS, Reading, read_answer
from cadvi_hub.eval.benchmarks.benchmark import CATEGORIES, Joint
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED, benchmark_of
from cadvi_hub.eval.intervals import Share, clustered_share, mean_and_interval
from cadvi_hub.eval.text_scores import HIGHEST_CIDER, TEXT_SCORES

Prediction = Mapping[str, Any]  # as `prediction` makes it

UNANSWERED = "unanswered"  # in a prediction, and the metric that counts them
READER = "reader"  # in a prediction, the option that an LLM reads in it; it was asked where the key is
PREFIX: dict[Reading, str] = {"strict": "", "tolerant": "tolerant_"}  # of the metrics of a reading


def prediction(task: str, question: Mapping[str, Any], answer: str, text: str, unanswered: str = "") -> dict[str, Any]:
    """One answered question, as the predictions file has it.

    Args:
        task: name of its set.
        question: with `id`, `category`, `group` and `options`.
        answer: the right answer.
        text: what the model wrote.
        unanswered: why it wrote nothing, where the question got no reply; "" if it got one.

    Returns:
        id, category, group, answer, prediction (the text) and `correct` (strictly read); of closed questions also
        `tolerant_correct` and the option that each reading finds (`strict`, `tolerant`; None if it finds none); of a
        question without a reply, `unanswered`.
    """
    row = {key: question[key] for key in ("id", "category", "group")} | {"answer": answer, "prediction": text}
    if unanswered:
        row[UNANSWERED] = unanswered
    benchmark = benchmark_of(task)
    if benchmark.is_open:
        return {**row, "correct": text.strip() == answer.strip()}
    of_images = benchmark.options == IMAGE_LETTERS  # elsewhere A may stand for "the second image"
    for reading in READINGS:
        said, right = (read_answer(each, question["options"], reading, of_images) for each in (text, answer))
        row |= {reading: said, f"{PREFIX[reading]}correct": said is not None and said == right}
    return row


def is_prediction(row: Any) -> bool:
    """Whether `row`, read from a predictions file, has what `prediction` and `evaluate` write for every question."""
    texts = ("id", "group", "answer", "prediction")
    return (
        isinstance(row, dict)
        and type(row.get("index")) is int
        and type(row.get("correct")) is bool
        and all(isinstance(row.get(key), str) for key in texts)
    )


def are_scores(scores: Any) -> bool:
    """Whether `scores`, read from a file, are metrics: counts are numbers, an interval has a value and two ends."""
    if not isinstance(scores, dict):
        return False
    counts = [value for key, value in scores.items() if key == "n" or key.endswith("_n")]
    intervals = [key for key in scores if key.endswith("_interval")]
    ends = [end for key in intervals for end in (scores[key] if isinstance(scores[key], list) else [None])]
    values = [scores.get(key.removesuffix("_interval")) for key in intervals]
    numbers = all(isinstance(value, int | float) for value in (*counts, *ends, *values))
    return numbers and len(ends) == 2 * len(intervals)


def answered(rows: Iterable[Prediction]) -> list[Prediction]:
    """The rows of questions that got a reply; only these are scored."""
    return [row for row in rows if UNANSWERED not in row]


def group_metrics(task: str, rows: Sequence[Prediction]) -> list[Joint]:
    """The metrics of questions that count together; not that of statements (NLVR2) if none was asked twice."""
    is_repeated = len({row["group"] for row in rows}) < len(rows)
    return [joint for joint in benchmark_of(task).joints if joint.size or is_repeated]


def closed_shares(task: str, rows: Sequence[Prediction]) -> dict[str, Share]:
    """The shares of a closed set, for each reading: accuracy, unreadable and the group metric, also by category.

    Args:
        task: name of the set, or of the set with swapped images.
        rows: its predictions, at least one.

    Returns:
        Metric → share; those of the tolerant reading begin with `tolerant_`, those of a category end in `_<category>`.
        Where questions got no reply, `unanswered` is their share, and all other shares are of the rest: without
        these questions, and without their groups.
    """
    shares: dict[str, Share] = {}
    everything, rows = rows, answered(rows)
    if len(rows) < len(everything):
        shares[UNANSWERED] = Share(len(everything) - len(rows), len(everything))
    if not rows:
        return shares
    lost = {row["group"] for row in everything if UNANSWERED in row}
    grouped = group_metrics(task, rows)
    categories = [set(row["category"].split(CATEGORIES)) for row in rows]
    for reading in READINGS:
        prefix = PREFIX[reading]
        for category in ["", *sorted(set().union(*categories) - {""})]:
            ending = f"_{category}" if category else ""
            members = [row for row, own in zip(rows, categories, strict=True) if not category or category in own]
            shares[f"{prefix}accuracy{ending}"] = _share(task, members, _right(members, reading))
            whole = [row for row in members if row["group"] not in lost]
            for joint in grouped:
                if (share := _joint_share(task, joint, whole, _right(whole, reading))) is not None:
                    shares[f"{prefix}{joint.metric}{ending}"] = share
            if not category:
                shares[f"{prefix}unreadable"] = _share(task, rows, [row[reading] is None for row in rows])
    return shares


def both_orders_shares(task: str, rows: Sequence[Prediction], swapped: Sequence[Prediction]) -> dict[str, Share]:
    """For each reading, the share of questions (and of groups) that are right in both orders of their images.

    Only questions count that were asked in both orders; at least one.
    """
    there, back = both_orders(answered(rows), answered(swapped))
    shares: dict[str, Share] = {}
    if not there:
        return shares
    lost = {row["group"] for row in (*rows, *swapped) if UNANSWERED in row}
    grouped = group_metrics(task, there)
    for reading in READINGS:
        right = [a and b for a, b in zip(_right(there, reading), _right(back, reading), strict=True)]
        shares[f"{PREFIX[reading]}both_orders_accuracy"] = _share(task, there, right)
        whole = [(row, is_right) for row, is_right in zip(there, right, strict=True) if row["group"] not in lost]
        for joint in grouped:
            share = _joint_share(task, joint, [row for row, _ in whole], [is_right for _, is_right in whole])
            if share is not None:
                shares[f"{PREFIX[reading]}both_orders_{joint.metric}"] = share
    return shares


def both_orders(
    rows: Sequence[Prediction], swapped: Sequence[Prediction]
) -> tuple[list[Prediction], list[Prediction]]:
    """The rows that were asked in both orders, question by question (`index` joins them), and their swapped ones."""
    found = {row["index"]: row for row in swapped}
    there = [row for row in rows if row["index"] in found]
    return there, [found[row["index"]] for row in there]


def position_bias(rows: Sequence[Prediction], swapped: Sequence[Prediction], reading: Reading) -> dict[int, float]:
    """Question (by its `index`) read in both orders → 1 where the first image is chosen in both, −1 for the second.

    0 where the choice follows the images. A model that always says the same letter has a mean of 1 or −1. Questions
    whose options do not name an image (NLVR2) have none.
    """
    first, second = IMAGE_LETTERS
    pairs = zip(*both_orders(rows, swapped), strict=True)
    return {
        there["index"]: float((there[reading] == first) + (back[reading] == first) - 1)
        for there, back in pairs
        if all(row[reading] is not None and row["answer"] in (first, second) for row in (there, back))
    }


def group_outcomes(joint: Joint, rows: Sequence[Prediction], right: Sequence[bool]) -> dict[str, bool]:
    """Unit → whether all its questions are there and right."""
    members: defaultdict[str, list[bool]] = defaultdict(list)
    for row, is_right in zip(rows, right, strict=True):
        if unit := joint.unit(row["id"], row["group"]):
            members[unit].append(is_right)
    return {unit: all(each) and joint.size in (0, len(each)) for unit, each in members.items()}


def text_metrics(task: str) -> list[str]:
    """The scores of an open set's answers, which its columns name."""
    return [column.metric for column in benchmark_of(task).columns if column.metric in TEXT_SCORES]


def _right(rows: Sequence[Prediction], reading: Reading) -> list[bool]:
    return [row[f"{PREFIX[reading]}correct"] for row in rows]


def clusters(task: str, rows: Sequence[Prediction]) -> list[str]:
    """Per row, what it shares with the questions that depend on it: its group, or more where the set says so."""
    cluster = benchmark_of(task).cluster
    return [row["group"] if cluster is None else cluster(row["id"], row["group"]) for row in rows]


def _share(task: str, rows: Sequence[Prediction], outcomes: Sequence[bool]) -> Share:
    return clustered_share(outcomes, clusters(task, rows))


def _joint_share(task: str, joint: Joint, rows: Sequence[Prediction], right: Sequence[bool]) -> Share | None:
    """The share of units that are right; None if there is no unit. Units of one cluster depend on each other."""
    outcomes = group_outcomes(joint, rows, right)
    shared = {
        joint.unit(row["id"], row["group"]): cluster for row, cluster in zip(rows, clusters(task, rows), strict=True)
    }
    return clustered_share(list(outcomes.values()), [shared[unit] for unit in outcomes]) if outcomes else None


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
        return _open_scores(task, own) | {"n": n}
    shares = dict(closed_shares(task, own) if closed is None else closed)
    if "ranked" in own[0]:
        shares["ranked_accuracy"] = _share(task, own, [row["ranked"] == row["answer"] for row in own])
    shares |= _reader_shares(task, own)
    if swapped:
        shares |= both_orders_shares(task, own, swapped)
    scores = _values(shares, n)
    for reading in READINGS if benchmark_of(task).options == IMAGE_LETTERS else ():
        if bias := position_bias(own, swapped, reading):
            of = clusters(task, [row for row in own if row["index"] in bias])
            value, interval = mean_and_interval(list(bias.values()), lowest=-1.0, clusters=of)
            name = f"{PREFIX[reading]}position_bias"
            scores |= {name: value, f"{name}_interval": list(interval), f"{name}_n": len(bias)}
    if both_orders and task in BENCHMARKS and BENCHMARKS[task].swaps:
        scores["not_swapped_n"] = n - len(swapped)
    return scores | {"n": n}


def _reader_shares(task: str, own: Sequence[Prediction]) -> dict[str, Share]:
    """Where an LLM was asked: the tolerant accuracy with its readings, what it read, and what it did not."""
    if not any(READER in row for row in own):
        return {}
    rows = answered(own)
    right = [row[READER] == row["answer"] if READER in row else row["tolerant_correct"] for row in rows]
    read = [row.get(READER) is not None for row in rows]
    unread = [READER in row and row[READER] is None for row in rows]
    return {
        "reader_accuracy": _share(task, rows, right),
        "reader_read": _share(task, rows, read),
        "reader_unreadable": _share(task, rows, unread),
    }


def _open_scores(task: str, own: Sequence[Prediction]) -> dict[str, Any]:
    n, rows = len(own), answered(own)
    shares = {UNANSWERED: Share(n - len(rows), n)} if len(rows) < n else {}
    scores: dict[str, Any] = {}
    if not rows:
        return _values(shares, n)
    texts = [row["prediction"] for row in rows], [row["answer"] for row in rows]
    for metric in text_metrics(task):
        values = TEXT_SCORES[metric](*texts)
        for category in ["", *sorted({row["category"] for row in rows} - {""})]:
            chosen = [place for place, row in enumerate(rows) if category in ("", row["category"])]
            of, shared = [values[place] for place in chosen], clusters(task, [rows[place] for place in chosen])
            name = f"{metric}_{category}" if category else metric
            highest = HIGHEST_CIDER if metric == "cider" else 1.0
            mean, interval = mean_and_interval(of, clusters=shared, highest=highest)
            scores |= {name: mean, f"{name}_interval": list(interval)}
            if len(of) < n:
                scores[f"{name}_n"] = len(of)
    return scores | _values(shares | {"exact_match": _share(task, rows, [row["correct"] for row in rows])}, n)


def _values(shares: Mapping[str, Share], n: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric, share in shares.items():
        values |= {metric: float(share), f"{metric}_interval": list(share.interval)}
        if share.n != n:
            values[f"{metric}_n"] = share.n
    return values
