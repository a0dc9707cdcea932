"""Pair mining on synthetic captions: seconds, peak memory and pairs, beside three things that one would write first.

    python benchmarks/pairs.py --captions 20000 50000
    python benchmarks/pairs.py --all --engines ours

The captions have 8.5 nouns on average from 15,000 that follow Zipf's law, half of them drawn from one of 200 topics.
All engines get the same nouns and caps, take the pairs that share the most nouns first, and run in a process of their
own each, so that each has its own peak; `--all` runs the sizes 50K, 200K and 873K (the paper's). Peaks include the
nouns. The join needs `pip install polars`, the best of each row `pip install sparse_dot_topn`.

The plain product and the join cap each noun by independent draws, keep all candidates until they are sorted, and count
nothing per rule. sparse_dot_topn gets our capped matrix and keeps the best of each row, ties in the order of the rows.
Ours does more: it keeps the overlap of capped captions, counts all nouns of a candidate, prefers rare nouns, leaves
out equal captions and gives finished `ImagePair`s.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np

from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.pairing.search import cap_postings
from cadvi_hub.pairing.settings import PairSettings

NOUNS, TOPICS, MEAN_NOUNS = 15_000, 200, 8.5
SIZES = (50_000, 200_000, 873_000)


def synthetic_nouns(captions: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Nouns of `captions` made-up captions."""
    rng = np.random.default_rng(seed)
    zipf = np.cumsum(1 / (np.arange(NOUNS) + 10.0))
    lengths = np.clip(rng.poisson(MEAN_NOUNS, captions), 2, 20)
    owner = np.repeat(np.arange(captions), lengths)
    drawn = np.searchsorted(zipf / zipf[-1], rng.random(len(owner))).clip(0, NOUNS - 1)
    topic = np.repeat(rng.integers(0, TOPICS, captions), lengths)
    drawn = np.where(rng.random(len(owner)) < 0.5, (drawn * 7 + topic * 73) % NOUNS, drawn)
    names = [f"noun{number}" for number in range(NOUNS)]
    rows = np.split(drawn, np.cumsum(lengths)[:-1])
    return [tuple(sorted({names[number] for number in row})) for row in rows]


def ours(nouns: list[tuple[str, ...]], settings: PairSettings) -> int:
    """What `cadvi build` runs; returns the number of pairs."""
    images = [CaptionedImage(str(k), f"{k}.jpg", f"caption {k}", "synthetic") for k in range(len(nouns))]
    return len(mine_pairs(images, nouns, settings).pairs)


def scipy_product(nouns: list[tuple[str, ...]], settings: PairSettings, block: int = 2_000) -> int:
    """Capped matrix times its transpose, `block` rows at a time, then a greedy choice."""
    from scipy.sparse import csr_matrix, triu

    numbers = {noun: number for number, noun in enumerate(sorted({noun for row in nouns for noun in row}))}
    rows = np.repeat(np.arange(len(nouns)), [len(row) for row in nouns])
    columns = np.array([numbers[noun] for row in nouns for noun in row])
    draw = np.random.default_rng(settings.seed).permutation(len(rows))
    rows, columns = rows[draw], columns[draw]
    order = np.argsort(columns, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(columns[order], columns[order])
    kept = order[place < settings.posting_cap]
    ones = np.ones(len(kept), np.int16)
    matrix = csr_matrix((ones, (rows[kept], columns[kept])), shape=(len(nouns), len(numbers)))
    transposed = matrix.T.tocsr()
    found = []
    for start in range(0, len(nouns), block):
        product = triu(matrix[start : start + block] @ transposed, k=start + 1)
        enough = product.data >= settings.min_shared
        found.append((product.row[enough] + start, product.col[enough], product.data[enough]))
    first, second, shared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-shared, kind="stable")
    return choose(zip(first[order].tolist(), second[order].tolist(), strict=True), len(nouns), settings)


def polars_join(nouns: list[tuple[str, ...]], settings: PairSettings) -> int:
    """Capped postings joined with themselves, counted per pair, then a greedy choice."""
    import polars as pl

    rows = pl.DataFrame({"image": range(len(nouns)), "noun": nouns}).explode("noun")
    rows = rows.with_columns(hash=pl.struct("image", "noun").hash(settings.seed)).sort("noun", "hash")
    rows = rows.filter(pl.int_range(pl.len()).over("noun") < settings.posting_cap).select("noun", "image").lazy()
    candidates = (
        rows.join(rows, on="noun", suffix="2")
        .filter(pl.col("image") < pl.col("image2"))
        .group_by("image", "image2")
        .agg(pl.len().alias("shared"))
        .filter(pl.col("shared") >= settings.min_shared)
        .sort("shared", "image", "image2", descending=[True, False, False])
        .collect()
    )
    return choose(zip(candidates["image"], candidates["image2"], strict=True), len(nouns), settings)


def best_of_rows(nouns: list[tuple[str, ...]], settings: PairSettings, best: int = 17) -> int:
    """The best `best` of each row (16 and itself) by sparse_dot_topn, on all cores, then a greedy choice."""
    from scipy.sparse import coo_matrix, csr_matrix
    from sparse_dot_topn import sp_matmul_topn

    numbers = {noun: number for number, noun in enumerate(sorted({noun for row in nouns for noun in row}))}
    rows = np.repeat(np.arange(len(nouns)), [len(row) for row in nouns])
    columns = np.array([numbers[noun] for row in nouns for noun in row])
    ones = np.ones(len(rows), np.int32)
    incidence = csr_matrix((ones, (rows, columns)), shape=(len(nouns), len(numbers)))
    keys = np.random.default_rng(settings.seed).integers(2**63, size=len(nouns), dtype=np.int64)
    matrix = cap_postings(incidence, np.diff(incidence.indptr) >= settings.min_shared, keys, settings.posting_cap)
    threads = len(os.sched_getaffinity(0))
    found = sp_matmul_topn(matrix, matrix.T.tocsr(), best, threshold=settings.min_shared - 1, n_threads=threads)
    found = coo_matrix(found)
    first, second = np.minimum(found.row, found.col).astype(np.int64), np.maximum(found.row, found.col)
    apart = first < second
    first, second, shared = first[apart], second[apart], found.data[apart]
    once = np.unique(first * len(nouns) + second, return_index=True)[1]
    first, second, shared = first[once], second[once], shared[once]
    order = np.argsort(-shared, kind="stable")
    return choose(zip(first[order].tolist(), second[order].tolist(), strict=True), len(nouns), settings)


def choose(candidates: Iterable[tuple[int, int]], images: int, settings: PairSettings) -> int:
    """Pairs that are taken in the order given, as long as both images are free."""
    uses = [0] * images
    pairs = 0
    for a, b in candidates:
        if pairs < settings.max_pairs and max(uses[a], uses[b]) < settings.max_uses_per_image:
            uses[a] += 1
            uses[b] += 1
            pairs += 1
    return pairs


ENGINES: dict[str, Callable[[list[tuple[str, ...]], PairSettings], int]] = {
    "ours": ours,
    "scipy": scipy_product,
    "polars": polars_join,
    "topn": best_of_rows,
}
NEEDS = {"polars": "polars", "topn": "sparse_dot_topn"}


def measure(engine: str, captions: int, settings: PairSettings) -> dict[str, float]:
    """Seconds, CPU seconds, peak MB of the process, and pairs."""
    nouns = synthetic_nouns(captions)
    start, cpu_start = time.perf_counter(), time.process_time()
    pairs = ENGINES[engine](nouns, settings)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak, "pairs": pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, nargs="+", default=[20_000])
    parser.add_argument(
        "--all", action="store_const", dest="captions", const=SIZES, help="50K, 200K and 873K captions"
    )
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--min-shared", type=int, default=PairSettings.min_shared)
    parser.add_argument("--posting-cap", type=int, default=PairSettings.posting_cap)
    parser.add_argument("--memory", type=int, default=12, help="GiB of address space; an engine that needs more fails")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one engine, one size, this process
    given = parser.parse_args()
    settings = PairSettings(min_shared=given.min_shared, posting_cap=given.posting_cap)
    if given.here:
        resource.setrlimit(resource.RLIMIT_AS, (given.memory << 30, given.memory << 30))
        print(json.dumps(measure(given.engines[0], given.captions[0], settings)))
        return
    for engine, package in NEEDS.items():
        if engine in given.engines and importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: {engine} is left out")
            given.engines.remove(engine)
    print(f"{'captions':>8}  {'engine':<7} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} {'pairs':>8}  beside the first")
    caps = ["--min-shared", str(given.min_shared), "--posting-cap", str(given.posting_cap)]
    caps += ["--memory", str(given.memory)]
    for captions in given.captions:
        first: dict[str, float] = {}
        for engine in given.engines:
            command = [sys.executable, __file__, "--here", "--captions", str(captions), "--engines", engine, *caps]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{captions:>8}  {engine:<7} failed, most likely for want of memory", flush=True)
                continue
            result = json.loads(done.stdout)
            first = first or result
            beside = (
                f"{result['seconds'] / first['seconds']:.1f} × time, {result['peak_mb'] / first['peak_mb']:.1f} × MB"
            )
            figures = "{seconds:>8.1f} {cpu_seconds:>7.1f} {peak_mb:>8.0f} {pairs:>8}".format(**result)
            print(f"{captions:>8}  {engine:<7} {figures}  {beside}", flush=True)


if __name__ == "__main__":
    main()
