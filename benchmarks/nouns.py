"""Noun extraction: captions per second on real captions, beside plain spaCy, and whether the nouns are the same.

    python benchmarks/nouns.py --captions 40000

The captions are COCO's, from the sample data beside this checkout; they are repeated, in another order each time,
until there are as many as asked for. Plain spaCy is `nlp.pipe` over tagger, rules and lemmatizer, with its matrices
multiplied by as many threads as it likes. Each engine runs in a process of its own; its start, which loads the model,
counts. CPU seconds are those of the process and its workers: on a busy machine they say more than the speed.
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.core.processes import usable_cores
from cadvi_hub.pairing.nouns import load_tagger, noun_of, tag_captions

SAMPLE = Path(__file__).parents[2] / "shared/data/localized_narratives/coco_val_captions.jsonl"


def real_captions(file: Path, count: int) -> list[str]:
    """`count` captions of `file`."""
    captions = [json.loads(line)["caption"] for line in file.read_text().splitlines()]
    rng = random.Random(0)
    repeated: list[str] = []
    while len(repeated) < count:
        repeated += rng.sample(captions, len(captions))
    return repeated[:count]


def plain_spacy(captions: list[str]) -> Iterator[tuple[str, ...]]:
    """What spaCy's documentation shows, on one core."""
    for doc in load_tagger().pipe(captions, batch_size=256):
        yield tuple(sorted({noun_of(token) for token in doc} - {""}))


def measure(engine: str, captions: list[str], workers: int) -> dict[str, str | float]:
    """Captions per second and CPU second, peak MB of the process and of a worker, a digest of all noun sets."""
    start = time.perf_counter()
    ours = (read.nouns for read in tag_captions(captions, workers=workers))
    nouns = list(plain_spacy(captions) if engine == "spacy" else ours)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_seconds = sum(process.ru_utime + process.ru_stime for process in used)
    return {
        "speed": len(captions) / seconds,
        "cpu_speed": len(captions) / cpu_seconds,
        "peak_mb": used[0].ru_maxrss / 1024,
        "worker_mb": used[1].ru_maxrss / 1024,
        "digest": hashlib.sha256(json.dumps(nouns).encode()).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=40_000)
    parser.add_argument("--file", type=Path, default=SAMPLE, help="JSON lines with the key `caption`")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--engine", choices=["spacy", "one", "all"], help="run this engine alone, in this process")
    given = parser.parse_args()
    if given.engine:
        workers = given.workers if given.engine == "all" else 1
        print(json.dumps(measure(given.engine, real_captions(given.file, given.captions), workers)))
        return
    names = {"spacy": "plain nlp.pipe", "one": "ours, 1 process", "all": f"ours, {given.workers} processes"}
    results = {}
    print(f"{given.captions} captions of {given.file.name}, {given.workers} cores")
    for engine, name in names.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--engine", engine]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results[engine] = json.loads(done.stdout)
        ratio = results[engine]["speed"] / results["spacy"]["speed"]
        line = "{speed:.0f} captions/s, {cpu_speed:.0f} per CPU second, {peak_mb:.0f} MB, workers {worker_mb:.0f} MB"
        print(f"{name}: {line.format(**results[engine])}, {ratio:.1f} × plain", flush=True)
    if len({result["digest"] for result in results.values()}) > 1:
        sys.exit("the noun sets DIFFER")
    print("the noun sets are the same")


if __name__ == "__main__":
    main()
