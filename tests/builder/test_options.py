"""What a build does beside the method: similarity, scene graphs as a filter, references, further phases, mining."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.builder.build import build
from cadvi_hub.builder.plan import make_plan
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import v1_features, v2_features
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings
from tests.support.builds import FakeAnnotator, captioned_source, contents, load, report
from tests.support.openai_server import Answer, openai_server
from tests.support.tiny_clip import make_clip


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    return BuildSettings("v1", captioned_source(tmp_path / "captioned"), tmp_path / "out", PairSettings(min_shared=1))


def test_pairs_are_scored_by_a_clip_model_where_one_is_named(settings: BuildSettings, tmp_path: Path) -> None:
    assert set(load(build(settings, FakeAnnotator()))["clip_sim_score"]) == {None}
    scored = replace(settings, out=tmp_path / "scored", clip_model=str(make_clip(tmp_path / "clip")))
    rows = load(build(scored, FakeAnnotator()))
    assert rows.features == v1_features()
    assert len(set(rows["clip_sim_score"])) > 1
    assert all(-1 <= score <= 1 for score in rows["clip_sim_score"])


def test_summaries_that_scene_graphs_contradict_are_dropped(tmp_path: Path) -> None:
    world = make_world(WorldSettings(captioned=60, similar=1, instruct=1, questions=1, out=tmp_path / "world"))
    source = SourceSettings(world / "captioned", "scenes")
    given = BuildSettings("v1", source, tmp_path / "true", PairSettings(min_shared=1), max_rows=20)
    kept = report(build(replace(given, graphs=world / "captioned")))
    assert kept["rows"] == 20
    assert kept["graphs"]["images_with_a_graph"] == kept["graphs"]["images"] > 20
    wrong = tmp_path / "graphs"
    wrong.mkdir()
    scenes = [json.loads(line) for line in (world / "captioned/scenes.jsonl").read_text().splitlines()]
    images = [scene["image"] for scene in scenes]
    rows = [{**scene, "image": image} for scene, image in zip(scenes, images[1:] + images[:1], strict=True)]
    (wrong / "scenes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"no row is left \(20 × ungrounded"):
        build(replace(given, out=tmp_path / "false", graphs=wrong))
    lenient = replace(given, out=tmp_path / "lenient", graphs=wrong, max_contradicted=1.0)
    assert report(build(lenient))["rows"] == 20


def test_scene_graphs_of_no_image_of_the_build_are_an_error(settings: BuildSettings, tmp_path: Path) -> None:
    entry = {"image_id": 77, "objects": [], "relationships": []}
    (tmp_path / "scene_graphs.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match=f"^{tmp_path}: none of the 4 images has a scene graph there"):
        build(replace(settings, graphs=tmp_path), FakeAnnotator())


def test_each_process_looks_its_scene_graphs_up_and_bad_ones_are_counted(
    settings: BuildSettings, tmp_path: Path
) -> None:
    entries = [{"image_id": number, "objects": [{"object_id": 1, "names": ["dog"]}]} for number in range(1, 6)]
    (tmp_path / "scene_graphs.json").write_text(json.dumps([*entries[:4], {"image_id": "5"}]))
    source = replace(settings.source, bad_rows="drop")
    given = replace(
        settings, source=source, graphs=tmp_path, annotator=AnnotatorSettings(min_words=1), rows_per_shard=2
    )
    built = build(replace(given, workers=2))
    counted = report(built)["graphs"]
    assert (counted["images"], counted["images_with_a_graph"]) == (4, 2)  # 0 is no image id, and 5 cannot be read
    assert counted["drops"]["unreadable row"]["count"] == 1
    assert contents(build(replace(given, out=tmp_path / "one"))) == contents(built)


def test_the_digest_is_of_the_graphs_that_are_read_and_no_other_file(tmp_path: Path) -> None:
    world = make_world(WorldSettings(captioned=20, similar=1, instruct=1, questions=1, out=tmp_path / "world"))
    source, graphs = SourceSettings(world / "captioned", "scenes"), world / "captioned/scenes.jsonl"
    given = BuildSettings("v1", source, tmp_path / "out", PairSettings(min_shared=1), graphs=graphs.parent)
    before = make_plan(given).digest
    (graphs.parent / "other.json").write_text("{}")
    assert make_plan(given).digest == before
    graphs.write_text(graphs.read_text() + "\n")
    assert make_plan(given).digest != before


def test_settings_that_would_do_nothing_are_refused(settings: BuildSettings, tmp_path: Path) -> None:
    rows = replace(settings.source, format="built")
    for change, problem in (
        ({"source": rows, "graphs": tmp_path}, "graphs: they filter summaries while these are written"),
        ({"source": rows, "clip_model": "clip"}, "clip_model: it scores pairs of v1"),
        ({"max_rows": 0}, "setting max_rows: it is 0"),
    ):
        with pytest.raises(InputError, match=problem):
            build(replace(settings, **change), FakeAnnotator())


def test_referenced_rows_hold_names_alone_and_come_back_with_their_pictures(
    settings: BuildSettings, tmp_path: Path
) -> None:
    embedded = build(settings, FakeAnnotator())
    names = build(replace(settings, out=tmp_path / "names", images="referenced"), FakeAnnotator())
    pictures = [image for row in pq.read_table(next(names.glob("*.parquet")))["images"].to_pylist() for image in row]
    assert all(image["bytes"] is None and image["path"].endswith(".png") for image in pictures)
    shutil.copytree(settings.source.path, tmp_path / "elsewhere/pictures")
    source = SourceSettings(names, "test", format="built", images=[tmp_path / "elsewhere"])
    joined = load(build(BuildSettings("v1", source, tmp_path / "joined")))
    whole = load(embedded)
    assert joined.features == whole.features
    for ours, other in zip(joined, whole, strict=True):
        assert [image.tobytes() for image in ours.pop("images")] == [image.tobytes() for image in other.pop("images")]
        assert ours == other


def test_a_further_phase_looks_at_pairs_mined_from_captions_and_has_its_own_name(settings: BuildSettings) -> None:
    source = replace(settings.source, format="captioned_folder")
    folder = build(replace(settings, source=source, config="v2", name="v3"), FakeAnnotator())
    rows = load(folder)
    assert folder.name == "v3"
    assert rows.features == v2_features()
    assert len(rows) == 4
    assert set(rows["context"]) == {""}
    assert all(rows["shared_nouns"])
    assert all(len(row["messages"]) == 2 for row in rows)
    with pytest.raises(InputError, match="'V 3' cannot name a data set"):
        build(replace(settings, name="V 3"), FakeAnnotator())


def test_pairs_are_mined_and_explained_before_any_model_is_asked(
    settings: BuildSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {
        "source.path": settings.source.path,
        "source.name": "captioned",
        "out": settings.out,
        "pairs.min_shared": 1,
    }
    options = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    main(["pairs", "mine", "v1", *options])
    mined = capsys.readouterr().out
    assert "=             4  pairs" in mined
    assert "pairs by shared nouns" in mined
    assert not list((settings.out / "v1").glob("*.parquet"))
    main(["build", "v1", *options])
    main(["pairs", "explain", "--folder", str(settings.out / "v1")])
    assert "=             4  rows" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="the build is past that"):
        main(["pairs", "mine", "v1", *options])


def test_more_workers_than_shards_and_a_second_run_change_nothing(settings: BuildSettings) -> None:
    first = contents(build(replace(settings, workers=8), FakeAnnotator()))
    assert contents(build(settings, FakeAnnotator())) == first


def test_the_error_says_how_to_leave_out_a_parameter_that_the_endpoint_refuses(
    settings: BuildSettings,
) -> None:
    def no_seed(request: dict[str, Any], number: int) -> Answer:
        if "seed" in request:
            return Answer(status=422, body=b'{"error": {"message": "extra_forbidden: body.seed"}}')
        differences = "1. Counts: Image 1 shows one dog, while Image 2 shows two dogs."
        return Answer(f"Commonalities:\nBoth images show a dog near a lake.\n\nDifferences:\n{differences}")

    with openai_server(no_seed) as server:
        annotator = AnnotatorSettings(kind="server", model="m", base_url=server.base_url)
        with pytest.raises(InputError, match=r"--annotator\.rename_parameters '\{seed: null\}' leaves seed out"):
            build(replace(settings, annotator=annotator))
        build(replace(settings, overwrite=True, annotator=replace(annotator, rename_parameters={"seed": None})))
