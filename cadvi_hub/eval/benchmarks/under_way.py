"""A set under way: its whole shards stay in `<set>/_work/`, and a build that was killed goes on after them.

`_work/inputs.json` says what they were made of; shards of other inputs are removed. Pictures are too many for it: the
folders are named there, and a picture that was missing and is there now ends the use of what was left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import locked, read_json, remove, write_json
from cadvi_hub.core.parquet import image_names
from cadvi_hub.eval.benchmarks.question import Question
from cadvi_hub.eval.benchmarks.stored import TEXTS

WORK = "_work"


class StaleShardsError(Exception):
    """The shards that a killed run left are not what this one begins with: a lost picture is there now, say."""


@contextmanager
def under_way(folder: Path, inputs: dict[str, Any]) -> Iterator[list[Path]]:
    """The whole shards that a run with the same `inputs` left in the set's `folder`, locked for one build.

    A StaleShardsError in the block removes them.

    Raises:
        InputError: another build is writing to this folder, or it cannot be written.
    """
    work, problem = folder / WORK, "another build is writing to this folder"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with locked(work / ".lock", folder, problem):
            made_of = work / "inputs.json"
            if not made_of.is_file() or read_json(made_of) != inputs:
                _remove_shards(work)
                write_json(made_of, inputs)
            try:
                yield list(takewhile(_is_whole, (shard_file(folder, number) for number in count())))
            except StaleShardsError:
                _remove_shards(work)
                raise
            finally:
                if not any(work.glob("*.parquet")):
                    remove(work)
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error})", "Make room or choose another folder") from error


def _remove_shards(work: Path) -> None:
    for shard in work.glob("*.parquet"):
        shard.unlink()


def shard_file(folder: Path, number: int) -> Path:
    """Where shard `number` of the set in `folder` waits for the others."""
    return folder / WORK / f"part-{number:05d}.parquet"


def _is_whole(shard: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_metadata(shard)
    except (pa.ArrowException, OSError):  # not there, or the machine went down before all of it was on disk
        return False
    return True


class KeptQuestions:
    """The questions in `shards`, in their order; pictures are not read."""

    def __init__(self, shards: Sequence[Path]):
        self._rows = _rows(shards)
        self._next = next(self._rows, None)

    def take(self, unit: Sequence[Question]) -> bool:
        """Whether the questions of `unit`, which belong together, come next; the ones after them are next then.

        Raises:
            StaleShardsError: some of them do and others do not.
        """
        if not self._comes_next(unit[0]):
            return False
        for question in unit:
            if not self._comes_next(question):
                raise StaleShardsError
            self._next = next(self._rows, None)
        return True

    def _comes_next(self, question: Question) -> bool:
        if self._next is None:
            return False
        row, names = self._next
        if (row["id"], row["question"], row["answer"]) != (question.id, question.text, question.answer):
            return False
        pairs = zip(names, question.names, strict=True)
        return all((name or "").startswith(asked) for name, asked in pairs)  # found with a suffix, maybe

    def check_no_more(self) -> None:
        """Raise StaleShardsError if a question is left: this run has another one in its place."""
        if self._next is not None:
            raise StaleShardsError


def _rows(shards: Sequence[Path]) -> Iterator[tuple[dict[str, Any], list[str | None]]]:
    import pyarrow.parquet as pq

    for shard in shards:
        texts = pq.read_table(shard, columns=TEXTS).to_pylist()
        yield from zip(texts, image_names(shard), strict=True)
