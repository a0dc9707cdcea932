"""Visual Genome's files become scene graphs of the wanted images, and what is wrong in them is named."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.scene_graph import GraphObject, SceneGraph
from cadvi_hub.grounding.store import GraphStore, write_graphs
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.sources.visual_genome import image_id, read_scene_graphs

MAN = {"object_id": 11, "names": ["Man"], "x": 1, "y": 2, "w": 3, "h": 4.5, "synsets": ["man.n.01"]}
HORSE = {"object_id": 12, "names": ["horse", "brown  horse"], "x": 0, "y": 0, "w": 9, "h": 9, "synsets": []}
GRAPH = SceneGraph(
    (
        GraphObject(("man",), ("old", "light blue"), box=(1, 2, 3, 4.5)),
        GraphObject(("horse", "brown horse"), box=(0, 0, 9, 9)),
    ),
    ((0, "riding", 1),),
)


def write(folder: Path, **files: Any) -> SourceSettings:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return SourceSettings(folder, "visual_genome")


def scene_graphs(*numbers: int) -> list[dict[str, Any]]:
    objects = [MAN | {"attributes": ["old", "Light blue"]}, HORSE]
    relations = [{"predicate": "RIDING", "subject_id": 11, "object_id": 12, "relationship_id": 5, "synsets": []}]
    return [{"image_id": number, "objects": objects, "relationships": relations} for number in numbers]


def test_the_file_of_whole_graphs_is_read(tmp_path: Path) -> None:
    settings = write(tmp_path, scene_graphs=scene_graphs(1, 2))
    assert dict(read_scene_graphs(settings, {2}, Drops())) == {2: GRAPH}


def test_the_three_files_of_parts_come_to_the_same(tmp_path: Path) -> None:
    settings = write(
        tmp_path,
        objects=[{"image_id": 1, "objects": [MAN, HORSE | {"merged_object_ids": [99]}], "image_url": "…"}],
        attributes=[{"image_id": 1, "attributes": [MAN | {"attributes": ["old", "Light blue"]}, HORSE]}],
        relationships=[
            {
                "image_id": 1,
                "relationships": [
                    {"predicate": "riding", "subject": MAN, "object": {"object_id": 99, "name": "pony", "x": 0}},
                ],
            }
        ],
    )
    ((_, graph),) = read_scene_graphs(settings, {1}, Drops())
    assert sorted(o.names for o in graph.objects) == [("horse", "brown horse"), ("man",)]
    (man,) = (k for k, thing in enumerate(graph.objects) if thing.names == ("man",))
    assert graph.objects[man] == GRAPH.objects[0]
    assert graph.relations == ((man, "riding", 1 - man),)


def test_objects_alone_will_do(tmp_path: Path) -> None:
    settings = write(tmp_path, objects=[{"image_id": 1, "objects": [MAN]}])
    graphs = dict(read_scene_graphs(settings, {1}, Drops()))
    assert graphs == {1: SceneGraph((GraphObject(("man",), box=(1, 2, 3, 4.5)),))}


def test_images_that_nobody_wants_or_that_are_not_there_have_no_graph(tmp_path: Path) -> None:
    settings = write(tmp_path, scene_graphs=scene_graphs(1, 2, 3))
    assert [number for number, _ in read_scene_graphs(settings, {400, 3, 2}, Drops())] == [2, 3]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("VG_100K/2345.jpg", 2345),
        ("VG_100K_2/7.jpg", 7),
        ("2345.jpg", 2345),
        ("2345", 2345),
        ("000000002345.jpg", None),  # COCO's
        ("ADE_train_00000001.jpg", None),
        ("", None),
    ],
)
def test_a_file_name_tells_the_image_id(name: str, number: int | None) -> None:
    assert image_id(name) == number


BAD = [
    ({"objects": []}, "'image_id' is missing"),
    ({"image_id": 1, "objects": {}}, "'objects' is missing or not a list"),
    ({"image_id": 1, "objects": [[]]}, "an entry of 'objects' is not a JSON object"),
    ({"image_id": 1, "objects": [{"object_id": "x", "names": []}]}, "'object_id' is missing or not a number"),
    ({"image_id": 1, "objects": [{"object_id": 1, "names": [7]}]}, "is not a string"),
    (
        {"image_id": 1, "relationships": [{"predicate": "on", "subject_id": 5, "object_id": 6}]},
        "a relationship of an unknown object 5",
    ),
]


@pytest.mark.parametrize(("entry", "problem"), BAD)
def test_a_bad_entry_is_named_with_its_file_and_row(tmp_path: Path, entry: dict[str, Any], problem: str) -> None:
    settings = write(tmp_path, scene_graphs=[*scene_graphs(5), entry])
    with pytest.raises(InputError, match=problem) as caught:
        list(read_scene_graphs(settings, {1, 5}, Drops()))
    assert "scene_graphs.json, row 2" in str(caught.value)


def test_bad_entries_are_dropped_and_counted_where_asked(tmp_path: Path) -> None:
    settings = write(tmp_path, scene_graphs=[entry for entry, _ in BAD] + scene_graphs(5))
    settings.bad_rows = "drop"
    drops = Drops()
    assert dict(read_scene_graphs(settings, {1, 5}, drops)) == {5: GRAPH}
    assert drops.counts == {"unreadable row": len(BAD)}


@pytest.mark.parametrize("content", ["", "{}", '[{"image_id": 1, "obj', "[}"])
def test_a_file_that_is_torn_or_no_list_is_an_error(tmp_path: Path, content: str) -> None:
    settings = write(tmp_path, scene_graphs=content)
    with pytest.raises(InputError, match=r"scene_graphs\.json"):
        list(read_scene_graphs(settings, {1}, Drops()))


def test_a_folder_without_the_files_is_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither scene_graphs\.json nor objects\.json"):
        list(read_scene_graphs(SourceSettings(tmp_path, "visual_genome"), {1}, Drops()))


def test_graphs_are_kept_on_disk_and_found_by_file_name_in_little_memory(tmp_path: Path) -> None:
    write(tmp_path, scene_graphs=scene_graphs(*range(1, 4001)))
    file, wanted = tmp_path / "graphs.sqlite", {f"{k}.jpg" for k in range(1, 4001)} | {"000000000001.jpg"}
    tracemalloc.start()
    try:
        number = write_graphs(file, tmp_path, wanted, "refuse", Drops())
        graphs = GraphStore(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert number == 4000
    assert graphs.get("4000.jpg") == GRAPH
    assert graphs.get("000000000001.jpg") is None
    assert peak < 2_500_000  # 5.6 MB as Python's objects
    with pytest.raises(InputError, match="scene graphs cannot be stored"):
        write_graphs(tmp_path / "gone" / "graphs.sqlite", tmp_path, wanted, "refuse", Drops())
