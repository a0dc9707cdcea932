"""How answers are read and scored: pure functions over strings and booleans.

Closed questions are read strictly, as in the paper (section 4.1): the answer is right when it is the very string of
the reference after whitespace around it is stripped, and nothing else is mended. "A.", "a" and "The answer is A" are
wrong.
"""

import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

Interval = tuple[float, float]

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def is_correct(prediction: str, answer: str) -> bool:
    """Whether the strict reading of `prediction` is `answer`."""
    return prediction.strip() == answer.strip()


def is_answered(prediction: str, options: Sequence[str]) -> bool:
    """Whether the strict reading is one of `options`; for an open question, whether there is any text."""
    return prediction.strip() in options if options else bool(prediction.strip())


def accuracy(correct: Sequence[bool]) -> float:
    """Share of right answers."""
    return sum(correct) / len(correct)


def pair_outcomes(groups: Iterable[str], correct: Iterable[bool]) -> dict[str, bool]:
    """Group → whether both of its questions are right (EQBEN, COLA). A group of any other size counts as wrong."""
    members: defaultdict[str, list[bool]] = defaultdict(list)
    for group, right in zip(groups, correct, strict=True):
        members[group].append(bool(right))
    return {group: len(outcomes) == 2 and all(outcomes) for group, outcomes in members.items()}


def pair_accuracy(groups: Iterable[str], correct: Iterable[bool]) -> float:
    """Share of groups whose two questions are both right."""
    return accuracy(list(pair_outcomes(groups, correct).values()))


def category_accuracy(categories: Iterable[str], correct: Iterable[bool]) -> dict[str, float]:
    """Category → accuracy, in alphabetic order; questions without a category ("") are left out."""
    members: defaultdict[str, list[bool]] = defaultdict(list)
    for category, right in zip(categories, correct, strict=True):
        if category:
            members[category].append(bool(right))
    return {category: accuracy(members[category]) for category in sorted(members)}


def wilson_interval(successes: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion (E. B. Wilson, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def normal_interval(mean: float, standard_error: float) -> Interval:
    """Normal 95 % interval of a mean of scores between 0 and 1, cut to that range."""
    reach = NORMAL_95 * standard_error
    return max(0.0, mean - reach), min(1.0, mean + reach)


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
