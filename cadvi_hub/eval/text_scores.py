"""Scores of open answers against one reference each: words in common, ROUGE-L, CIDEr.

No library of CIDEr that is still maintained installs beside our stack (aac-metrics 0.6 needs msclap, which needs an
older transformers; pycocoevalcap's last release is of 2020), so it is written here after its definition (Vedantam et
al. 2015, CIDEr-D with n up to 4 and σ = 6, as in coco-caption). On the same words it gives pycocoevalcap 1.2's numbers
to 14 digits (312 captions). Words are runs of letters and digits in lower case; coco-caption splits words with a Java
program, whose words differ in a few places.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from math import exp, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

Texts = Sequence[str]

LONGEST = 512  # characters of an answer that ROUGE-L reads, as LLaVA-NeXT-Interleave-Bench
HIGHEST_CIDER = 10.0
_SIZES = (1, 2, 3, 4)  # of CIDEr's n-grams
_SIGMA = 6.0
_Grams = dict[tuple[str, ...], float]


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


def rouge_l(prediction: str, answer: str) -> float:
    """F1 of the longest common subsequence of words, without stemming, of the first 512 characters of an answer."""
    return float(_rouge().score(answer, prediction[:LONGEST])["rougeL"].fmeasure)


def ciders(predictions: Texts, answers: Texts) -> list[float]:
    """CIDEr-D of each answer, from 0 to 10: n-grams in common, weighted by how rare they are among all references."""
    wanted = [_counts(answer) for answer in answers]
    frequency = Counter(gram for grams in wanted for gram in grams)  # in how many references it is
    total = log(max(1, len(answers)))

    def weighted(grams: Counter[tuple[str, ...]]) -> list[_Grams]:
        weights = {gram: count * (total - log(max(1, frequency[gram]))) for gram, count in grams.items()}
        return [{gram: weight for gram, weight in weights.items() if len(gram) == size} for size in _SIZES]

    found = map(_counts, predictions)
    return [
        _similarity(weighted(ours), weighted(theirs))
        * exp(-((_length(ours) - _length(theirs)) ** 2) / (2 * _SIGMA**2))
        for ours, theirs in zip(found, wanted, strict=True)
    ]


TEXT_SCORES: dict[str, Callable[[Texts, Texts], list[float]]] = {
    "token_f1": lambda predictions, answers: list(map(token_f1, predictions, answers)),
    "rouge_l": lambda predictions, answers: list(map(rouge_l, predictions, answers)),
    "cider": ciders,
}


def _similarity(found: Sequence[_Grams], wanted: Sequence[_Grams]) -> float:
    """Ten times the mean over n of the cosine of weights; those of the answer are cut to those of the reference."""
    cosines = []
    for ours, theirs in zip(found, wanted, strict=True):
        norm = sqrt(sum(weight**2 for weight in ours.values()) * sum(weight**2 for weight in theirs.values()))
        shared = (min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
        cosines.append(sum(shared) / norm if norm else 0.0)
    return HIGHEST_CIDER * sum(cosines) / len(_SIZES)


def _counts(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return Counter(tuple(words[start : start + size]) for size in _SIZES for start in range(len(words) - size + 1))


def _length(grams: Counter[tuple[str, ...]]) -> int:
    """The number of bigrams, which is coco-caption's length."""
    return sum(count for gram, count in grams.items() if len(gram) == 2)


@cache
def _rouge() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])


def _words(text: str) -> Counter[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return Counter(re.sub(r"\b(a|an|the)\b", " ", plain).split())
