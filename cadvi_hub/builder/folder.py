"""The folder of one build: what stands in it is whole, and a build that was killed goes on from there.

    out/v1/train-00000-of-00002.parquet …   the finished data set
    out/v1/build.json                       what was counted; written last, so its presence means "complete"
    out/v1/_work/                           stages and finished shards of a build under way

Every file is written under a temporary name and renamed. A shard's facts are renamed before the shard itself, so the
shard's presence vouches for both. When all shards stand, `layout.json` fixes the final names; from then on a rerun
only has renames left to do.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cadvi_hub.builder.stages import Stages
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, locked, locked_alone, read_json, remove, replacing, shared, write_json

if TYPE_CHECKING:
    from datasets import Features

CAPTIONS = "captions"  # the stage that tells by its facts what it was made of: it outlives a change of recipe
ROWS_PER_GROUP = 100  # the Hub's viewer reads whole row groups; with pictures, 100 rows are about 50 MB


class BuildFolder:
    """Shards, stages and report of a build at `path`; see `open_build_folder`.

    Args:
        digest: of the recipe, which decides what rows there are.
        pictures: the folders that pictures are read from. A finished build may have had others; one under way may not,
            for it would mix two sets of pictures.
        split: by which the finished files are named.
    """

    def __init__(self, path: Path, digest: str, pictures: Sequence[str], split: str):
        self.path, self.digest, self.split = path, digest, split
        self._started_with = {"digest": digest, "pictures": list(pictures)}
        self.work = path / "_work"
        self.stages = Stages(self.work)
        self.report_file = path / "build.json"
        self._layout, self._recipe = self.work / "layout.json", self.work / "recipe.json"

    def is_complete(self) -> bool:
        """Whether the report stands, with every file that it names."""
        return self.report_file.is_file() and all(
            (self.path / name).is_file() for name in read_json(self.report_file)["files"]
        )

    def report(self) -> Json:
        """What was counted; a complete build has it."""
        return read_json(self.report_file)

    def is_laid_out(self) -> bool:
        """Whether all shards are made and only `finish` is left to do."""
        return self._layout.is_file()

    def has_part(self, number: int) -> bool:
        return self._part(number).is_file()

    def write_part(self, number: int, rows: Iterable[Json], features: Features, facts: Json) -> None:
        """Write one shard; `facts` may fill while `rows` is read and is stored beside the shard."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = features.arrow_schema  # carries the Features, so that load_dataset decodes the images
        rows = iter(rows)
        with replacing(self._part(number)) as file:
            with pq.ParquetWriter(file, schema, use_content_defined_chunking=True, write_page_index=True) as writer:
                while group := list(islice(rows, ROWS_PER_GROUP)):
                    writer.write_table(pa.Table.from_pylist(group, schema=schema))
            write_json(self._facts(number), facts)

    @contextmanager
    def locked_part(self, number: int) -> Iterator[None]:
        """Keep other tasks away from shard `number`, which they may take for theirs: were more or fewer submitted.

        Raises:
            InputError: another task is making it.
        """
        file = self.work / f"part-{number:05d}.lock"
        with locked(file, self.path, f"another task makes shard {number}"):
            yield

    def part_facts(self, parts: int) -> list[Json]:
        """The facts of shards 0 … parts - 1."""
        return [read_json(self._facts(number)) for number in range(parts)]

    def lay_out(self, rows_per_part: list[int], report: Json) -> None:
        """Fix the final names, once all shards stand; shards without a row get none."""
        filled = [number for number, rows in enumerate(rows_per_part) if rows]
        names = [f"{self.split}-{index:05d}-of-{len(filled):05d}.parquet" for index in range(len(filled))]
        renames = {self._part(number).name: name for number, name in zip(filled, names, strict=True)}
        write_json(self._layout, {"renames": renames, "report": {**report, "files": names}})

    def finish(self) -> None:
        """Give the shards their final names, write the report, and remove what was work in progress."""
        layout = read_json(self._layout)
        for part, name in layout["renames"].items():
            if (self.work / part).is_file():  # else an earlier run, killed right after, renamed it
                (self.work / part).replace(self.path / name)
        write_json(self.report_file, layout["report"])
        shutil.rmtree(self.work)

    def start(self, overwrite: bool) -> None:
        """Make sure that what the folder holds belongs to this build."""
        found = self._found_digest()
        if found is None and any(self.path.glob("*.parquet")):
            raise InputError(str(self.path), "the folder holds parquet files of no build", "Choose another out")
        if found not in (None, self.digest) or self._has_other_pictures():
            if not overwrite and self._holds_work():
                self.check()
            self._clear()
        elif self.report_file.is_file() and not self.is_complete():
            self._clear()
        if found is None or self.is_complete():
            remove(self.work)  # a run was killed while it tidied up: what is left of its work is nobody's
        if not self.is_complete():
            self.work.mkdir(exist_ok=True)
            write_json(self._recipe, self._started_with)

    def check(self) -> None:
        """Raise InputError if the folder holds the build of another recipe, or one under way with other pictures."""
        found, hint = self._found_digest(), "Choose another out, or replace it with --overwrite true"
        if found not in (None, self.digest):
            problem = f"the folder holds the build of another recipe (digest {found}; this recipe: {self.digest})"
            raise InputError(str(self.path), problem, hint)
        if self._has_other_pictures():
            former = ", ".join(read_json(self._recipe).get("pictures", []))
            raise InputError(
                str(self.path), f"its shards show pictures of other folders ({former})", f"Name these. {hint}"
            )

    def _has_other_pictures(self) -> bool:
        under_way = self._recipe.is_file() and not self.report_file.is_file()
        return under_way and read_json(self._recipe).get("pictures") != self._started_with["pictures"]

    def _found_digest(self) -> str | None:
        for file in (self.report_file, self._recipe):
            if file.is_file():
                found = read_json(file)
                if file == self.report_file and not {"digest", "files"} <= found.keys():
                    raise InputError(str(file), "it is not the report of a build", "Choose another out")
                return found["digest"]
        return None

    def _holds_work(self) -> bool:
        """Whether a shard would be lost: a build that its source ended before must not bar the fixed recipe."""
        shards = (*self.work.glob("part-*.parquet"), *self.path.glob("*.parquet"))
        return self.report_file.is_file() or self.is_laid_out() or bool(shards)

    def _clear(self) -> None:
        """Remove another recipe's build; of one that is not finished, the captions stay."""
        for file in self.path.glob("*-of-*.parquet"):  # of any split: the other recipe may have had another one
            file.unlink()
        if self.report_file.is_file():
            remove(self.work)  # with the captions, of which a killed `finish` may have removed a part
            self.report_file.unlink()  # last: until then it says whose files these are
            return
        for entry in self.work.iterdir():
            if entry != self._recipe and entry.name != CAPTIONS:
                remove(entry)

    def _part(self, number: int) -> Path:
        return self.work / f"part-{number:05d}.parquet"

    def _facts(self, number: int) -> Path:
        return self.work / f"part-{number:05d}.json"


@contextmanager
def open_build_folder(
    path: Path, digest: str, overwrite: bool, pictures: Sequence[str] = (), split: str = "train"
) -> Iterator[BuildFolder]:
    """Lock `path` for one build; for the rest see `BuildFolder`.

    Raises:
        InputError: another build is writing there, or the folder holds another recipe's build, or one under way with
            other pictures, and `overwrite` is off.
    """
    path.mkdir(parents=True, exist_ok=True)
    with locked_alone(path / ".lock", path, "another build is writing to this folder"):
        folder = BuildFolder(path, digest, pictures, split)
        folder.start(overwrite)
        yield folder


@contextmanager
def share_build_folder(path: Path, digest: str, pictures: Sequence[str], split: str) -> Iterator[BuildFolder]:
    """The folder for one of several tasks that write its shards beside each other, and beside nobody else.

    Raises:
        InputError: a build is writing there by itself, or the folder holds another build's work.
    """
    with shared(path / ".lock", path, "a build is writing to this folder by itself"):
        folder = BuildFolder(path, digest, pictures, split)
        folder.check()
        yield folder
