"""Image pairs from captions: two images whose captions share nouns (paper, section 3.1).

The paper gives the result (278K pairs from 873K captions) but neither threshold nor sampling: the settings are ours.
Candidates come from a sparse product of the caption × noun matrix with itself, one block of rows at a time. Very
frequent nouns would make nearly every pair a candidate, so the search uses only `posting_cap` captions per noun: rare
nouns decide which captions are compared, and then all nouns count. Among candidates that share equally many nouns,
those with rarer ones come first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING

import numpy as np

from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.pairing.search import ONE_SHARED, RAREST, cap_postings, find_candidates, search_threshold, weighted
from cadvi_hub.pairing.settings import PairSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PairResult:
    """Mined pairs, best first, and how many captions or candidates each rule removed."""

    pairs: list[ImagePair]
    counts: dict[str, int]


def mine_pairs(
    images: Sequence[CaptionedImage],
    nouns: Sequence[tuple[str, ...]],
    settings: PairSettings,
    wordings: Sequence[str] | None = None,
) -> PairResult:
    """Pair images whose captions share at least `min_shared` nouns, by default those with most shared nouns first.

    Args:
        images: one entry per caption; an image can have several.
        nouns: the nouns of each caption, without repeats.
        wordings: a key per caption, equal for captions that say the same (`Tagged.wording`).

    An image is never paired with itself, or twice with the same image. Two images whose captions are the same but for
    case, punctuation and spaces, or say the same, are not a pair: their captions do not tell them apart. Equal
    captions and settings give equal pairs in equal order.
    """
    incidence = _incidence(nouns)
    worth = _worth(incidence)
    image_of = _numbers(entry.image for entry in images)
    letters_of = _numbers(map(_letters, images))
    wording_of = letters_of if wordings is None else _numbers(wordings)
    # The xor of two captions' keys is their pair's hash: seeded, symmetric, and a different order for each caption.
    keys = np.random.default_rng(settings.seed).integers(2**63, size=len(images), dtype=np.int64)

    sizes = np.diff(incidence.indptr)
    postings = cap_postings(incidence, sizes >= settings.min_shared, keys, settings.posting_cap)
    searched = np.diff(postings.indptr) >= search_threshold(settings)
    first, second, search_counts = find_candidates(postings, worth, image_of, keys, settings)
    score = _scores(incidence, worth, first, second)
    enough = score >= settings.min_shared * ONE_SHARED
    same = letters_of[first] == letters_of[second]
    alike = same | (wording_of[first] == wording_of[second])
    counts = {
        "captions": len(images),
        "captions without nouns": int((sizes == 0).sum()),
        "captions with fewer nouns than a pair must share": int(((sizes > 0) & (sizes < settings.min_shared)).sum()),
        "captions left out by posting_cap": int(((sizes >= settings.min_shared) & (sizes > 0) & ~searched).sum()),
        **search_counts,
        "candidates": len(score),
        "candidates with too few shared nouns": int((~enough).sum()),
        "candidates with the same caption twice": int((enough & same).sum()),
        "candidates with captions that say the same": int((enough & alike & ~same).sum()),
    }
    kept = enough & ~alike
    first, second, score = first[kept], second[kept], score[kept]
    order = np.lexsort((keys[first] ^ keys[second], -score * settings.closest_first))
    first, second = first[order], second[order]

    left, right = np.minimum(image_of[first], image_of[second]), np.maximum(image_of[first], image_of[second])
    once = np.sort(np.unique(left * len(images) + right, return_index=True)[1])
    picked = once[_select(left[once], right[once], len(images), settings)]
    rest = len(once) - len(picked)
    full = len(picked) == settings.max_pairs
    counts |= {
        "candidates with the same two images": len(first) - len(once),
        "candidates of images used up": 0 if full else rest,
        "candidates left when max_pairs was reached": rest if full else 0,
        "pairs": len(picked),
        "images": (all_images := int(image_of.max(initial=-1)) + 1),
        "images without a pair": all_images - len(np.unique([left[picked], right[picked]])),
    }
    pairs = []
    for a, b in zip(first[picked].tolist(), second[picked].tolist(), strict=True):
        if (keys[a] ^ keys[b]) & 1:  # otherwise the image that was read first would always be the first
            a, b = b, a
        pairs.append(_pair(images[a], images[b], tuple(sorted(set(nouns[a]) & set(nouns[b])))))
    return PairResult(pairs, counts)


def _pair(a: CaptionedImage, b: CaptionedImage, shared: tuple[str, ...]) -> ImagePair:
    return ImagePair(
        pair_id=f"{a.image}|{b.image}",  # file names, because collections reuse each other's image ids
        images=(a.image, b.image),
        source="+".join(sorted({a.source, b.source})),
        captions=(a.caption, b.caption),
        shared_nouns=shared,
    )


def _letters(entry: CaptionedImage) -> str:
    """The letters and digits of a caption in lower case; a caption without any is left as it is."""
    return "".join(filter(str.isalnum, entry.caption.casefold())) or entry.caption


def _numbers(values: Iterable[str]) -> Ints:
    """A number per value, from 0; equal values have equal numbers."""
    numbers = defaultdict[str, int](count().__next__)
    return np.fromiter(map(numbers.__getitem__, values), np.int64)


def _incidence(nouns: Sequence[tuple[str, ...]]) -> csr_matrix:
    """Captions × nouns: 1 if the caption has the noun."""
    from scipy.sparse import csr_matrix

    columns = _numbers(chain.from_iterable(nouns)).astype(np.int32)
    starts = np.cumsum([0, *map(len, nouns)])
    shape = (len(nouns), int(columns.max(initial=0)) + 1)
    return csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape=shape)


def _worth(incidence: csr_matrix) -> Ints:
    """Per noun, what it adds to the score of a pair that shares it: `ONE_SHARED` plus its rarity.

    The rarity grows with the inverse document frequency, from 0 (every caption has the noun) to `RAREST`.
    """
    captions = np.bincount(incidence.indices, minlength=incidence.shape[1]).clip(1)
    total = max(incidence.shape[0], 2)
    worth: Ints = (ONE_SHARED + RAREST * np.log(total / captions) / np.log(total)).astype(np.int32)
    return worth


def _scores(incidence: csr_matrix, worth: Ints, first: Ints, second: Ints, step: int = 200_000) -> Ints:
    """Score of captions `first[k]` and `second[k]`: the worth of all nouns that they share."""
    worths = weighted(incidence, worth)
    parts = [
        np.asarray(incidence[first[k : k + step]].multiply(worths[second[k : k + step]]).sum(axis=1)).ravel()
        for k in range(0, len(first), step)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


def _select(left: Ints, right: Ints, images: int, settings: PairSettings, step: int = 100_000) -> list[int]:
    """Choose greedily in the given order; `left` and `right` are image numbers."""
    uses = np.zeros(images, np.int32)
    picked: list[int] = []
    for start in range(0, len(left), step):
        a, b = left[start : start + step], right[start : start + step]
        open_yet = np.flatnonzero((uses[a] < settings.max_uses_per_image) & (uses[b] < settings.max_uses_per_image))
        for k in open_yet.tolist():
            if len(picked) == settings.max_pairs:
                return picked
            if uses[a[k]] < settings.max_uses_per_image and uses[b[k]] < settings.max_uses_per_image:
                uses[a[k]] += 1
                uses[b[k]] += 1
                picked.append(start + k)
    return picked
