"""The folder of one build: every file in it is whole, and a build that was killed goes on from there.

    out/v1/train-00000-of-00002.parquet …   the finished data set
    out/v1/build.json                       what was counted, and size and digest of each file; written last
    out/v1/_work/recipe.json                what the shards are made of
    out/v1/_work/part-00000.parquet …       finished shards of a build under way, each with its record (.json)
    out/v1/_work/layout.json                the final names, once all shards are there
    out/v1/_work/records/ …                 stages (`stages.py`)

A build that replaces another one leaves that as it is until all shards of its own are made.

A file counts as whole if it has the recorded size and, where it is parquet, a footer that can be read. One that is
damaged is made again, and the log names it. With `verify`, digests are compared, too.

Question sets are written the same way (`eval/benchmarks/writing.py`): their shards wait in `_work/`, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cadvi_hub.builder.shard_folder import ShardFolder, shard_damage, shard_names
from cadvi_hub.builder.stages import CAPTIONS, Stages
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import (
    Json,
    read_json,
    remove,
    rename,
    write_json,
    writing,
)
from cadvi_hub.core.locks import locked, locked_alone, shared
from cadvi_hub.core.manifest import Manifest
from cadvi_hub.core.parquet import is_whole

if TYPE_CHECKING:
    from datasets import Features

logger = logging.getLogger(__name__)
_MOVE = "Move it away, and run the same command again"


class BuildFolder(ShardFolder):
    """Shards, stages and report of a build at `path`; see `open_build_folder`.

    Args:
        digest: of the recipe, which decides what rows there are.
        pictures: the folders that images are read from. A build under way keeps to them, since it would mix two sets
            of images otherwise; a finished build may have had others.
        split: the finished files are named after it.
        verify: whether digests of files that are there are compared, too.
    """

    def __init__(self, path: Path, digest: str, pictures: Sequence[str], split: str, verify: bool = False):
        super().__init__(path)
        self.digest, self.split, self._verify = digest, split, verify
        self._is_complete: bool | None = None  # what was found last; to find it, files are read
        self._pictures = list(pictures)
        self.stages = Stages(self.work)
        self.report_file = path / "build.json"
        self._layout = self.work / "layout.json"

    def is_complete(self) -> bool:
        """Whether the report of this recipe is there, and every file that it names is whole."""
        if self._is_complete is None:
            is_ours = self._reported_digest() == self.digest
            problems = self._problems() if is_ours else []
            for problem in problems:
                logger.warning("%s: %s", self.path, problem)
            self._is_complete = is_ours and not problems
        return self._is_complete

    def _problems(self) -> list[str]:
        files = self.report()["files"]
        if isinstance(files, list):  # of a build before 0.2, which recorded names only
            return [f"{name} is missing or damaged" for name in files if not is_whole(self.path / name)]
        return list(shard_damage(self.path, files, self._verify))

    def report(self) -> Json:
        """What was counted; a complete build has it."""
        return read_json(self.report_file)

    def is_laid_out(self) -> bool:
        """Whether all shards are made and only `finish` is left to do."""
        return self._layout.is_file()

    def has_part(self, number: int, verify: bool = False) -> bool:
        return super().has_part(number, verify or self._verify)

    def write_part(self, number: int, rows: Iterable[Json], features: Features, counts: Callable[[], Json]) -> None:
        """Write one shard, and beside it what `counts` returns when all rows are read."""
        self.write_parts(number, rows, features, counts=counts, use_content_defined_chunking=True)

    @contextmanager
    def locked_part(self, number: int) -> Iterator[None]:
        """Keep other tasks away from shard `number`: with another number of tasks they may also make it.

        Raises:
            InputError: another task is making it.
        """
        file = self.work / f"part-{number:05d}.lock"
        with locked(file, self.path, f"another task makes shard {number}"):
            yield

    def part_counts(self, number: int) -> Json:
        """What was counted for shard `number`."""
        counts: Json = read_json(self._record(number))["counts"]
        return counts

    def lay_out(self, rows_per_part: Sequence[int], report: Json) -> None:
        """Fix the final names, once all shards are there; shards without rows get none."""
        filled = [number for number, rows in enumerate(rows_per_part) if rows]
        names = shard_names(self.split, len(filled))
        renames = {self.part(number).name: name for number, name in zip(filled, names, strict=True)}
        files: Manifest = {name: self.entry(number) for number, name in zip(filled, names, strict=True)}
        replaced = list(self.report()["files"]) if self.report_file.is_file() else []
        for name in names:
            if (self.path / name).exists() and name not in replaced:
                raise InputError(str(self.path / name), "no build made it, and this one would replace it", _MOVE)
        write_json(self._layout, {"renames": renames, "replaced": replaced, "report": {**report, "files": files}})

    def finish(self) -> None:
        """Give the shards their final names in the place of replaced files, write the report, and remove `_work`."""
        layout = read_json(self._layout)
        self.report_file.unlink(missing_ok=True)  # it describes the files that are replaced now
        self.publish(layout["renames"])
        for name in set(layout.get("replaced", ())) - set(layout["renames"].values()):
            (self.path / name).unlink(missing_ok=True)
        write_json(self.report_file, layout["report"])
        self._is_complete = None
        self.remove_work()

    def start(self, overwrite: bool) -> None:
        """Make sure that the content of the folder belongs to this build."""
        found = self._found_digest()
        if found is None and any(self.path.glob("*.parquet")):
            raise InputError(str(self.path), "the folder has parquet files of no build", "Choose another out")
        self.check_work()
        if self.is_complete():
            if found == self.digest:
                self.remove_work()  # left by a run that was killed while it removed it
            return
        if found not in (None, self.digest) or self._has_other_pictures():
            if not overwrite and self._holds_work():
                self.check()
            self._clear()
        elif self.report_file.is_file() and self.recipe() is None:
            logger.warning("%s: the data set is built again", self.path)
        if self.recipe() is None:  # shards of whatever a killed run was removing
            self.remove_work()
        self.work.mkdir(exist_ok=True)
        self.set_recipe({"digest": self.digest, "pictures": self._pictures})
        if self.is_laid_out():
            self._check_layout()

    def _check_layout(self) -> None:
        """Give up a layout that is damaged, or one of whose files is; the whole ones become shards again."""
        try:
            layout = read_json(self._layout)
        except InputError as error:
            logger.warning("%s", error)
            self._layout.unlink()
            return
        renames, files = layout["renames"], layout["report"]["files"]
        kept = {part: self.work / part for part in renames if (self.work / part).is_file()}
        there = {renames[part]: kept.get(part, self.path / renames[part]) for part in renames}
        problems = [
            problem
            for name, file in there.items()
            for problem in shard_damage(file.parent, {file.name: files.get(name)}, self._verify)
        ]
        if problems:
            for problem in problems:
                logger.warning("%s: %s; the shard is made again", self.path, problem)
            self._layout.unlink()
            for part, name in renames.items():
                if part not in kept and (self.path / name).is_file():
                    rename(self.path / name, self.work / part)
            if not self.report_file.is_file():  # nothing else names the files that were being replaced
                for name in layout.get("replaced", ()):
                    (self.path / name).unlink(missing_ok=True)

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
        recipe = None if self.is_complete() else self.recipe()
        return recipe is not None and recipe.get("pictures") != self._pictures

    def _found_digest(self) -> str | None:
        """The recipe of the build that is under way, otherwise of the finished one."""
        reported, recipe = self._reported_digest(), self.recipe()
        return str(recipe["digest"]) if recipe else reported

    def _reported_digest(self) -> str | None:
        if not self.report_file.is_file():
            return None
        report = self.report()
        if not {"digest", "files"} <= report.keys():
            raise InputError(str(self.report_file), "it is not the report of a build", "Choose another out")
        return str(report["digest"])

    def _holds_work(self) -> bool:
        """Whether a shard would be lost. Without one, a fixed recipe may take over the folder of a failed build."""
        shards = (*self.work.glob("part-*.parquet"), *self.path.glob("*.parquet"))
        return self.report_file.is_file() or self.is_laid_out() or bool(shards)

    def _clear(self) -> None:
        """Remove the work of another recipe but for its captions. What it has finished stays until this build is."""
        if self.is_laid_out() and not self.report_file.is_file():
            self.finish()  # it was killed while it gave its files their names
        if not self.work.is_dir():
            return
        for entry in self.work.iterdir():
            if entry != self._recipe and entry.name != CAPTIONS:
                remove(entry)


@contextmanager
def open_build_folder(
    path: Path,
    digest: str,
    overwrite: bool,
    pictures: Sequence[str] = (),
    split: str = "train",
    verify: bool = False,
) -> Iterator[BuildFolder]:
    """Lock `path` for one build; for the arguments see `BuildFolder`.

    Raises:
        InputError: another build is writing there, or, without `overwrite`, the folder has another recipe's build or
            one under way with other images.
    """
    folder = BuildFolder(path, digest, pictures, split, verify)
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
