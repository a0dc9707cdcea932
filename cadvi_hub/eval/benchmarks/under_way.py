"""A question set under way: the whole shards that a killed run left, and the questions in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from cadvi_hub.builder.shard_folder import ShardFolder
from cadvi_hub.core.files import writing
from cadvi_hub.core.parquet import image_names, read_rows
from cadvi_hub.eval.benchmarks.question import Question
from cadvi_hub.eval.benchmarks.stored import TEXTS, missing_in_file


class StaleShardsError(Exception):
    """The shards that a killed run left are not what this run begins with: an image that was missing is found, say."""


@contextmanager
def under_way(folder: Path, inputs: dict[str, Any]) -> Iterator[list[Path]]:
    """The whole shards that a killed run left in the set's `folder`, which the caller has locked.

    Shards of other `inputs` are removed first. Images are too many for `inputs`, which names their folders alone: an
    image that was missing and is found now leads to a StaleShardsError in the block, which removes the shards.

    Raises:
        InputError: the folder cannot be written, or there are files of others in its `_work`.
    """
    shards = ShardFolder(folder)
    with writing(folder, every_error=True):
        shards.work.mkdir(parents=True, exist_ok=True)
        shards.check_work()
        if shards.recipe() != inputs:
            shards.remove_parts()
            shards.set_recipe(inputs)
        try:
            whole = takewhile(shards.has_part, count())
            yield list(takewhile(_goes_on, map(shards.part, whole)))
        except StaleShardsError:
            shards.remove_parts()
            raise
        finally:
            if not any(shards.work.glob("*.parquet")):
                shards.remove_work()


def _goes_on(shard: Path) -> bool:
    """Whether others can follow the shard: a mark is in the last one alone."""
    return not missing_in_file(shard)


class KeptQuestions:
    """The questions in `shards`, in their order; images are not read."""

    def __init__(self, shards: Sequence[Path]):
        self._rows = (row for shard in shards for row in zip(read_rows(shard, TEXTS), image_names(shard), strict=True))
        self._next = next(self._rows, None)

    def take(self, unit: Sequence[Question]) -> bool:
        """Whether the questions of `unit`, which belong together, come next; if so, goes on to the ones after them.

        Raises:
            StaleShardsError: some of them come next and others do not.
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
        return all((name or "").startswith(asked) for name, asked in pairs)  # a suffix may have been added

    def check_no_more(self) -> None:
        """Raise StaleShardsError if a question is left: this run has another one in its place."""
        if self._next is not None:
            raise StaleShardsError
