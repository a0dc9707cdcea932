"""Stages of a build: what is read, mined and looked up before shards are made, each a folder of files."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import (
    Json,
    read_file,
    read_json,
    remove,
    rename,
    replacing_folder,
    temporary_name,
    write_json,
)
from cadvi_hub.core.manifest import damage, manifest_of

RECORDS = "records"  # the records that shards are cut from, a block per shard
CAPTIONS = "captions"  # captions with their nouns; kept when the recipe changes, since tagging takes long
GRAPHS, GRAPHS_FILE = "graphs", "graphs.sqlite"  # the scene graphs of the images
_FACTS = "facts.json"

logger = logging.getLogger(__name__)


class Stages:
    """The stages in the folder `work`."""

    def __init__(self, work: Path):
        self._work = work

    def path(self, name: str) -> Path:
        return self._work / name

    def has(self, name: str) -> bool:
        """Whether the stage is there, and all its files have the recorded sizes; one that is damaged is made again."""
        folder = self.path(name)
        if not folder.exists():
            return False
        try:
            problems = list(damage(folder, read_json(folder / _FACTS).get("files")))
        except InputError as error:
            problems = [f"{_FACTS}: {error.problem}"]
        for problem in problems:
            logger.warning("%s: %s; it is made again", folder, problem)
        return not problems

    def counts(self, name: str) -> Json:
        """What was counted while the stage was written."""
        facts = read_json(self.path(name) / _FACTS)
        del facts["files"]
        return facts

    @contextmanager
    def new(self, name: str, counts: Callable[[], Json]) -> Iterator[Path]:
        """A folder to fill, which becomes the stage at the end of the block, with what `counts` returns then."""
        with replacing_folder(self.path(name)) as folder:
            yield folder
            write_json(folder / _FACTS, {**counts(), "files": manifest_of(folder)})

    def write(self, name: str, rows: Iterable[Any], size: int, counts: Callable[[], Json]) -> None:
        """Keep `rows` in blocks of `size`, which can be read one by one.

        `counts` is called when all rows are read; the numbers of `records` and `blocks` are added.
        """
        rows, blocks, records = iter(rows), 0, 0
        with self.new(name, lambda: {**counts(), "records": records, "blocks": blocks}) as folder:
            while block := list(islice(rows, size)):
                with (folder / f"{blocks:05d}.jsonl").open("wb") as file:
                    file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in block)
                blocks, records = blocks + 1, records + len(block)

    def read_block(self, name: str, number: int) -> list[Any]:
        """The rows of block `number` of a stage that `write` wrote.

        Raises:
            InputError: the file was changed since.
        """
        file = self.path(name) / f"{number:05d}.jsonl"
        content = read_file(file)
        entry = read_json(self.path(name) / _FACTS)["files"][file.name]
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            hint = f"Remove {self.path(name)}; the same command makes it again"
            raise InputError(str(file), "it has other contents than when it was written", hint)
        return list(map(json.loads, content.splitlines()))

    def remove(self, name: str) -> None:
        """Remove a stage at once, so that a run that is killed here leaves no part of it."""
        unfinished = temporary_name(self.path(name))
        remove(unfinished)
        rename(self.path(name), unfinished)
        remove(unfinished)
