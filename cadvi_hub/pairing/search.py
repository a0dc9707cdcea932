"""The search for candidates: a sparse product of the caption × noun matrix with itself, block by block.

Blocks run in threads, because SciPy's product and NumPy's sorts work outside of Python's lock; what is found does not
depend on their number or order. sparse_dot_topn makes the same product in half the time and with less memory, but it
keeps only the best of each caption: the pairs that it leaves out are not counted, ties between equal scores go to the
captions that were read first, and these are then used up (`benchmarks/pairs.py` compares both).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cadvi_hub.core.processes import usable_cores
from cadvi_hub.pairing.settings import PairSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Ints = NDArray[np.int64]

BLOCK_PRODUCTS = 5_000_000  # elements of the sparse product in memory per thread, about 200 MB with their sort
MOST_THREADS = 8
MIN_CANDIDATES = 16  # best candidates kept per caption
ONE_SHARED = 1 << 16  # more than the sum of all rarities: the count decides, then the rarity
RAREST = 1_000  # rarity of a noun of a single caption; 65 shared nouns stay below ONE_SHARED


def search_threshold(settings: PairSettings) -> int:
    """Shared nouns that make a candidate in capped postings, where a pair can share fewer than `min_shared`."""
    return min(settings.min_shared, 2)


def cap_postings(incidence: csr_matrix, eligible: NDArray[np.bool_], keys: Ints, cap: int) -> csr_matrix:
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


class _Found(NamedTuple):
    """What a block gives: pairs of captions as `first * captions + second`, and two counts."""

    pairs: Ints
    found: int
    of_one_image: int


def find_candidates(
    postings: csr_matrix, worth: Ints, image_of: Ints, keys: Ints, settings: PairSettings
) -> tuple[Ints, Ints, dict[str, int]]:
    """Caption numbers (first < second) of the best candidates of every caption, each pair once, and counts."""
    from tqdm import tqdm

    total = len(keys)
    per_caption = max(MIN_CANDIDATES, 4 * settings.max_uses_per_image)
    at_least = search_threshold(settings) * ONE_SHARED
    transposed = weighted(postings, worth).T.tocsr()

    def search(start: int, end: int) -> _Found:
        product = postings[start:end] @ transposed
        keep = np.flatnonzero(product.data >= at_least)
        rows = np.searchsorted(product.indptr, keep, side="right") - 1 + start
        columns, score = product.indices[keep].astype(np.int64), product.data[keep].astype(np.int64)
        other = image_of[rows] != image_of[columns]
        once = rows < columns  # each pair is found from both of its captions
        found, of_one_image = int(once.sum()), int((once & ~other).sum())
        rows, columns, score = rows[other], columns[other], score[other]
        # one sort key: the score, descending, in the high bits, and the pair's hash in the low bits
        rank = (keys[rows] ^ keys[columns]) >> 32 | (2**31 - 1 - score * settings.closest_first) << 32
        order = np.lexsort((rank, rows))
        rows, columns = rows[order], columns[order]
        best = np.arange(len(rows)) - np.searchsorted(rows, rows) < per_caption
        rows, columns = rows[best], columns[best]
        return _Found(np.unique(np.minimum(rows, columns) * total + np.maximum(rows, columns)), found, of_one_image)

    best_of = []
    found = of_one_image = 0
    threads = min(usable_cores(), MOST_THREADS)
    under_way: deque[tuple[int, Future[_Found]]] = deque()
    with ThreadPoolExecutor(threads) as pool, tqdm(total=total, desc="pairs", unit="caption", disable=None) as bar:
        blocks = _blocks(postings)
        while True:
            while len(under_way) < threads and (block := next(blocks, None)):
                under_way.append((block[1] - block[0], pool.submit(search, *block)))
            if not under_way:
                break
            captions, future = under_way.popleft()
            block_pairs, block_found, block_of_one_image = future.result()
            best_of.append(block_pairs)
            found, of_one_image = found + block_found, of_one_image + block_of_one_image
            bar.update(captions)
    pairs = np.unique(np.concatenate(best_of)) if best_of else np.empty(0, np.int64)
    counts = {
        "caption pairs found": found,
        "caption pairs of one image": of_one_image,
        "caption pairs not among the best of either caption": found - of_one_image - len(pairs),
    }
    return pairs // max(total, 1), pairs % max(total, 1), counts


def weighted(incidence: csr_matrix, worth: Ints) -> csr_matrix:
    """`incidence` with the worth of the noun instead of 1."""
    from scipy.sparse import csr_matrix

    return csr_matrix((worth[incidence.indices], incidence.indices, incidence.indptr), shape=incidence.shape)
