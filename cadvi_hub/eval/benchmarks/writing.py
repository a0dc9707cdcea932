"""Question sets on disk: `DIR/<task>/test.parquet`, in shards where it is large, and a card that lists the sets.

Whole shards wait in `DIR/<task>/_work/` (`builder/shard_folder.py`), so that a build that was killed goes on after
them. An older set stays as it is until all shards of the new one are whole. A set that lacks questions says so in the
footer of its last file: there the mark stays with the data when it is published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.builder.shard_folder import ShardFolder, shard_names
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, write_text, writing
from cadvi_hub.core.output import OutputFolder, open_output
from cadvi_hub.core.parquet import count_rows
from cadvi_hub.core.schema import question_features
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, find_benchmark
from cadvi_hub.eval.benchmarks.stored import MISSING, missing_questions

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter

SHARD_BYTES = 500_000_000  # of images, as `datasets` cuts its own

SHARDS, RECORD, MISSING_FILE, CARD = "test*.parquet", "build.json", "missing.jsonl", "README.md"
COMMAND = "cadvi benchmarks build"
EVAL_YAML = "eval.yaml"
_EVAL_HEAD = """# Tasks of these question sets, for the Hub. inspect-ai's own loader of this file takes one image
# per question: run the tasks with eval/inspect_tasks.py of cadvi-hub, or with lighteval.
"""
_SHORT = 60.0  # seconds
HEAD = "# Benchmark questions\n\nOne configuration per set, split `test`"
README = """---
configs:
{configs}---

{head}. `question` is the full prompt with `<image>` where each image goes; `options`
is empty for open questions; `group` joins the questions that count together.
{sources}{partial}"""


def write_questions(
    rows: Iterable[dict[str, Any]],
    folder: Path,
    missing: Drops | None = None,
    shard_bytes: int = SHARD_BYTES,
    kept: Mapping[str, Sequence[Path]] | None = None,
) -> dict[str, int]:
    """Write rows, task by task, to `folder/<task>/`, so that `load_dataset(folder, task)` reads them.

    When all files are whole they get their names and replace older ones, and README.md lists every set of the folder.
    At most 100 rows are in memory.

    Args:
        rows: rows of `question_features`; those of one task follow each other.
        folder: where the sets are.
        missing: counts the questions that are left out, while `rows` is read.
        shard_bytes: bytes of images after which a set goes on in another file.
        kept: the whole shards of a task that a killed run left (`under_way`); `rows` are what comes after them.

    Returns:
        Number of questions per task.

    Raises:
        InputError: a row of an unknown task, tasks that take turns, or a folder that cannot be written.
    """
    parts: dict[str, list[Path]] = {task: list(shards) for task, shards in (kept or {}).items()}
    begun: set[str] = set()

    def mark(writer: ParquetWriter) -> None:
        if missing and missing.counts:
            writer.add_key_value_metadata({MISSING.decode(): str(sum(missing.counts.values()))})

    def write(task: str, of_task: Iterable[dict[str, Any]]) -> None:
        find_benchmark(task, "task")
        if task in begun:
            raise InputError(f"task {task!r}", "its rows do not follow each other", "Write one set after the other")
        begun.add(task)
        shards, first = ShardFolder(folder / task), len(parts.setdefault(task, []))
        shards.work.mkdir(parents=True, exist_ok=True)
        end = shards.write_parts(first, of_task, question_features(), before_close=mark, bytes_per_part=shard_bytes)
        parts[task] += map(shards.part, range(first, end))

    with writing(folder, every_error=True):
        try:
            for task, of_task in groupby(rows, key=itemgetter("task")):
                write(task, of_task)
            for task in parts.keys() - begun:
                if missing and missing.counts:
                    write(task, ())  # nothing comes after the kept shards, and none of them has the mark
            counts = {task: sum(map(count_rows, shards)) for task, shards in parts.items()}
            for task, shards in parts.items():
                _publish(ShardFolder(folder / task), shards)
        finally:
            for work in (ShardFolder(folder / task).work for task in begun):
                if work.is_dir() and not any(work.iterdir()):
                    work.rmdir()
        write_readme(folder)
    return counts


def _publish(shards: ShardFolder, parts: Sequence[Path]) -> None:
    """Give the files of a set their names in the place of older ones."""
    names = ["test.parquet"] if len(parts) == 1 else shard_names("test", len(parts))
    files = OutputFolder(shards.path, COMMAND, set_before_records)
    files.check([SHARDS])
    files.claim([*names, RECORD])
    (shards.path / RECORD).unlink(missing_ok=True)  # it describes the older files
    for file in shards.path.glob(SHARDS):
        if len(parts) > 1 or file.name not in names:  # shards of two sets, as many of each, would look like one
            file.unlink()
    shards.publish({part.name: name for part, name in zip(parts, names, strict=True)})
    shards.remove_work()


def set_before_records(folder: Path) -> list[str]:
    """What an earlier version wrote to the folder of a set."""
    try:
        is_ours = json.loads(read_file(folder / RECORD))["config"] == folder.name
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [RECORD, MISSING_FILE, *(file.name for file in folder.glob(SHARDS))] if is_ours else []


def _card_before_records(folder: Path) -> list[str]:
    card = folder / CARD
    return [CARD] if card.is_file() and HEAD in card.read_text(encoding="utf-8", errors="replace") else []


@contextmanager
def open_card(folder: Path) -> Iterator[Path]:
    """The card of a folder of sets, for one process at a time.

    Raises:
        InputError: somebody else wrote it.
    """
    with open_output(folder, COMMAND, _card_before_records, timeout=_SHORT) as output:
        output.claim([CARD, EVAL_YAML])
        yield folder / CARD


def write_readme(folder: Path) -> None:
    """The card of a folder of sets, which says which are there and which are partial, and their `eval.yaml`."""
    import yaml

    present = BENCHMARKS.in_order(file.parent.name for file in folder.glob("*/test*.parquet"))
    configs = [
        {"config_name": task, "data_files": [{"split": "test", "path": f"{task}/test*.parquet"}]} for task in present
    ]
    missing = {task: missing_questions(str(folder), task) for task in present}
    lines = [f"- `{task}` is partial: {count} questions are missing.\n" for task, count in missing.items() if count]
    partial = "".join(["\nScores over a partial set are not those of the benchmark:\n\n", *lines] if lines else "")
    yaml_head = yaml.safe_dump(configs, sort_keys=False)
    with open_card(folder) as card:
        write_text(card, README.format(configs=yaml_head, head=HEAD, sources=_sources(present), partial=partial))
        write_text(folder / EVAL_YAML, _EVAL_HEAD + yaml.safe_dump(_tasks(present, missing), sort_keys=False))


def _tasks(present: Sequence[str], missing: Mapping[str, int]) -> dict[str, Any]:
    """`eval.yaml`: the sets that are whole (https://huggingface.co/docs/hub/eval-results)."""
    return {
        "name": "Comparing images",
        "description": "Questions about two or more images: what differs, which image suits a caption.",
        "evaluation_framework": "inspect-ai",
        "tasks": [{"id": task, "config": task, "split": "test"} for task in present if not missing[task]],
    }


def _sources(present: Sequence[str]) -> str:
    """A table of where the sets come from, and of their licences."""
    rows = [(task, source) for task in present if (source := BENCHMARKS[task].provenance)]
    if not rows:
        return ""
    lines = ["", "| set | from | licence | columns | known faults |", "|---|---|---|---|---|"]
    lines += [f"| `{task}` | {' | '.join(each or '–' for each in source)} |" for task, source in rows]
    return "\n".join([*lines, ""])
