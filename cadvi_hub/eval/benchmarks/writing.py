"""Benchmark sets on disk: `DIR/<task>/test.parquet`, in shards where it is large, and a card that lists the sets.

A set whose questions are not all there says so in the footer of its last file, so that the mark stays with the data
when it is published.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import question_features
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, find_benchmark
from cadvi_hub.eval.benchmarks.stored import MISSING, missing_questions
from cadvi_hub.eval.benchmarks.under_way import WORK, shard_file

ROW_GROUP = 100  # rows; larger groups of embedded pictures are too heavy for the Hub's viewer
SHARD_BYTES = 500_000_000  # of pictures, as `datasets` cuts its own

README = """---
configs:
{configs}---

# Benchmark questions

One configuration per set, split `test`. `question` is the full prompt with `<image>` where each image goes; `options`
is empty for open questions; `group` joins the questions that count together.
{partial}"""


def write_questions(
    rows: Iterable[dict[str, Any]],
    folder: Path,
    missing: Drops | None = None,
    shard_bytes: int = SHARD_BYTES,
    kept: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, int]:
    """Write rows of any tasks to `folder/<task>/`, so that `load_dataset(folder, task)` reads them.

    Files take their names when all are whole, older ones are replaced, and README.md then lists every set of the
    folder. At most 100 rows per task are in memory.

    Args:
        missing: counts the questions that were left out; may fill while `rows` is read.
        shard_bytes: bytes of pictures after which a set goes on in another file.
        kept: the whole shards of a task that a killed run left (`under_way.py`); `rows` are what comes after them.

    Returns:
        Number of questions per task.

    Raises:
        InputError: a row of an unknown task, or a folder that cannot be written.
    """
    import pyarrow.parquet as pq

    counts: Counter[str] = Counter()
    sets: dict[str, _Set] = {}
    try:
        try:
            for task, shards in (kept or {}).items():
                sets[task] = _Set(folder / task, shard_bytes, shards)
                counts[task] = sum(pq.read_metadata(shard).num_rows for shard in shards)
            for row in rows:
                task = row["task"]
                find_benchmark(task, str(row["id"]))
                if task not in sets:
                    sets[task] = _Set(folder / task, shard_bytes)
                sets[task].add(row)
                counts[task] += 1
            for written in sets.values():
                written.close(sum(missing.counts.values()) if missing else 0)
            for written in sets.values():
                written.publish()
        finally:
            for written in sets.values():
                written.discard()
        write_readme(folder)
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error})", "Make room or choose another folder") from error
    return dict(counts)


class _Set:
    """The files of one set while they are written, in its `_work/`; a shard that is whole takes its name there."""

    def __init__(self, folder: Path, shard_bytes: int, kept: Sequence[Path] = ()):
        self._folder, self._work, self._limit = folder, folder / WORK, shard_bytes
        self._work.mkdir(parents=True, exist_ok=True)
        self._schema = question_features().arrow_schema
        self._waiting: list[dict[str, Any]] = []
        self._parts = list(kept)
        self._writer: Any = None
        self._bytes = 0

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        if len(self._waiting) == ROW_GROUP:
            self._write()

    def close(self, missing: int) -> None:
        """Write what waits; `missing` questions are left out of the set.

        The last shard keeps its temporary name: with the mark and fewer rows, no rerun could go on after it.
        """
        if self._waiting or self._writer is None:
            self._write()
        if missing:
            self._writer.add_key_value_metadata({MISSING.decode(): str(missing)})
        self._writer.close()
        self._writer = None
        self._parts.append(self._unfinished())

    def publish(self) -> None:
        """Give the files their names in the place of older ones."""
        total = len(self._parts)
        names = [f"test-{number:05d}-of-{total:05d}.parquet" for number in range(total)] if total > 1 else []
        names = names or ["test.parquet"]
        for file in self._folder.glob("test*.parquet"):
            if total > 1 or file.name not in names:  # shards of two sets, as many of each, would pass for one
                file.unlink()
        for part, name in zip(self._parts, names, strict=True):
            part.replace(self._folder / name)
        shutil.rmtree(self._work)

    def discard(self) -> None:
        """Remove what is not whole."""
        if self._writer is not None:
            self._writer.close()
        for unfinished in self._work.glob("*.tmp"):
            unfinished.unlink()
        if self._work.is_dir() and not any(self._work.iterdir()):
            self._work.rmdir()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._bytes >= self._limit:  # only now that another file has rows
            self._writer.close()
            self._writer, self._bytes = None, 0
            self._parts.append(self._unfinished().replace(shard_file(self._folder, len(self._parts))))
        self._bytes += sum(len(image["bytes"] or b"") for row in self._waiting for image in row["images"])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._unfinished(), self._schema, write_page_index=True)
        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []

    def _unfinished(self) -> Path:
        shard = shard_file(self._folder, len(self._parts))
        return shard.with_name(shard.name + ".tmp")


def write_readme(folder: Path) -> None:
    """The card of a folder of sets: which there are, and which of them are partial."""
    import yaml

    present = [task for task in BENCHMARKS if any((folder / task).glob("test*.parquet"))]
    configs = [
        {"config_name": task, "data_files": [{"split": "test", "path": f"{task}/test*.parquet"}]} for task in present
    ]
    missing = {task: missing_questions(str(folder), task) for task in present}
    lines = [f"- `{task}` is partial: {count} questions are missing.\n" for task, count in missing.items() if count]
    partial = "".join(["\nScores over a partial set are not those of the benchmark:\n\n", *lines] if lines else "")
    part = folder / "README.md.part"
    part.write_text(README.format(configs=yaml.safe_dump(configs, sort_keys=False), partial=partial), encoding="utf-8")
    part.replace(folder / "README.md")
