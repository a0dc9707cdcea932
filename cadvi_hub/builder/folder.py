"""The folder of one build: every file in it is whole, and a build that was killed goes on from there.

    out/v1/train-00000-of-00002.parquet …   the finished data set
    out/v1/build.json                       what was counted; written last, so it means "complete"
    out/v1/_work/recipe.json                what the shards are made of
    out/v1/_work/part-00000.parquet …       finished shards of a build under way, each with its counts (.json)
    out/v1/_work/layout.json                the final names, once all shards are there
    out/v1/_work/records/ …                 stages (`stages.py`)

Question sets are written the same way (`eval/benchmarks/writing.py`): their shards wait in `_work/`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.builder.stages import CAPTIONS, Stages
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import (
    Json,
    locked,
    locked_alone,
    read_json,
    remove,
    replacing,
    shared,
    write_json,
    writing,
)
from cadvi_hub.core.parquet import ROWS_PER_GROUP

if TYPE_CHECKING:
    from datasets import Features
    from pyarrow.parquet import ParquetWriter


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

    def write_parts(
        self,
        first: int,
        rows: Iterable[Json],
        features: Features,
        before_close: Callable[[ParquetWriter], None],
        bytes_per_part: float = float("inf"),
        **options: Any,
    ) -> int:
        """Write `rows` to shard `first` and the ones after it; 100 rows are in memory at a time.

        Args:
            first: number of the first shard, which is written even if there are no rows.
            rows: the rows.
            features: their columns.
            before_close: called with the writer of the last shard when all rows are written.
            bytes_per_part: bytes of images after which the rows go on in another shard.
            options: of the parquet writer.

        Returns:
            Number of the shard after the last one.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = features.arrow_schema  # carries the Features, so that load_dataset decodes the images
        rows, number = iter(rows), first
        group = list(islice(rows, ROWS_PER_GROUP))
        while group or number == first:
            size = 0
            with (
                replacing(self.part(number)) as file,
                pq.ParquetWriter(file, schema, write_page_index=True, **options) as writer,
            ):
                while group and size < bytes_per_part:
                    writer.write_table(pa.Table.from_pylist(group, schema=schema))
                    size += sum(len(image["bytes"] or b"") for row in group for image in row["images"])
                    group = []  # so that the images can be freed before the next ones are read
                    group = list(islice(rows, ROWS_PER_GROUP))
                if not group:
                    before_close(writer)
            number += 1
        return number

    def publish(self, names: Mapping[str, str]) -> None:
        """Give the files in `_work` their final names; those that an earlier, killed run renamed already are left."""
        for part, name in names.items():
            if (self.work / part).is_file():
                (self.work / part).replace(self.path / name)


def shard_names(split: str, count: int) -> list[str]:
    """Final names of `count` shards, as `datasets` writes them."""
    return [f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]


class BuildFolder(ShardFolder):
    """Shards, stages and report of a build at `path`; see `open_build_folder`.

    Args:
        digest: of the recipe, which decides what rows there are.
        pictures: the folders that images are read from. A build under way keeps to them, since it would mix two sets
            of images otherwise; a finished build may have had others.
        split: the finished files are named after it.
    """

    def __init__(self, path: Path, digest: str, pictures: Sequence[str], split: str):
        super().__init__(path)
        self.digest, self.split = digest, split
        self._pictures = list(pictures)
        self.stages = Stages(self.work)
        self.report_file = path / "build.json"
        self._layout = self.work / "layout.json"

    def is_complete(self) -> bool:
        """Whether the report is there, with every file that it names."""
        return self.report_file.is_file() and all((self.path / name).is_file() for name in self.report()["files"])

    def report(self) -> Json:
        """What was counted; a complete build has it."""
        return read_json(self.report_file)

    def is_laid_out(self) -> bool:
        """Whether all shards are made and only `finish` is left to do."""
        return self._layout.is_file()

    def has_part(self, number: int) -> bool:
        return self.part(number).is_file()

    def write_part(self, number: int, rows: Iterable[Json], features: Features, counts: Callable[[], Json]) -> None:
        """Write one shard, and beside it what `counts` returns when all rows are read."""

        def write_counts(_: ParquetWriter) -> None:
            write_json(self._counts(number), counts())  # before the shard, whose presence means that both are there

        self.write_parts(number, rows, features, write_counts, use_content_defined_chunking=True)

    @contextmanager
    def locked_part(self, number: int) -> Iterator[None]:
        """Keep other tasks away from shard `number`: with another number of tasks they may also make it.

        Raises:
            InputError: another task is making it.
        """
        file = self.work / f"part-{number:05d}.lock"
        with locked(file, self.path, f"another task makes shard {number}"):
            yield

    def part_counts(self, parts: int) -> list[Json]:
        """What was counted for shards 0 … parts - 1."""
        return [read_json(self._counts(number)) for number in range(parts)]

    def lay_out(self, rows_per_part: Sequence[int], report: Json) -> None:
        """Fix the final names, once all shards are there; shards without rows get none."""
        filled = [self.part(number).name for number, rows in enumerate(rows_per_part) if rows]
        names = shard_names(self.split, len(filled))
        renames = dict(zip(filled, names, strict=True))
        write_json(self._layout, {"renames": renames, "report": {**report, "files": names}})

    def finish(self) -> None:
        """Give the shards their final names, write the report, and remove `_work`."""
        layout = read_json(self._layout)
        self.publish(layout["renames"])
        write_json(self.report_file, layout["report"])
        remove(self.work)

    def start(self, overwrite: bool) -> None:
        """Make sure that the content of the folder belongs to this build."""
        found = self._found_digest()
        if found is None and any(self.path.glob("*.parquet")):
            raise InputError(str(self.path), "the folder has parquet files of no build", "Choose another out")
        if found not in (None, self.digest) or self._has_other_pictures():
            if not overwrite and self._holds_work():
                self.check()
            self._clear()
        elif self.report_file.is_file() and not self.is_complete():
            self._clear()
        if found is None or self.is_complete():
            remove(self.work)  # left by a run that was killed while it removed it
        if not self.is_complete():
            self.work.mkdir(exist_ok=True)
            self.set_recipe({"digest": self.digest, "pictures": self._pictures})

    def check(self) -> None:
        """Raise InputError if the folder has the build of another recipe, or one under way with other images."""
        found, hint = self._found_digest(), "Choose another out, or replace it with --overwrite true"
        if found not in (None, self.digest):
            problem = f"the folder holds the build of another recipe (digest {found}; this recipe: {self.digest})"
            raise InputError(str(self.path), problem, hint)
        if self._has_other_pictures():
            former = ", ".join((self.recipe() or {}).get("pictures", []))
            problem = f"its shards have pictures of other folders ({former})"
            raise InputError(str(self.path), problem, f"Use these folders. {hint}")

    def _has_other_pictures(self) -> bool:
        recipe = None if self.report_file.is_file() else self.recipe()
        return recipe is not None and recipe.get("pictures") != self._pictures

    def _found_digest(self) -> str | None:
        if self.report_file.is_file():
            report = self.report()
            if not {"digest", "files"} <= report.keys():
                raise InputError(str(self.report_file), "it is not the report of a build", "Choose another out")
            return str(report["digest"])
        recipe = self.recipe()
        return str(recipe["digest"]) if recipe else None

    def _holds_work(self) -> bool:
        """Whether a shard would be lost. Without one, a fixed recipe may take over the folder of a failed build."""
        shards = (*self.work.glob("part-*.parquet"), *self.path.glob("*.parquet"))
        return self.report_file.is_file() or self.is_laid_out() or bool(shards)

    def _clear(self) -> None:
        """Remove another recipe's build; the captions of an unfinished one stay."""
        for file in self.path.glob("*-of-*.parquet"):  # of any split: the other recipe may have had another one
            file.unlink()
        if self.report_file.is_file():
            remove(self.work)  # captions too: a killed `finish` may have removed some of them
            self.report_file.unlink()  # last: until then it says whose files these are
            return
        for entry in self.work.iterdir():
            if entry != self._recipe and entry.name != CAPTIONS:
                remove(entry)

    def _counts(self, number: int) -> Path:
        return self.part(number).with_suffix(".json")


@contextmanager
def open_build_folder(
    path: Path, digest: str, overwrite: bool, pictures: Sequence[str] = (), split: str = "train"
) -> Iterator[BuildFolder]:
    """Lock `path` for one build; for the arguments see `BuildFolder`.

    Raises:
        InputError: another build is writing there, or, without `overwrite`, the folder has another recipe's build or
            one under way with other images.
    """
    folder = BuildFolder(path, digest, pictures, split)
    with ExitStack() as stack:
        with writing(path, every_error=True):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked_alone(path / ".lock", path, "another build is writing to this folder"))
            folder.start(overwrite)
        yield folder


@contextmanager
def share_build_folder(path: Path, digest: str, pictures: Sequence[str], split: str) -> Iterator[BuildFolder]:
    """The folder for one of several tasks that make its shards at the same time.

    Raises:
        InputError: a build has the folder for itself, or the folder has another build's work.
    """
    with shared(path / ".lock", path, "a build is writing to this folder by itself"):
        folder = BuildFolder(path, digest, pictures, split)
        folder.check()
        yield folder
