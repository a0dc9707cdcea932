"""Benchmark sets on disk: `DIR/<task>/test.parquet`, in shards where it is large, and a card that lists the sets.

A set whose questions are not all there says so in the footer of its last file, so that the mark stays with the data
when it is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cadvi_hub.errors import InputError
from cadvi_hub.eval.benchmarks.question import OPTIONS, TASKS
from cadvi_hub.eval.benchmarks.stored import MISSING, missing_questions
from cadvi_hub.schema import question_features
from cadvi_hub.sources import Drops

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
    rows: Iterable[dict[str, Any]], folder: Path, missing: Drops | None = None, shard_bytes: int = SHARD_BYTES
) -> dict[str, int]:
    """Write rows of any tasks to `folder/<task>/`, so that `load_dataset(folder, task)` reads them.

    Files take their names when all are whole, older ones are replaced, and README.md then lists every set of the
    folder. At most 100 rows per task are in memory.

    Args:
        missing: counts the questions that were left out; may fill while `rows` is read.
        shard_bytes: bytes of pictures after which a set goes on in another file.

    Returns:
        Number of questions per task written.

    Raises:
        InputError: a row of an unknown task, or a folder that cannot be written.
    """
    counts: Counter[str] = Counter()
    sets: dict[str, _Set] = {}
    try:
        try:
            for row in rows:
                task = row["task"]
                if task not in OPTIONS:
                    raise InputError(str(row["id"]), f"unknown task {task!r}", f"Use one of {', '.join(TASKS)}")
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
    """The files of one set while they are written."""

    def __init__(self, folder: Path, shard_bytes: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit = folder, shard_bytes
        self._schema = question_features().arrow_schema
        self._waiting: list[dict[str, Any]] = []
        self._parts: list[Path] = []
        self._writer: Any = None
        self._bytes = 0
        for left_over in folder.glob("*.parquet.part"):  # of a run that was killed
            left_over.unlink()

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        if len(self._waiting) == ROW_GROUP:
            self._write()

    def close(self, missing: int) -> None:
        """Write what waits; `missing` questions are left out of the set."""
        if self._waiting or self._writer is None:
            self._write()
        if missing:
            self._writer.add_key_value_metadata({MISSING.decode(): str(missing)})
        self._end_file()

    def publish(self) -> None:
        """Give the files their names in the place of older ones."""
        total = len(self._parts)
        names = [f"test-{number:05d}-of-{total:05d}.parquet" for number in range(total)] if total > 1 else []
        names = names or ["test.parquet"]
        older = [file for file in self._folder.glob("test*.parquet") if file.name not in names]
        for part, name in zip(self._parts, names, strict=True):
            part.replace(self._folder / name)
        for file in older:
            file.unlink()
        self._parts = []

    def discard(self) -> None:
        """Remove what took no name."""
        if self._writer is not None:
            self._writer.close()
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._bytes >= self._limit:  # only now that another file has rows
            self._end_file()
        self._bytes += sum(len(image["bytes"] or b"") for row in self._waiting for image in row["images"])
        if self._writer is None:
            self._parts.append(self._folder / f"test-{len(self._parts):05d}.parquet.part")
            self._writer = pq.ParquetWriter(self._parts[-1], self._schema, write_page_index=True)
        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []

    def _end_file(self) -> None:
        self._writer.close()
        self._writer, self._bytes = None, 0


def write_readme(folder: Path) -> None:
    """The card of a folder of sets: which there are, and which of them are partial."""
    import yaml

    present = [task for task in TASKS if any((folder / task).glob("test*.parquet"))]
    configs = [
        {"config_name": task, "data_files": [{"split": "test", "path": f"{task}/test*.parquet"}]} for task in present
    ]
    missing = {task: missing_questions(str(folder), task) for task in present}
    lines = [f"- `{task}` is partial: {count} questions are missing.\n" for task, count in missing.items() if count]
    partial = "".join(["\nScores over a partial set are not those of the benchmark:\n\n", *lines] if lines else "")
    part = folder / "README.md.part"
    part.write_text(README.format(configs=yaml.safe_dump(configs, sort_keys=False), partial=partial), encoding="utf-8")
    part.replace(folder / "README.md")
