"""Stages of a build: what was read, mined and looked up before shards are made, each kept as a folder of files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cadvi_hub.core.files import Json, read_json, remove, write_json


class Stages:
    """The stages in the folder `work`; one that is there is whole."""

    def __init__(self, work: Path):
        self._work = work

    def path(self, name: str) -> Path:
        return self._work / name

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def facts(self, name: str) -> Json:
        """What was counted while the stage was written."""
        return read_json(self.path(name) / "facts.json")

    @contextmanager
    def new(self, name: str, facts: Json) -> Iterator[Path]:
        """A folder for the files of a stage, which appears when the block has ended well, with `facts` as of then."""
        unfinished = self.path(f"{name}.tmp")
        remove(unfinished)
        unfinished.mkdir()
        yield unfinished
        write_json(unfinished / "facts.json", facts)
        unfinished.replace(self.path(name))

    def write(self, name: str, rows: Iterable[Any], size: int, facts: Json) -> None:
        """Keep `rows` in blocks of `size`, which can be read one by one.

        `facts` may fill while `rows` is read; the number of `records` and `blocks` is added.
        """
        rows, blocks, records = iter(rows), 0, 0
        with self.new(name, facts) as unfinished:
            while block := list(islice(rows, size)):
                with (unfinished / f"{blocks:05d}.jsonl").open("wb") as file:
                    file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in block)
                blocks, records = blocks + 1, records + len(block)
            facts |= {"records": records, "blocks": blocks}

    def read_block(self, name: str, number: int) -> list[Any]:
        """The rows of block `number` of a stage that `write` wrote."""
        with (self.path(name) / f"{number:05d}.jsonl").open("rb") as file:
            return list(map(json.loads, file))

    def remove(self, name: str) -> None:
        """Remove a stage at once: a run that is killed meanwhile leaves no torn one."""
        unfinished = self.path(f"{name}.tmp")
        remove(unfinished)
        self.path(name).replace(unfinished)
        remove(unfinished)
