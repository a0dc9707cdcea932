"""Shards of a folder under way: parquet files that wait in `_work/` until all of them are whole.

    DIR/_work/part-00000.parquet …   whole shards
    DIR/_work/part-00000.json …      the record of each: size and digest of its file, and what was counted

A shard counts as whole if it has the recorded size, and a footer that can be read. One that is damaged is made again,
and the log names it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, read_json, remove, rename, replacing, sync, write_json
from cadvi_hub.core.manifest import Digesting, Entry, damage
from cadvi_hub.core.parquet import BYTES_PER_GROUP, ROWS_PER_GROUP, VIEWER_BYTES, is_whole

if TYPE_CHECKING:
    from datasets import Features
    from pyarrow.parquet import ParquetWriter

logger = logging.getLogger(__name__)
_OF_A_BUILD = re.compile(
    r"\.?(recipe|layout|part-\d{5})\.(json|parquet|lock)(\.tmp)?"
    r"|\.lock|\.held-(lock|part-\d{5}\.lock)"
    r"|\.?(records|captions|graphs)(\.tmp|\.old)?(/\.?\w+\.(jsonl?|sqlite[\w-]*)(\.tmp)?)?"
)


class ShardFolder:
    """A folder whose parquet files appear when all of them are whole; until then they wait in `path/_work`."""

    def __init__(self, path: Path):
        self.path, self.work = path, path / "_work"
        self._recipe = self.work / "recipe.json"

    def recipe(self) -> Json | None:
        """What the shards in `_work` are made of; None if nothing is under way."""
        return read_json(self._recipe) if self._recipe.is_file() else None

    def set_recipe(self, recipe: Json) -> None:
        write_json(self._recipe, recipe)

    def part(self, number: int) -> Path:
        """Where shard `number` waits for the others."""
        return self.work / f"part-{number:05d}.parquet"

    def has_part(self, number: int, verify: bool = False) -> bool:
        """Whether shard `number` is there and whole; with `verify`, its digest is compared, too."""
        part, record = self.part(number), self._record(number)
        if not part.is_file():
            return False
        try:
            manifest = {part.name: read_json(record).get("file")}
        except InputError as error:
            problems = [f"{record.name}: {error.problem}"]
        else:
            problems = list(shard_damage(self.work, manifest, verify))
        for problem in problems:
            logger.warning("%s: %s; the shard is made again", self.work, problem)
        return not problems

    def entry(self, number: int) -> Entry:
        """What was recorded of the file of shard `number`, which is whole."""
        entry: Entry = read_json(self._record(number))["file"]
        return entry

    def remove_parts(self) -> None:
        """Remove every shard that waits."""
        for file in self.work.glob("part-*"):
            if file.suffix in (".parquet", ".json"):
                file.unlink()

    def write_parts(
        self,
        first: int,
        rows: Iterable[Json],
        features: Features,
        *,
        before_close: Callable[[ParquetWriter], None] = lambda _: None,
        counts: Callable[[], Json] = dict,
        bytes_per_part: float = float("inf"),
        **options: Any,
    ) -> int:
        """Write `rows` to shard `first` and the ones after it; one row group is in memory at a time.

        Args:
            first: number of the first shard, which is written even if there are no rows.
            rows: the rows.
            features: their columns.
            before_close: called with the writer of the last shard when all rows are written.
            counts: called when a shard is written; what it returns is kept in the shard's record.
            bytes_per_part: bytes of images after which the rows go on in another shard.
            options: of the parquet writer.

        Returns:
            Number of the shard after the last one.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = features.arrow_schema  # carries the Features, so that load_dataset decodes the images
        groups, number = _row_groups(rows), first
        group = next(groups, None)
        while group or number == first:
            size = 0
            with replacing(self.part(number)) as file:
                digesting = Digesting(file)
                with pq.ParquetWriter(digesting, schema, write_page_index=True, **options) as writer:
                    while group and size < bytes_per_part:
                        writer.write_table(pa.Table.from_pylist(group, schema=schema))
                        size += sum(map(_picture_bytes, group))
                        group.clear()  # so that the images can be freed before the next ones are read
                        group = next(groups, None)
                    if not group:
                        before_close(writer)
                # Before the shard gets its name, which means that both are there.
                write_json(self._record(number), {"file": digesting.entry(), "counts": counts()})
            number += 1
        return number

    def publish(self, names: Mapping[str, str]) -> None:
        """Give the files in `_work` their final names; those that an earlier, killed run renamed already are left."""
        for part, name in names.items():
            if (self.work / part).is_file():
                rename(self.work / part, self.path / name, durable=False)
        sync(self.path)

    def check_work(self) -> None:
        """Make sure that `_work` holds only what a build makes, because it is removed at the end.

        Raises:
            InputError: it holds something else.
        """
        for entry in sorted(self.work.rglob("*")):
            if not _OF_A_BUILD.fullmatch(entry.relative_to(self.work).as_posix()):
                problem = "no build made it, and it would be removed with the work of one"
                raise InputError(str(entry), problem, "Move it away, and run the same command again")

    def remove_work(self) -> None:
        """Remove `_work`, unless it holds something else; raises whatever `check_work` raises."""
        self.check_work()
        remove(self.work)

    def _record(self, number: int) -> Path:
        return self.part(number).with_suffix(".json")


def _row_groups(rows: Iterable[Json]) -> Iterator[list[Json]]:
    """The rows in groups of at most `ROWS_PER_GROUP`, and of `BYTES_PER_GROUP` unless a single row is larger."""
    group: list[Json] = []
    size = 0
    for row in rows:
        more = _picture_bytes(row)
        if more > VIEWER_BYTES:
            message = "row %s has pictures of %d MB: the Hub's viewer shows no row above %d MB"
            logger.warning(message, row["id"], more / 1e6, VIEWER_BYTES / 1e6)
        if group and size + more > BYTES_PER_GROUP:
            yield group
            group, size = [], 0
        group.append(row)
        size += more
        if len(group) == ROWS_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _picture_bytes(row: Json) -> int:
    return sum(len(image["bytes"] or b"") for image in row["images"])


def shard_damage(folder: Path, manifest: Mapping[str, Any], verify: bool) -> Iterator[str]:
    """What is wrong with the parquet files of `manifest` in `folder`: their footers are read, too."""
    problems = list(damage(folder, manifest, digests=verify))
    yield from problems
    if not problems:
        yield from (f"the footer of {name} cannot be read" for name in manifest if not is_whole(folder / name))


def shard_names(split: str, count: int) -> list[str]:
    """Final names of `count` shards, as `datasets` writes them."""
    return [f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
