"""The demo's folder: one recipe each, whole stages only, and a clear word where it cannot be written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cadvi_hub.cli import parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.demo.run import _claim, _questions
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.questions import MAKERS
from cadvi_hub.world.settings import WorldSettings


def test_the_packaged_recipe_holds_valid_settings() -> None:
    settings = parse_settings("demo", ["--config", "demo", "--out", "elsewhere", "--seed", "2"])
    assert isinstance(settings, DemoSettings)
    assert (str(settings.out), settings.seed) == ("elsewhere", 2)
    assert settings.training["max_steps"] > 0


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    settings = DemoSettings(out=tmp_path)
    _claim(settings)
    before = (tmp_path / "recipe.json").read_bytes()
    _claim(settings)  # its own recipe is welcome again
    with pytest.raises(InputError, match="another recipe"):
        _claim(replace(settings, seed=1))
    assert (tmp_path / "recipe.json").read_bytes() == before


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        _claim(DemoSettings(out=tmp_path / "file" / "demo"))


def test_every_question_set_of_the_world_becomes_rows(tmp_path: Path) -> None:
    from datasets import load_dataset

    settings = WorldSettings(captioned=2, edited=2, similar=2, instruct=2, questions=4, out=tmp_path / "world")
    folder = _questions(make_world(settings) / "questions", tmp_path / "questions")
    for task in MAKERS:
        rows = load_dataset(str(folder), task, split="test", cache_dir=str(tmp_path / "cache"))
        assert len(rows) == (8 if task in ("eqben", "cola") else 4)
        assert {len(images) for images in rows["images"]} == {1 if task == "single_image" else 2}


def test_a_world_is_drawn_once_and_never_mixed_with_another(tmp_path: Path) -> None:
    settings = WorldSettings(captioned=2, edited=2, similar=2, instruct=2, questions=2, out=tmp_path / "world")
    folder = make_world(settings)
    stamp = (folder / "captioned" / "captions.jsonl").stat().st_mtime_ns
    make_world(settings)
    assert (folder / "captioned" / "captions.jsonl").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings"):
        make_world(replace(settings, seed=5))
    assert json.loads((folder / "world.json").read_text())["seed"] == 0


def test_a_world_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    settings = WorldSettings(captioned=3, edited=2, similar=2, instruct=2, questions=2, out=tmp_path / "one")
    whole = make_world(settings)
    cut = replace(settings, out=tmp_path / "two")
    make_world(cut)
    (cut.out / "similar").rename(cut.out / ".similar.tmp")  # killed while it drew the similar pairs
    make_world(cut)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(cut.out) for path in cut.out.rglob("*") if path.is_file())
    assert all((whole / file).read_bytes() == (cut.out / file).read_bytes() for file in files)
