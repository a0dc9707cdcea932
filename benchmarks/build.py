"""Building and publishing pairs with embedded pictures, beside `Dataset.from_generator(...).push_to_hub(...)`.

    python benchmarks/build.py --pairs 20000

Both write the same rows (two pictures of 640 × 480 pixels each, as JPEG) and push them to a Hub on loopback.
Ours also decodes every picture once, filters the summaries, and can be resumed. Each side runs in a process of its
own, so that its peak memory is its own. Every summary is the same constant: no model is part of the measurement.

    python benchmarks/build.py --pairs 20000 --before ../checkout --runs 3

compares with this script of another checkout instead, in turn: what durability costs since 5841c0d, say. CPU seconds
include the Hub's.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cadvi_hub.annotation.conversations import v2_messages
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Provenance, v2_features
from cadvi_hub.sources.settings import SourceSettings

SUMMARY = CadSummary(
    "Both images show coloured noise from edge to edge.",
    (Difference(Aspect.ATTRIBUTES, "Image 1 has other colours than image 2 nearly everywhere."),),
)
PROVENANCE = Provenance("constant", "", "{}")


class ConstantAnnotator:
    """Writes one and the same summary for every pair."""

    provenance = PROVENANCE

    def annotate(self, pairs: Sequence[ImagePair], images: ImageStore) -> Iterator[tuple[ImagePair, CadSummary]]:
        for pair in pairs:
            yield pair, SUMMARY


def draw_source(folder: Path, pairs: int, pictures: int) -> None:
    """`pictures` JPEG files of coarse noise, and `pairs.jsonl` over them."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(pictures):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        coarse.resize((640, 480)).save(folder / f"images/{number}.jpg", quality=90)
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(pairs):
            first = number % pictures
            second = (first + 1 + number // pictures) % pictures
            row = {
                "id": str(number),
                "images": [f"images/{first}.jpg", f"images/{second}.jpg"],
                "texts": [{"assistant": f"Note {number}."}],
            }
            file.write(json.dumps(row) + "\n")


def run_ours(source: Path, work: Path, repo_id: str) -> None:
    """Our build and its publication."""
    from cadvi_hub.hub.publish import publish
    from cadvi_hub.hub.settings import PublishSettings

    build(BuildSettings("v2", SourceSettings(source, "noise"), work / "data"), ConstantAnnotator())
    publish(PublishSettings(work / "data", repo_id, "dataset"))


def run_generator(source: Path, work: Path, repo_id: str) -> None:
    """The same rows by `datasets` alone."""
    from datasets import Dataset

    def rows() -> Iterator[dict[str, Any]]:
        with (source / "pairs.jsonl").open() as file:
            for line in file:
                row = json.loads(line)
                pair = ImagePair(row["id"], tuple(row["images"]), "noise", context=row["texts"][0]["assistant"])
                yield {
                    "id": pair.pair_id,
                    "images": [{"bytes": (source / name).read_bytes(), "path": name} for name in pair.images],
                    "messages": v2_messages(pair, SUMMARY, 0),
                    "source": pair.source,
                    "context": pair.context,
                    "commonalities": SUMMARY.commonalities,
                    "differences": [{"aspect": d.aspect, "text": d.text} for d in SUMMARY.differences],
                    "shared_nouns": [],
                    "annotator": PROVENANCE.annotator,
                    "prompt_hash": PROVENANCE.prompt_hash,
                    "decoding": PROVENANCE.decoding,
                }

    dataset = Dataset.from_generator(rows, features=v2_features(), cache_dir=str(work / "cache"))
    dataset.push_to_hub(repo_id, "v2")


SIDES = {"ours": run_ours, "from_generator": run_generator}


def measure(side: str, source: Path, work: Path) -> None:
    """Run one side against a Hub of its own and print its seconds and peak memory as JSON."""
    command = [sys.executable, "-m", "cadvi_hub.hub.loopback", "--root", str(work / "hub"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout
        settings = hub.stdout.readline().removeprefix("export ").split()  # before the clients are imported
        os.environ.update(dict(setting.split("=", 1) for setting in settings))
        start = time.perf_counter()
        SIDES[side](source, work, f"tester/{side.replace('_', '-')}")
        seconds = time.perf_counter() - start
        hub.terminate()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def compare(before: Path, folder: Path, runs: int) -> None:
    """Run our side of this checkout and of the checkout `before` in turn, and print both with their ratios."""
    checkouts = {"before": before.resolve(), "now": Path(__file__).resolve().parents[1]}
    for run in range(runs):
        seconds, cpu = {}, {}
        for name, checkout in checkouts.items():
            work = folder / f"{name}{run}"
            (work / "ours").mkdir(parents=True)
            (work / "source").symlink_to(folder / "source")
            command = [sys.executable, str(checkout / "benchmarks/build.py"), "--side", "ours", "--folder", str(work)]
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            surroundings = {**os.environ, "PYTHONPATH": str(checkout)}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[name] = json.loads(done.stdout.splitlines()[-1])["seconds"]
            cpu[name] = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            shutil.rmtree(work)
        for unit, of in (("seconds", seconds), ("CPU seconds", cpu)):
            shown = f"{of['before']:.1f} before, {of['now']:.1f} now"
            print(f"run {run + 1}: {unit} {shown}, ratio {of['now'] / of['before']:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--pictures", type=int, default=1_000)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    if given.side:
        measure(given.side, given.folder / "source", given.folder / given.side)
        return
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_source(folder / "source", given.pairs, given.pictures)
        if given.before:
            compare(given.before, folder, given.runs)
            return
        for side in SIDES:
            (folder / side).mkdir()
            command = [sys.executable, __file__, "--side", side, "--folder", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[side] = json.loads(done.stdout.splitlines()[-1])
            rate = given.pairs / results[side]["seconds"]
            print(
                f"{side}: {given.pairs} pairs, {rate:.0f} rows/s, peak {results[side]['peak_mb']:.0f} MB", flush=True
            )
    ours, peer = results["ours"], results["from_generator"]
    print(f"ours / from_generator: {peer['seconds'] / ours['seconds']:.2f} × rows/s, ", end="")
    print(f"{ours['peak_mb'] / peer['peak_mb']:.2f} × memory")


if __name__ == "__main__":
    main()
