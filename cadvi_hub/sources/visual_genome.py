"""Visual Genome's scene graphs: what people marked in each picture, with attributes and relations; never complete.

Each file is one JSON list with an entry per image, too large to parse as a whole:

- `scene_graphs.json`: `image_id`, `objects` (`object_id`, `names`, `x`, `y`, `w`, `h`, optional `attributes`) and
  `relationships` (`predicate`, `subject_id`, `object_id`); if it exists, no other file is read;
- `objects.json`: `image_id`, `objects` as above, with optional `merged_object_ids`: other ids of the same object;
- `attributes.json`: `image_id`, `attributes` (`object_id`, `names`, `attributes`);
- `relationships.json`: `image_id`, `relationships` (`predicate`, and `subject` and `object`, each with `object_id` and
  `name` or `names`).

Format: https://homes.cs.washington.edu/~ranjay/visualgenome/api.html
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.json_stream import list_rows
from cadvi_hub.core.scene_graph import Box, GraphObject, SceneGraph
from cadvi_hub.sources.rows import Row, items, mapping, read_rows, text, unreadable
from cadvi_hub.sources.settings import SourceSettings

Value = TypeVar("Value")

WHOLE = "scene_graphs.json"
PARTS = ("objects.json", "attributes.json", "relationships.json")


def image_id(name: str) -> int | None:
    """The image id in a file name (`VG_100K_2/2345.jpg`, `2345.jpg`), or None if it is not a Visual Genome name."""
    stem = PurePosixPath(name).stem
    return int(stem) if stem.isdecimal() and not stem.startswith("0") else None  # COCO pads its numbers with zeros


def graph_files(folder: Path) -> list[Path]:
    """The files of the format to read.

    Raises:
        InputError: there are none.
    """
    whole = folder / WHOLE
    files = [whole] if whole.is_file() else [folder / name for name in PARTS if (folder / name).is_file()]
    if not files:
        problem = f"neither {WHOLE} nor {', '.join(PARTS)} is there"
        raise InputError(str(folder), problem, "Name the folder of Visual Genome's files")
    return files


def read_scene_graphs(
    settings: SourceSettings, wanted: Collection[int], drops: Drops
) -> Iterator[tuple[int, SceneGraph]]:
    """Image id and graph of each of the `wanted` images in the files, by ascending id.

    The entries of an image are collected on disk, in the temporary folder, so memory does not grow with the files.

    Raises:
        InputError: no file of the format, a file that is torn or has another form, or a bad entry if
            `settings.bad_rows` is `refuse`.
    """
    with closing(sqlite3.connect("")) as database:  # an unnamed file that is removed with the connection
        database.execute("CREATE TABLE entries (image INTEGER, entry TEXT)")
        for file in graph_files(settings.path):
            database.executemany("INSERT INTO entries VALUES (?, ?)", _entries(file, wanted, settings, drops))
        database.execute("CREATE INDEX by_image ON entries (image)")
        found = database.execute("SELECT image, entry FROM entries ORDER BY image, rowid")
        for number, entries in groupby(found, itemgetter(0)):
            draft = _Draft()
            for _, entry in entries:
                draft.add(_draft(json.loads(entry)))
            yield number, draft.graph()


@dataclass
class _Draft:
    """What the files say about one image, by object id."""

    names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    attributes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    relations: list[tuple[int, str, int]] = field(default_factory=list)

    def add(self, other: _Draft) -> None:
        """Add what another file says; values that are known already are kept."""
        self.merged |= other.merged
        self.relations += other.relations
        self.names = self._own(other.names) | self.names
        self.attributes = self._own(other.attributes) | self.attributes
        self.boxes = self._own(other.boxes) | self.boxes

    def _own(self, values: dict[int, Value]) -> dict[int, Value]:
        return {self.merged.get(number, number): value for number, value in values.items()}

    def graph(self) -> SceneGraph:
        place = {number: k for k, number in enumerate(self.names)}
        objects = [GraphObject(self.names[n], self.attributes.get(n, ()), box=self.boxes.get(n)) for n in place]
        ends = [(self.merged.get(s, s), predicate, self.merged.get(o, o)) for s, predicate, o in self.relations]
        return SceneGraph(tuple(objects), tuple((place[s], predicate, place[o]) for s, predicate, o in ends))


def _entries(file: Path, wanted: Collection[int], settings: SourceSettings, drops: Drops) -> Iterator[tuple[int, str]]:
    """The checked entry of each wanted image in `file`, as JSON; reading stops after the last one."""

    def make_record(row: Row) -> tuple[int, str] | None:
        number = _number(row, "image_id")
        if number not in wanted:
            return None
        _draft(row)
        return number, json.dumps(row)

    left = set(wanted)
    for record in read_rows(file, list_rows(file), make_record, settings, drops):
        if record is not None:
            left.discard(record[0])
            yield record
        if not left:
            return


def _draft(row: Row) -> _Draft:
    draft = _Draft()
    for thing in _objects(row, "objects") + _objects(row, "attributes"):
        _add_object(draft, thing)
    for relation in _objects(row, "relationships"):
        ends = []
        for end in ("subject", "object"):
            if end in relation:  # the thing itself, with its name
                ends.append(_add_object(draft, mapping(relation[end], f"the {end} of a relationship")))
            else:
                ends.append(_number(relation, f"{end}_id"))
                if ends[-1] not in draft.names:
                    raise unreadable(f"a relationship of an unknown object {ends[-1]}")
        draft.relations.append((ends[0], _word(text(relation, "predicate")), ends[1]))
    return draft


def _add_object(draft: _Draft, thing: Row) -> int:
    number = _number(thing, "object_id")
    names = tuple(filter(None, _words([thing["name"]] if "name" in thing else items(thing, "names"))))
    draft.names.setdefault(number, names)
    if thing.get("attributes"):
        draft.attributes[number] = draft.attributes.get(number, ()) + _words(items(thing, "attributes"))
    box = tuple(thing.get(key) for key in "xywh")
    if all(isinstance(side, int | float) and not isinstance(side, bool) for side in box):
        draft.boxes[number] = box  # type: ignore[assignment]
    draft.merged |= {other: number for other in thing.get("merged_object_ids", ()) if isinstance(other, int)}
    return number


def _objects(row: Row, key: str) -> list[Row]:
    return [mapping(value, f"an entry of {key!r}") for value in items(row, key)] if key in row else []


def _number(row: Row, key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise unreadable(f"key {key!r} is missing or not a number")
    return value


def _words(values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise unreadable("a name or an attribute is not a string")
    return tuple(map(_word, values))


def _word(value: str) -> str:
    """In lower case, with single spaces."""
    return " ".join(value.lower().split())
