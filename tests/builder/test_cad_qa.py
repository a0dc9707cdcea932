"""CaD-QA is built from captions as from a question file, apart from held-out images, with its flags counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset

from cadvi_hub import cli
from cadvi_hub.annotation.prompt import prompt_hash
from cadvi_hub.annotation.settings import AnnotatorSettings, QuestionSettings
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, captioned_source, picture, report
from tests.support.openai_server import Answer, openai_server

CAD_QA = Path(__file__).parents[3] / "shared/data/questions/CaD_QA_first300.jsonl"
REPLY = (
    "Question: What is the animal in Image 1 doing?\nAnswer: It stands.\n\n"
    "Question: What do both images show?\nAnswer: Both images show an animal."
)


def settings(tmp_path: Path, base_url: str = "http://127.0.0.1:9", **more: Any) -> BuildSettings:
    source = captioned_source(tmp_path / "source")
    source.format = "captioned_folder"
    return BuildSettings(
        "cad_qa",
        source,
        tmp_path / "out",
        pairs=PairSettings(min_shared=1),
        annotator=AnnotatorSettings(kind="server", model="m", base_url=base_url),
        **{"rows_per_shard": 2, **more},
    )


def load(folder: Path) -> Dataset:
    files = str(folder / "test-*.parquet")
    return load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder.parent / "cache"))


def test_pairs_of_captions_become_rows_with_one_sound_question(tmp_path: Path) -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        content = request["messages"][-1]["content"]
        assert "Commonalities:\nBoth are plain." in content
        return Answer("I cannot do that.") if "A dog under a tree." in content else Answer(REPLY)

    with openai_server(behaviour) as server:
        folder = build(settings(tmp_path, server.base_url), FakeAnnotator())
        asked = len(server.requests)
    rows, counted = load(folder), report(folder)
    assert set(rows["question"]) == {"Image 1: <image>\nImage 2: <image>\nWhat do both images show?"}
    assert set(rows["answer"]) == {"Both images show an animal."}
    assert set(rows["prompt_hash"]) == {prompt_hash("questions_from_summary")}
    assert set(rows["commonalities"]) == {"Both are plain."}
    assert all(len(row["captions"]) == 2 and row["shared_nouns"] for row in rows)
    assert counted["drops"]["refusal"]["count"] == asked - len(rows) > 0
    assert counted["flags"]["one_image"]["count"] == len(rows)
    assert counted["statistics"] == {"mean_words_answer": 5.0}


def test_excluded_images_stand_in_no_row_and_are_counted(tmp_path: Path) -> None:
    (tmp_path / "held_out.txt").write_text("elsewhere/0.png\n")
    with openai_server(lambda request, number: Answer(REPLY)) as server:
        chosen = settings(tmp_path, server.base_url, exclude_images=[tmp_path / "held_out.txt"])
        folder = build(chosen, FakeAnnotator())
        (tmp_path / "held_out.txt").write_text("elsewhere/1.png\n")
        with pytest.raises(InputError, match="another recipe"):
            build(chosen, FakeAnnotator())
    assert not [name for name in load(folder)["id"] if "0.png" in name]
    assert report(folder)["drops"]["image is held out"] == {"count": 1, "first": ["0.png"]}


def test_questions_need_a_model(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    chosen.annotator = AnnotatorSettings()
    with pytest.raises(InputError, match="no model is named"):
        build(chosen)


def test_the_flags_of_a_question_file_are_counted_and_its_rows_kept_as_they_stand(tmp_path: Path) -> None:
    if not CAD_QA.exists():
        pytest.skip("the published CaD-QA questions are not here")
    rows = [json.loads(line) for line in CAD_QA.read_text().splitlines()][:40]
    for name in {name for row in rows for name in row["image"]}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name, 90)
    (tmp_path / "cad_qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = build(BuildSettings("cad_qa", SourceSettings(tmp_path, "cad_qa"), tmp_path / "out"))
    assert load(folder)["answer"] == [row["answer"] for row in rows]
    assert report(folder)["flags"]["one_image"]["count"] == 21


def test_the_recipe_takes_several_places_of_excluded_images() -> None:
    arguments = ["cad_qa", "--config", "cad_qa", "--exclude_images", "[a.txt, data/instruct]"]
    recipe = cli.parse_settings("build", arguments)
    assert recipe.questions == QuestionSettings()
    assert recipe.exclude_images == [Path("a.txt"), Path("data/instruct")]
