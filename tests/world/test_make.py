"""The world as files: upstream formats, the same bytes for the same settings, training and evaluation kept apart."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.world import make as world
from cadvi_hub.world.make import make_world
from cadvi_hub.world.questions import MAKERS
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import Scene
from cadvi_hub.world.settings import WorldSettings
from tests.support.scene_reader import true_of

TRAINING = ("captioned", "edited", "similar", "instruct")


def settings(out: Path, **changed: Any) -> WorldSettings:
    small = WorldSettings(captioned=60, edited=30, similar=40, instruct=40, questions=6, boxes_share=0.2, out=out)
    return dataclasses.replace(small, **changed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(settings(tmp_path_factory.mktemp("world") / "world"))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def scenes(folder: Path) -> dict[str, Scene]:
    return {row["image"]: Scene.from_dict(row["scene"]) for row in rows(folder / "scenes.jsonl")}


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_training_and_evaluation_never_share_a_scene(made: Path) -> None:
    train = [scene for part in TRAINING for scene in scenes(made / part).values()]
    evaluation = list(scenes(made / "questions").values())
    assert len(train) == 60 + 2 * 30 + 2 * 40 + 40
    assert {scene.split for scene in train} == {"train"}
    assert {scene.split for scene in evaluation} == {"eval"}
    assert {scene.digest for scene in train}.isdisjoint(scene.digest for scene in evaluation)


@pytest.mark.parametrize("part", [*TRAINING, "questions"])
def test_every_picture_is_its_scene_and_every_file_has_one(made: Path, part: str) -> None:
    drawn = scenes(made / part)
    files = {str(path.relative_to(made / part)) for path in (made / part).rglob("*.png")}
    assert files == set(drawn)
    for name, scene in list(drawn.items())[:25]:
        assert (made / part / name).read_bytes() == encode_png(render(scene))


def test_captions_have_the_fields_of_localized_narratives_and_are_true(made: Path) -> None:
    drawn = scenes(made / "captioned")
    captions = rows(made / "captioned/captions.jsonl")
    assert len({row["image_id"] for row in captions}) == len(captions) == 60
    assert {frozenset(row) for row in captions} == {
        frozenset({"dataset_id", "image_id", "annotator_id", "caption", "image"})
    }
    assert all(true_of(row["caption"], drawn[row["image"]]) for row in captions)
    assert {scene.look for scene in drawn.values()} == {"sketch", "boxes"}


def test_edited_pairs_have_the_fields_of_vismin_and_a_true_caption_each(made: Path) -> None:
    drawn = scenes(made / "edited")
    pairs = rows(made / "edited/pairs/train.jsonl")
    assert len(pairs) == 30
    for row in pairs:
        assert set(row) == {"id", "image_0", "text_0", "image_1", "text_1"}
        first, second = drawn[row["image_0"]], drawn[row["image_1"]]
        assert true_of(row["text_0"], first)
        assert true_of(row["text_1"], second)
        assert not true_of(row["text_0"], second)
        assert not true_of(row["text_1"], first)


def test_similar_pairs_have_the_fields_of_mimic_cgd(made: Path) -> None:
    drawn = scenes(made / "similar")
    pairs = rows(made / "similar/pairs.jsonl")
    assert len(pairs) == 40
    for row in pairs:
        first, second = (drawn[name] for name in row["images"])
        assert first.digest != second.digest
        assert row["texts"]
        assert all(set(text) == {"user", "assistant", "source"} for text in row["texts"])


def test_instruct_rows_have_the_fields_of_the_llava_mix(made: Path) -> None:
    drawn = scenes(made / "instruct")
    for row in rows(made / "instruct/instruct.jsonl"):
        assert row["image"] in drawn
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert [turn["value"].count("<image>") for turn in turns] == [1] + [0] * (len(turns) - 1)
        assert turns[0]["value"].startswith("<image>\n")


@pytest.mark.parametrize("task", list(MAKERS))
def test_question_files_have_the_benchmarks_keys_and_name_pictures_that_are_there(made: Path, task: str) -> None:
    questions = rows(made / f"questions/{task}.jsonl")
    assert len(questions) == (12 if BENCHMARKS[task].in_pairs else 6)
    keys = {"image", "text", "answer", "question_id"} | ({"category"} if task in ("svo_probes", "nlvr2") else set())
    for row in questions:
        assert set(row) == keys
        assert row["text"].count("<image>") == len(row["image"])
        assert all((made / "questions" / name).is_file() for name in row["image"])
    if task == "eqben":  # the first part of the path is the kind of change
        assert len({row["image"][0].split("/")[0] for row in questions}) == 6
    if BENCHMARKS[task].in_pairs:
        pairs = [questions[k : k + 2] for k in range(0, 12, 2)]
        assert all(first["image"] == second["image"] for first, second in pairs)


def test_no_picture_shows_more_groups_than_the_settings_allow(tmp_path: Path) -> None:
    folder = make_world(settings(tmp_path / "world", max_groups=2))
    for part in ("captioned", "instruct"):
        sketches = [scene for scene in scenes(folder / part).values() if scene.look == "sketch"]
        assert max(len({item.look for item in scene.items}) for scene in sketches) == 2


def test_a_world_without_two_things_in_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_groups: 1 is below 2"):
        make_world(settings(tmp_path / "world", max_groups=1))
    assert not (tmp_path / "world").exists()


def test_equal_settings_give_equal_bytes_and_another_seed_none_of_the_pictures(made: Path, tmp_path: Path) -> None:
    again = make_world(settings(tmp_path / "again"))
    assert contents(again) == contents(made)
    other = make_world(settings(tmp_path / "other", seed=1))
    assert {name for name in contents(other) if name.endswith("jsonl")} == {
        name for name in contents(made) if name.endswith("jsonl")
    }
    pictures = [{h for name, h in contents(w / "captioned").items() if name.endswith("png")} for w in (made, other)]
    assert not pictures[0] & pictures[1]


def test_a_whole_world_is_left_as_it_is_and_other_settings_are_refused(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    make_world(settings(made))
    with pytest.raises(InputError, match="other settings"):
        make_world(settings(made, seed=1))
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_world_cut_off_in_the_middle_is_finished_with_the_same_bytes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    written = world.SceneFolder.add
    calls = []

    def dies(folder: world.SceneFolder, name: str, scene: Scene) -> str:
        calls.append(name)
        if len(calls) == 90:  # in the middle of the similar pairs
            raise Killed
        return written(folder, name, scene)

    monkeypatch.setattr(world.SceneFolder, "add", dies)
    with pytest.raises(Killed):
        make_world(settings(tmp_path / "world"))
    assert not (tmp_path / "world/similar").exists()
    make_world(settings(tmp_path / "world"))
    assert contents(tmp_path / "world") == contents(made)


def test_a_world_cut_off_in_the_middle_is_not_finished_with_other_settings(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "captioned", tmp_path / "world/captioned")  # as a killed run leaves it, of another seed
    shutil.copy(made / "world.json", tmp_path / "world")
    try:
        make_world(settings(tmp_path / "world", seed=1))
    except InputError:
        return
    assert contents(tmp_path / "world/captioned") != contents(made / "captioned")


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written") as error:
        make_world(settings(blocked / "world"))
    assert str(blocked) in error.value.where


def test_pictures_are_small_rgb_pngs(made: Path) -> None:
    for path in sorted((made / "captioned/images").glob("*.png"))[:20]:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.size in ((144, 144), (100, 100))
