"""A training's rows streamed from parquet files, beside the copy that `datasets` makes and its own streaming.

    python benchmarks/streaming.py --rows 4096

Rows are those of training_input.py, in files of 128, batches of 16, collated by the same collator in one process:

- `ours, streamed`: `streaming: true`;
- `ours, copied`: the default: every row checked first, and an Arrow copy of all;
- `datasets, streamed`: `load_dataset(streaming=True).shuffle(buffer_size=…)`, with as many rows in the buffer.

Each runs in a process of its own with an empty cache, `--repeats` times in turn, and the medians are compared. The
table has the seconds until the first batch, the rows a second after it, the seconds until the first batch after nine
tenths of an epoch (a resumed training waits for it; the peers skip with accelerate's `skip_first_batches`), the bytes
written to the disk, and the peak memory of the process. The last line says how many rows a second are read, counted
and sorted when no batch is made of them; in a training with several processes, each process reads all rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from training_input import our_processor, save_processor, save_rows

BATCH, ROWS_PER_FILE, ROWS_TIMED = 16, 128, 320
GROUPED = ("group_by_length", BATCH, BATCH)
CONTESTANTS = ("ours, streamed", "ours, copied", "datasets, streamed")


def loader(name: str, folder: Path, processor: Any, skipped: int) -> Any:
    """Batches of the rows in `folder`, the first ones skipped."""
    from accelerate import skip_first_batches
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    from cadvi_hub.training.collator import Collator
    from cadvi_hub.training.mixture import load_mixture
    from cadvi_hub.training.sampling import FEWEST_ROWS_TOGETHER, GroupedSampler, Grouping, StreamingSampler
    from cadvi_hub.training.streaming import stream_mixture

    collator, settings = Collator(processor, max_tokens=2048), {"rows": {"path": str(folder)}}
    order: Any = None
    if name == "ours, streamed":
        rows = stream_mixture(settings, processor, 2048, seed=0).dataset
        order = StreamingSampler(rows, Grouping(*GROUPED), seed=0)
        order.skipped_steps = skipped
    elif name == "ours, copied":
        rows = load_mixture(settings, processor, 2048, seed=0).dataset
        order = GroupedSampler(rows["length"][:], [2] * len(rows), Grouping(*GROUPED), seed=0)
    else:
        files = sorted(map(str, folder.glob("*.parquet")))
        rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
        rows = rows.select_columns(["images", "messages"]).shuffle(0, buffer_size=FEWEST_ROWS_TOGETHER)
    return skip_first_batches(DataLoader(rows, BATCH, sampler=order, collate_fn=collator), skipped)


def run(name: str, room: Path) -> dict[str, float]:
    """One contestant's figures, of this process."""
    import torch

    torch.set_num_threads(1)
    processor = our_processor(room / "base")
    rows = len(list((room / "rows").glob("*.parquet"))) * ROWS_PER_FILE
    start = time.perf_counter()
    batches = iter(loader(name, room / "rows", processor, skipped=0))
    next(batches)
    first = time.perf_counter()
    for _ in range(ROWS_TIMED // BATCH):
        next(batches)
    rate = ROWS_TIMED / (time.perf_counter() - first)
    written = sum(file.stat().st_size for file in Path(os.environ["HF_HOME"]).rglob("*") if file.is_file())
    del batches
    again = time.perf_counter()
    next(iter(loader(name, room / "rows", processor, skipped=rows * 9 // 10 // BATCH)))
    resumed = time.perf_counter() - again
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"first": first - start, "rate": rate, "resumed": resumed, "written": written / 1e9, "peak": peak}


def read(room: Path) -> float:
    """Rows a second of the stream alone."""
    from cadvi_hub.training.sampling import Grouping, StreamingSampler
    from cadvi_hub.training.streaming import stream_mixture

    processor = our_processor(room / "base")
    rows = stream_mixture({"rows": {"path": str(room / "rows")}}, processor, 2048, seed=0).dataset
    start = time.perf_counter()
    return sum(1 for _ in StreamingSampler(rows, Grouping(*GROUPED), seed=0)) / (time.perf_counter() - start)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1280, help=f"rounded up to files of {ROWS_PER_FILE}")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "ROOM"), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.one:
        print(json.dumps(run(given.one[0], Path(given.one[1]))))
        return

    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        save_processor(room / "base")
        made = save_rows(room / "rows", ROWS_PER_FILE) / "train.parquet"
        for number in range(-(-given.rows // ROWS_PER_FILE)):
            os.link(made, made.with_name(f"train-{number:05}.parquet"))
        made.unlink()
        print(
            f"{number + 1} files, {(number + 1) * made.with_name('train-00000.parquet').stat().st_size / 1e9:.2f} GB"
        )
        rounds: list[dict[str, dict[str, float]]] = []
        for turn in range(given.repeats):
            rounds.append({})
            for contestant in CONTESTANTS:
                surroundings = os.environ | {"HF_HOME": str(room / f"{contestant} {turn}"), "HF_HUB_OFFLINE": "1"}
                command = [sys.executable, __file__, "--one", contestant, str(room)]
                done = subprocess.run(command, env=surroundings, check=True, stdout=subprocess.PIPE)
                rounds[-1][contestant] = json.loads(done.stdout)
        for contestant in CONTESTANTS:
            of = {key: median(each[contestant][key] for each in rounds) for key in rounds[0][contestant]}
            print(
                f"{contestant}: first batch after {of['first']:.1f} s, then {of['rate']:.0f} rows/s, "
                f"resumed after {of['resumed']:.1f} s; {of['written']:.2f} GB written, peak {of['peak']:.2f} GiB"
            )
        print(f"the stream alone: {median(read(room) for _ in range(given.repeats)):.0f} rows/s")


if __name__ == "__main__":
    main()
