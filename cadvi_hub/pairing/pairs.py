"""Image pairs from captions: two images whose captions share nouns (paper, section 3.1).

The paper gives the result (278K pairs from 873K captions) but neither threshold nor sampling: the settings are ours.
Candidates come from a sparse product of the caption × noun matrix with itself, one block of rows at a time. Very
frequent nouns would make nearly every pair a candidate, so the search uses only `posting_cap` captions per noun: rare
nouns decide which captions are compared, and then all nouns count. Among candidates that share equally many nouns,
those with rarer ones come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.pairing.settings import PairSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Ints = NDArray[np.int64]

BLOCK_PRODUCTS = 10_000_000  # elements of the sparse product in memory at once, about 400 MB with their sort
MIN_CANDIDATES = 16  # best candidates kept per caption
ONE_SHARED = 1 << 16  # more than the sum of all rarities: the count decides, then the rarity
RAREST = 1_000  # rarity of a noun of a single caption; 65 shared nouns stay below ONE_SHARED


@dataclass(frozen=True)
class PairResult:
    """Mined pairs, best first, and how many captions or candidates each rule removed."""

    pairs: list[ImagePair]
    counts: dict[str, int]


def mine_pairs(images: list[CaptionedImage], nouns: list[tuple[str, ...]], settings: PairSettings) -> PairResult:
    """Pair images whose captions share at least `min_shared` nouns, by default those with most shared nouns first.

    Args:
        images: one entry per caption; an image can have several.
        nouns: the nouns of each caption, without repeats.

    An image is never paired with itself, or twice with the same image. Two images with the same caption are not a
    pair, because their captions do not tell them apart. Equal captions and settings give equal pairs in equal order.
    """
    incidence = _incidence(nouns)
    worth = _worth(incidence)
    image_of = _numbers(entry.image for entry in images)
    wording_of = _numbers(" ".join(entry.caption.casefold().split()) for entry in images)
    # The xor of two captions' keys is their pair's hash: seeded, symmetric, and a different order for each caption.
    keys = np.random.default_rng(settings.seed).integers(2**63, size=len(images), dtype=np.int64)

    sizes = np.diff(incidence.indptr)
    postings = _cap_postings(incidence, sizes >= settings.min_shared, keys, settings.posting_cap)
    searched = np.diff(postings.indptr) >= _search_threshold(settings)
    first, second, search_counts = _candidates(postings, worth, image_of, keys, settings)
    score = _scores(incidence, worth, first, second)
    enough = score >= settings.min_shared * ONE_SHARED
    alike = wording_of[first] == wording_of[second]
    counts = {
        "captions": len(images),
        "captions without nouns": int((sizes == 0).sum()),
        "captions with fewer nouns than a pair must share": int(((sizes > 0) & (sizes < settings.min_shared)).sum()),
        "captions left out by posting_cap": int(((sizes >= settings.min_shared) & (sizes > 0) & ~searched).sum()),
        **search_counts,
        "candidates": len(score),
        "candidates with too few shared nouns": int((~enough).sum()),
        "candidates with the same caption twice": int((enough & alike).sum()),
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
        source=a.source if a.source == b.source else f"{a.source}+{b.source}",
        captions=(a.caption, b.caption),
        shared_nouns=shared,
    )


def _numbers(values: Iterable[str]) -> Ints:
    """A number per value, from 0; equal values have equal numbers."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _incidence(nouns: list[tuple[str, ...]]) -> csr_matrix:
    """Captions × nouns: 1 if the caption has the noun."""
    from scipy.sparse import csr_matrix

    numbers: dict[str, int] = {}
    starts = np.cumsum([0, *map(len, nouns)])
    columns = np.fromiter((numbers.setdefault(n, len(numbers)) for row in nouns for n in row), np.int32, starts[-1])
    return csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape=(len(nouns), max(len(numbers), 1)))


def _worth(incidence: csr_matrix) -> Ints:
    """Per noun, what it adds to the score of a pair that shares it: `ONE_SHARED` plus its rarity.

    The rarity grows with the inverse document frequency, from 0 (every caption has the noun) to `RAREST`.
    """
    captions = np.bincount(incidence.indices, minlength=incidence.shape[1]).clip(1)
    total = max(incidence.shape[0], 2)
    worth: Ints = (ONE_SHARED + RAREST * np.log(total / captions) / np.log(total)).astype(np.int32)
    return worth


def _search_threshold(settings: PairSettings) -> int:
    """Shared nouns that make a candidate in capped postings, where a pair can share fewer than `min_shared`."""
    return min(settings.min_shared, 2)


def _cap_postings(incidence: csr_matrix, eligible: NDArray[np.bool_], keys: Ints, cap: int) -> csr_matrix:
    """Keep, per noun, the `cap` captions of lowest key among the `eligible` ones.

    A key belongs to a caption, not to an entry: two captions with low keys keep all their nouns and so their whole
    overlap, which independent draws would reduce.
    """
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(incidence.shape[0], dtype=np.int32), np.diff(incidence.indptr))
    order = np.lexsort((keys[rows], incidence.indices))
    order = order[eligible[rows[order]]]
    by_noun = incidence.indices[order]
    first_of_noun = np.searchsorted(by_noun, by_noun)
    kept = order[np.arange(len(order)) - first_of_noun < cap]
    return csr_matrix((incidence.data[kept], (rows[kept], incidence.indices[kept])), shape=incidence.shape)


def _blocks(postings: csr_matrix) -> Iterator[tuple[int, int]]:
    """Row ranges whose product with the transposed matrix has about `BLOCK_PRODUCTS` terms."""
    lengths = np.bincount(postings.indices, minlength=postings.shape[1])
    work = np.cumsum(postings @ lengths)
    start = 0
    while start < len(work):
        done = work[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(work, done + BLOCK_PRODUCTS, side="right")))
        yield start, end
        start = end


def _candidates(
    postings: csr_matrix, worth: Ints, image_of: Ints, keys: Ints, settings: PairSettings
) -> tuple[Ints, Ints, dict[str, int]]:
    """Caption numbers (first < second) of the best candidates of every caption, each pair once, and counts."""
    from tqdm import tqdm

    total = len(keys)
    per_caption = max(MIN_CANDIDATES, 4 * settings.max_uses_per_image)
    at_least = _search_threshold(settings) * ONE_SHARED
    transposed = _weighted(postings, worth).T.tocsr()
    best_of = []
    found = of_one_image = 0
    with tqdm(total=total, desc="pairs", unit="caption", disable=None) as bar:
        for start, end in _blocks(postings):
            product = postings[start:end] @ transposed
            keep = np.flatnonzero(product.data >= at_least)
            rows = np.searchsorted(product.indptr, keep, side="right") - 1 + start
            columns, score = product.indices[keep].astype(np.int64), product.data[keep].astype(np.int64)
            other = image_of[rows] != image_of[columns]
            once = rows < columns  # each pair is found from both of its captions
            found += int(once.sum())
            of_one_image += int((once & ~other).sum())
            rows, columns, score = rows[other], columns[other], score[other]
            # one sort key: the score, descending, in the high bits, and the pair's hash in the low bits
            rank = (keys[rows] ^ keys[columns]) >> 32 | (2**31 - 1 - score * settings.closest_first) << 32
            order = np.lexsort((rank, rows))
            rows, columns = rows[order], columns[order]
            best = np.arange(len(rows)) - np.searchsorted(rows, rows) < per_caption
            rows, columns = rows[best], columns[best]
            best_of.append(np.unique(np.minimum(rows, columns) * total + np.maximum(rows, columns)))
            bar.update(end - start)
    pairs = np.unique(np.concatenate(best_of)) if best_of else np.empty(0, np.int64)
    counts = {
        "caption pairs found": found,
        "caption pairs of one image": of_one_image,
        "caption pairs not among the best of either caption": found - of_one_image - len(pairs),
    }
    return pairs // max(total, 1), pairs % max(total, 1), counts


def _weighted(incidence: csr_matrix, worth: Ints) -> csr_matrix:
    """`incidence` with the worth of the noun instead of 1."""
    from scipy.sparse import csr_matrix

    return csr_matrix((worth[incidence.indices], incidence.indices, incidence.indptr), shape=incidence.shape)


def _scores(incidence: csr_matrix, worth: Ints, first: Ints, second: Ints, step: int = 200_000) -> Ints:
    """Score of captions `first[k]` and `second[k]`: the worth of all nouns that they share."""
    weighted = _weighted(incidence, worth)
    parts = [
        np.asarray(incidence[first[k : k + step]].multiply(weighted[second[k : k + step]]).sum(axis=1)).ravel()
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
