"""Scene graphs on disk, by the file name of their picture: Visual Genome's would take 2 GB in each process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.scene_graph import GraphObject, SceneGraph
from cadvi_hub.sources import visual_genome
from cadvi_hub.sources.settings import SourceSettings


class GraphStore:
    """The graphs that `write_graphs` put into `file`; any number of processes may read them."""

    def __init__(self, file: Path):
        # Nobody writes to it any more, and locks are slow on a network disk.
        self._database = sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)

    def get(self, name: str) -> SceneGraph | None:
        """The graph of the picture with file name `name`."""
        row = self._database.execute("SELECT graph FROM graphs WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        objects, relations, complete = json.loads(row[0])
        things = [
            GraphObject(tuple(names), tuple(attributes), place, box and tuple(box))
            for names, attributes, place, box in objects
        ]
        return SceneGraph(tuple(things), tuple(map(tuple, relations)), complete)


def write_graphs(
    file: Path, folder: Path, wanted: Collection[str], bad_rows: Literal["refuse", "drop"], drops: Drops
) -> int:
    """Write the graphs of the wanted pictures from `folder` into the new `file`; returns how many there are.

    Raises:
        InputError: there are no graphs, one is bad and `bad_rows` is `refuse`, or the disk is full.
    """
    rows = ((name, _written(graph)) for name, graph in _read_graphs(folder, wanted, bad_rows, drops))
    try:
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA journal_mode=OFF")  # an incomplete file is thrown away
            database.execute("CREATE TABLE graphs (name TEXT PRIMARY KEY, graph TEXT NOT NULL)")
            number = database.executemany("INSERT INTO graphs VALUES (?, ?)", rows).rowcount
            database.commit()
    except sqlite3.Error as error:
        hint = "Free some space there and in the temporary folder (TMPDIR), then run it again"
        raise InputError(str(file), f"scene graphs cannot be stored ({error})", hint) from error
    return number


def _written(graph: SceneGraph) -> str:
    """`graph` as JSON; `dataclasses.astuple` would copy it deeply, which is slow."""
    objects = [(thing.names, thing.attributes, thing.place, thing.box) for thing in graph.objects]
    return json.dumps((objects, graph.relations, graph.complete), ensure_ascii=False)


def graph_files(folder: Path) -> list[Path]:
    """The files of `folder` that hold its graphs.

    Raises:
        InputError: there are no graphs.
    """
    from cadvi_hub.world import ground_truth

    drawn = folder / ground_truth.FILE
    return [drawn] if drawn.is_file() else visual_genome.graph_files(folder)


def _read_graphs(
    folder: Path, wanted: Collection[str], bad_rows: Literal["refuse", "drop"], drops: Drops
) -> Iterator[tuple[str, SceneGraph]]:
    from cadvi_hub.world import ground_truth

    if graph_files(folder) == [folder / ground_truth.FILE]:
        yield from ground_truth.read_scenes(folder, wanted).items()
        return
    names_of: dict[int, list[str]] = {}
    for name in sorted(wanted):
        if (number := visual_genome.image_id(name)) is not None:
            names_of.setdefault(number, []).append(name)
    settings = SourceSettings(folder, "visual_genome", bad_rows)
    for number, graph in visual_genome.read_scene_graphs(settings, names_of, drops):
        yield from ((name, graph) for name in names_of[number])
