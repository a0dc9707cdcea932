"""What a stored question set says without its pictures: whether it is whole, and its texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular

MISSING = b"missing_questions"  # key in the footer of a set's last file
TEXTS = ["id", "question", "answer"]
_SHARD = re.compile(r"test(?:-\d{5}-of-(?P<total>\d{5}))?\.parquet")
_T = TypeVar("_T")
_HINT = "Make it with `cadvi benchmarks build`"


def missing_questions(data: str, task: str) -> int:
    """How many questions were left out of set `task` because their images are missing.

    Args:
        data: folder of question sets, or a repository on the Hub.
        task: name of the set.

    Raises:
        InputError: the set is not there, lacks a file, or cannot be read.
    """
    return sum(_of_each_file(data, task, missing_in_file))


def missing_in_file(file: Path | IO[bytes]) -> int:
    """The number of missing questions in the footer of one file."""
    import pyarrow.parquet as pq

    return int((pq.read_metadata(file).metadata or {}).get(MISSING, 0))


def check_complete(data: str, task: str) -> None:
    """Make sure that set `task` of `data` has all questions of the benchmark, so that nobody scores a partial set
    without knowing it.

    Raises:
        InputError: questions are missing, and whatever `missing_questions` raises.
    """
    if missing := missing_questions(data, task):
        problem = f"{missing} question(s) are missing because their pictures were not found"
        hint = "Build it again with all pictures (missing.jsonl names them), or set allow_partial to true"
        raise InputError(_place(data, task), problem, hint)


def read_texts(data: str, task: str) -> list[dict[str, Any]]:
    """`id`, `question` and `answer` of all rows of set `task`, in the set's order; no other column is read.

    Args:
        data: folder of question sets, or a repository on the Hub.
        task: name of the set.

    Raises:
        InputError: the set lacks a column or has no questions, and whatever `missing_questions` raises.
    """
    import pyarrow.parquet as pq

    files = _of_each_file(data, task, lambda file: pq.read_table(file, columns=TEXTS).to_pylist())
    rows = [row for file in files for row in file]
    if rows and set(rows[0]) != set(TEXTS):
        raise InputError(_place(data, task), f"it lacks a column of {', '.join(TEXTS)}", _HINT)
    if not rows:
        raise InputError(_place(data, task), "it has no questions", _HINT)
    return rows


def _of_each_file(data: str, task: str, read: Callable[[IO[bytes]], _T]) -> list[_T]:
    """What `read` finds in each file of the set; a problem becomes an InputError that names the set."""
    import fsspec
    import httpx
    import pyarrow as pa
    from huggingface_hub import HfFileSystem

    found = []
    try:
        local = Path(data).is_dir()
        system, root = (fsspec.filesystem("file"), data) if local else (HfFileSystem(), f"datasets/{data}")
        files = sorted(map(str, system.glob(f"{root}/{task}/test*.parquet")))
        for file in files:
            if local:
                check_regular(Path(file), _HINT)
            with system.open(file, "rb") as content:
                found.append(read(content))
    except (pa.ArrowException, OSError, ValueError, httpx.HTTPError) as error:
        raise InputError(_place(data, task), f"cannot be read ({str(error).strip()})", _HINT) from error
    totals = [match["total"] for match in (_SHARD.fullmatch(file.rpartition("/")[2]) for file in files) if match]
    if not files or {int(total or 1) for total in totals} != {len(files)}:
        raise InputError(_place(data, task), f"{len(files)} of its files are there", _HINT)
    return found


def _place(data: str, task: str) -> str:
    return f"question set {task!r} of {data}"
