"""`cadvi ground` counts what the scene graphs say of a built data set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import v1_features
from cadvi_hub.grounding.score import ground
from cadvi_hub.grounding.settings import GroundSettings
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    make_world(WorldSettings(captioned=40, similar=2, instruct=2, questions=2, out=folder / "world"))
    source = SourceSettings(folder / "world/captioned", "scenes")
    build(BuildSettings("v1", source, folder / "data", pairs=PairSettings(min_shared=1), max_rows=12))
    return folder


def test_a_built_data_set_is_checked_by_the_scenes_behind_its_pictures(world: Path) -> None:
    table = ground(GroundSettings(world / "data/v1", world / "world/captioned"))
    record = json.loads((world / "data/v1/grounding.json").read_text())
    total = sum((Counter(counts) for counts in record["statements"].values()), Counter[str]())
    assert record["rows"] == json.loads((world / "data/v1/build.json").read_text())["rows"] > 5
    assert total["supported"] > 0.9 * total.total() > 0
    assert record["drops"] == {}
    assert f"{'all':<20}{total.total():>11}" in table
    differences = record["differences"]
    assert sum(differences.values()) > 50
    assert f"of {sum(differences.values())} differences" in table
    assert f"shows {differences['contradicted']}, too" in table


@pytest.mark.parametrize(
    ("data", "graphs", "source", "problem"),
    [
        ("world", "world/captioned", None, "no finished build"),
        ("data/v1", "data", None, "scene_graphs.json"),
        ("data/v1", "world/similar", None, "no row has a scene graph of both images"),
        ("data/v1", "world/captioned", "coco", "no row has a scene graph of both images"),
    ],
)
def test_what_cannot_be_checked_is_an_error_that_says_why(
    world: Path, data: str, graphs: str, source: str | None, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        ground(GroundSettings(world / data, world / graphs, source))


def test_rows_of_visual_genome_find_their_graphs_by_number_and_others_are_counted(tmp_path: Path) -> None:
    def row(number: int, *names: str) -> dict[str, Any]:
        empty = {
            "messages": [],
            "shared_nouns": [],
            "annotator": "",
            "prompt_hash": "",
            "decoding": "",
            "captions": [],
        }
        images = [{"bytes": None, "path": name} for name in names]
        summary = {"commonalities": "Both images show a dog.", "differences": [{"aspect": "Counts", "text": "None."}]}
        return {"id": f"row {number}", "images": images, "source": "svit", "shared_nouns": [], **summary, **empty}

    rows = [row(0, "1.jpg", "2.jpg"), row(1, "1.jpg", "3.jpg"), row(2, "000000000001.jpg", "2.jpg")]
    schema = v1_features().arrow_schema
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "train-00000-of-00001.parquet")
    dog = {"object_id": 7, "names": ["dog"], "x": 0, "y": 0, "w": 1, "h": 1}
    graphs = [{"image_id": n, "objects": [dog], "relationships": []} for n in (1, 2)]
    (tmp_path / "scene_graphs.json").write_text(json.dumps(graphs))
    ground(GroundSettings(tmp_path, tmp_path))
    record = json.loads((tmp_path / "grounding.json").read_text())
    assert record["rows"] == 1
    assert record["statements"]["Commonalities"] == {"supported": 1, "contradicted": 0, "unknown": 0}
    assert record["drops"] == {"no scene graph of an image": {"count": 2, "first": ["row 1", "row 2"]}}
