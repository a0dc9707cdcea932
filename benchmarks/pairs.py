"""Pair mining: seconds and peak memory on synthetic captions, beside the same search as a polars join.

    python benchmarks/pairs.py --captions 200000

The captions have 8.5 nouns on average from 15,000 that follow Zipf's law, half of them drawn from one of 200 topics.
Each engine runs in a process of its own, so that its peak memory is its own; the join needs `pip install polars`.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time

import numpy as np

from cadvi_hub.pairing.pairs import PairSettings, mine_pairs
from cadvi_hub.schema import CaptionedImage

NOUNS, TOPICS, MEAN_NOUNS = 15_000, 200, 8.5


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


def run_blocks(nouns: list[tuple[str, ...]], settings: PairSettings) -> int:
    """Our engine; returns the number of pairs."""
    images = [CaptionedImage(str(k), f"{k}.jpg", f"caption {k}", "synthetic") for k in range(len(nouns))]
    return len(mine_pairs(images, nouns, settings).pairs)


def run_join(nouns: list[tuple[str, ...]], settings: PairSettings) -> int:
    """Capped postings joined with themselves, counted per pair, then the same greedy choice."""
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
    uses = [0] * len(nouns)
    pairs = 0
    for a, b in zip(candidates["image"], candidates["image2"], strict=True):
        if pairs < settings.max_pairs and max(uses[a], uses[b]) < settings.max_uses_per_image:
            uses[a] += 1
            uses[b] += 1
            pairs += 1
    return pairs


ENGINES = {"blocks": run_blocks, "join": run_join}


def measure(engine: str, captions: int, settings: PairSettings) -> dict[str, float]:
    """Seconds, peak MB of the process, and pairs."""
    nouns = synthetic_nouns(captions)
    start = time.perf_counter()
    pairs = ENGINES[engine](nouns, settings)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "pairs": pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=50_000)
    parser.add_argument("--min-shared", type=int, default=PairSettings.min_shared)
    parser.add_argument("--posting-cap", type=int, default=PairSettings.posting_cap)
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    given = parser.parse_args()
    settings = PairSettings(min_shared=given.min_shared, posting_cap=given.posting_cap)
    if given.engine != "both":
        print(json.dumps(measure(given.engine, given.captions, settings)))
        return
    results = {}
    for engine in ENGINES:
        if engine == "join" and importlib.util.find_spec("polars") is None:
            print("join: polars is not installed, so there is nothing to compare with")
            continue
        command = [sys.executable, __file__, *sys.argv[1:], "--engine", engine]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results[engine] = json.loads(done.stdout)
        print(
            f"{engine}: {given.captions} captions, "
            + "{seconds:.1f} s, {peak_mb:.0f} MB, {pairs} pairs".format(**results[engine])
        )
    if len(results) == 2:
        blocks, join = results["blocks"], results["join"]
        print(f"join / blocks: {join['seconds'] / blocks['seconds']:.1f} × time, ", end="")
        print(f"{join['peak_mb'] / blocks['peak_mb']:.1f} × memory")


if __name__ == "__main__":
    main()
