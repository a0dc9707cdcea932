"""Builds from the embedded world: open questions, the ablations' conversations, and all of it published."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings, Config, Turns
from cadvi_hub.cli import main
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import cad_qa_features, v1_features
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings
from tests.support.builds import FakeAnnotator, report


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "world"
    return make_world(WorldSettings(captioned=60, similar=4, instruct=4, questions=4, out=folder))


@pytest.fixture
def settings(world: Path, tmp_path: Path) -> BuildSettings:
    return BuildSettings("cad_qa", SourceSettings(world / "questions", "scenes"), tmp_path / "data", rows_per_shard=3)


def from_captions(world: Path, out: Path) -> BuildSettings:
    pairs = PairSettings(min_shared=1)
    return BuildSettings("v1", SourceSettings(world / "captioned", "scenes"), out, pairs=pairs, max_rows=6)


def from_similar(world: Path, out: Path) -> BuildSettings:
    return BuildSettings("v2", SourceSettings(world / "similar", "scenes"), out)


def load(folder: Path, split: str) -> Dataset:
    files = {split: str(folder / f"{split}-*.parquet")}
    return load_dataset("parquet", data_files=files, split=split, cache_dir=str(folder.parent / "cache"))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_open_questions_come_back_as_a_test_split_with_what_the_file_says_and_no_more(settings: BuildSettings) -> None:
    folder = build(settings)
    asked = lines(settings.source.path / "cad_qa.jsonl")
    rows = load(folder, "test")
    assert folder == settings.out / "cad_qa"
    assert rows.features == cad_qa_features()
    assert len(rows) == len(asked) == 4
    for row, line in zip(rows, asked, strict=True):
        assert row["question"] == line["text"]
        assert row["question"].startswith("Image 1: <image>\nImage 2: <image>\n")
        assert (row["id"], row["answer"], row["source"]) == (line["question_id"], line["answer"], "scenes")
        assert len(row["images"]) == 2
        assert [row[key] for key in ("captions", "differences", "shared_nouns")] == [[], [], []]
        assert {row[key] for key in ("commonalities", "annotator", "prompt_hash", "decoding")} == {""}
    (first, second), *_ = pq.read_table(folder / "test-00000-of-00002.parquet")["images"].to_pylist()
    files = [settings.source.path / name for name in asked[0]["image"]]
    assert [first["bytes"], second["bytes"]] == [file.read_bytes() for file in files]
    words = [len(line["answer"].split()) for line in asked]
    assert report(folder)["statistics"] == {"mean_words_answer": round(sum(words) / 4, 2)}
    assert list(report(folder)["files"]) == ["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"]


def test_the_command_builds_open_questions(
    settings: BuildSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--source.path", str(settings.source.path), "--source.name", "scenes"]
    main(["build", "cad_qa", *source, "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path / 'out/cad_qa'}\n"
    assert len(load(tmp_path / "out/cad_qa", "test")) == 4


def test_bad_open_questions_and_pictures_are_refused_with_their_place_or_counted(
    settings: BuildSettings, tmp_path: Path
) -> None:
    questions = shutil.copytree(settings.source.path, tmp_path / "questions")
    rows = lines(questions / "cad_qa.jsonl")
    rows[1]["text"] = "Where?"
    rows[2]["answer"] = ""
    (questions / rows[3]["image"][0]).write_bytes(b"no picture")
    (questions / "cad_qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = replace(settings, source=SourceSettings(questions, "scenes"))
    with pytest.raises(InputError, match=r"cad_qa\.jsonl, line 2: 0 <image> for 2 images.*source\.bad_rows"):
        build(settings)
    folder = build(replace(settings, source=replace(settings.source, bad_rows="drop"), overwrite=True))
    assert load(folder, "test")["id"] == [rows[0]["question_id"]]
    assert {reason: entry["count"] for reason, entry in report(folder)["drops"].items()} == {
        "empty answer": 1,
        "picture does not decode or is too large": 1,
        "unreadable row": 1,
    }


def test_another_recipe_replaces_every_file_of_the_test_split(settings: BuildSettings) -> None:
    build(settings)
    folder = build(replace(settings, rows_per_shard=1000, overwrite=True))
    assert [file.name for file in folder.glob("*.parquet")] == ["test-00000-of-00001.parquet"]


def test_which_image_turns_are_made_on_the_pairs_of_the_full_build(world: Path, tmp_path: Path) -> None:
    full = from_captions(world, tmp_path / "full")
    whole = load(build(full, FakeAnnotator()), "train")
    alone = load(build(replace(full, out=tmp_path / "alone", turns="which_image"), FakeAnnotator()), "train")
    assert alone.features == v1_features()
    assert len(alone) == 6
    same = [name for name in alone.column_names if name not in ("messages", "images")]
    assert [{name: row[name] for name in same} for row in alone] == [
        {name: row[name] for name in same} for row in whole
    ]
    for ablated, complete in zip(alone["messages"], whole["messages"], strict=True):
        question, answer = ablated
        kinds = [part["type"] for part in question["content"]]
        assert kinds == ["text", "image", "text", "image", "text"]  # the images move here with the first turn gone
        assert question["content"][-1]["text"].strip() == complete[2]["content"][0]["text"]
        assert answer == complete[3]


def test_difference_notes_are_taught_as_they_stand_on_the_pairs_of_the_full_build(world: Path, tmp_path: Path) -> None:
    full = from_similar(world, tmp_path / "full")
    whole = load(build(full, FakeAnnotator(drop={"000001"})), "train")
    ablation = replace(full, out=tmp_path / "alone", turns="difference_note")
    alone = load(build(ablation, FakeAnnotator(drop={"000001"})), "train")
    assert alone["id"] == whole["id"] == ["000000", "000002", "000003"]
    assert [image.tobytes() for row in alone for image in row["images"]] == [
        image.tobytes() for row in whole for image in row["images"]
    ]
    for row in alone:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["messages"][1]["content"] == [{"type": "text", "text": row["context"]}]
    assert all(row["messages"][1]["content"][0]["text"].startswith("Commonalities") for row in whole)


def test_an_ablation_does_not_take_the_folder_of_the_full_build(world: Path, tmp_path: Path) -> None:
    full = from_similar(world, tmp_path / "out")
    build(full, FakeAnnotator())
    with pytest.raises(InputError, match="the build of another recipe"):
        build(replace(full, turns="difference_note"), FakeAnnotator())


@pytest.mark.parametrize(
    ("config", "turns"),
    [
        ("v1", "difference_note"),
        ("instruct", "which_image"),
        ("instruct", "difference_note"),
        ("cad_qa", "which_image"),
        ("cad_qa", "difference_note"),
    ],
)
def test_turns_that_a_config_cannot_have_are_refused_before_anything_is_written(
    settings: BuildSettings, config: Config, turns: Turns
) -> None:
    with pytest.raises(InputError, match=f"turns: {config} rows cannot be made of {turns} alone. Use full"):
        build(replace(settings, config=config, turns=turns))
    assert not settings.out.exists()


def test_built_data_sets_are_published_together_and_load_by_their_config(
    hub: LoopbackHub, settings: BuildSettings, world: Path
) -> None:
    built = {"cad_qa": build(settings), "v1": build(from_captions(world, settings.out))}
    repo = "tester/scenes"
    published = publish(PublishSettings(folder=settings.out, repo_id=repo, kind="dataset"))
    assert set(published.uploaded) == {
        "README.md",
        "assets/cad_qa.jpg",
        "assets/v1.jpg",
        "cad_qa/build.json",
        "cad_qa/test-00000-of-00002.parquet",
        "cad_qa/test-00001-of-00002.parquet",
        "v1/build.json",
        "v1/train-00000-of-00001.parquet",
    }
    for config, split, features in (("cad_qa", "test", cad_qa_features()), ("v1", "train", v1_features())):
        loaded = load_dataset(repo, config)
        assert list(loaded) == [split]
        assert loaded[split].features == features
        assert list(loaded[split]) == list(load(built[config], split))
        assert loaded[split].features == load_dataset(repo, config, split=split, streaming=True).features
    v1 = load_dataset(repo, "v1", split="train")
    assert set(v1["annotator"]) == {"mentions"}
    card = DatasetCard.load(repo).text.splitlines()
    mean = report(built["cad_qa"])["statistics"]["mean_words_answer"]
    assert f"| mean_words_answer | {mean:.4g} |" in card
    assert "| cad_qa | scenes | 4 |" in card
