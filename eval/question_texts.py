"""The texts of a question set, without its pictures: for those who read answers and look at nothing."""

from pathlib import Path
from typing import Any

from cadvi_hub.errors import InputError

TEXTS = ["id", "question", "answer"]


def read_texts(data: str, task: str) -> list[dict[str, Any]]:
    """`id`, `question` and `answer` of all rows of set `task`, in the set's order.

    Args:
        data: folder of question sets, or a repository on the Hub, of which only these columns are read.
        task: name of the set.

    Raises:
        InputError: the set is not there, or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place, mend = f"question set {task!r} of {data}", "Make it with `cadvi benchmarks build`"
    local = Path(data).is_dir()
    rows: list[dict[str, Any]] = []
    try:
        if local:
            files: list[str] = sorted(str(file) for file in Path(data, task).glob("test*.parquet"))
        else:
            from huggingface_hub import HfFileSystem

            hub = HfFileSystem()
            files = sorted(hub.glob(f"datasets/{data}/{task}/test*.parquet"))
        for file in files:
            with Path(file).open("rb") if local else hub.open(file, "rb") as content:
                rows += pq.read_table(content, columns=TEXTS).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(place, f"cannot be read ({str(error).strip()})", mend) from error
    if rows and set(rows[0]) != set(TEXTS):
        raise InputError(place, f"it lacks a column of {', '.join(TEXTS)}", mend)
    if not rows:
        raise InputError(place, "it has no questions", mend)
    return rows
