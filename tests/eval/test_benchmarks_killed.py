"""A stopped build of a question set goes on after its whole shards; the set is that of an undisturbed run."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.builder import shard_folder
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.output import open_output
from cadvi_hub.core.schema import EmbeddedImage
from cadvi_hub.eval.benchmarks import build, writing
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.benchmarks.pictures import Pictures
from cadvi_hub.eval.benchmarks.stored import missing_questions
from cadvi_hub.eval.settings import BenchmarkSettings

TEXT = "Image 1: <image>\nImage 2: <image>\nWhich image suits caption {} better?\nA. Image 1\nB. Image 2"
N = 560  # questions, in shards of 100


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "write_questions", functools.partial(writing.write_questions, shard_bytes=1))


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that were embedded; "stop.png" is where a run ends the first time."""
    names: list[str] = []
    embed = Pictures.embed

    def watched(self: Pictures, image: EmbeddedImage) -> EmbeddedImage:
        if image["path"] == "stop.png" and "stop.png" not in names:
            names.append("stop.png")
            raise KeyboardInterrupt
        names.append(image["path"] or "")
        return embed(self, image)

    monkeypatch.setattr(Pictures, "embed", watched)
    return names


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., BenchmarkSettings]:
    images = tmp_path / "images"
    images.mkdir()
    for index, name in enumerate(("a.png", "b.png", "stop.png")):
        Image.new("RGB", (4 + index, 4)).save(images / name)

    def make(out: str, task: str = "bison", text: str = TEXT, **changes: Any) -> BenchmarkSettings:
        lines = []
        for index in range(N):
            names = ["a.png", "gone.png" if index in (7, 8, 142) else "stop.png" if index == 320 else "b.png"]
            name = f"{index // 2}_{index % 2}" if task == "cola" else str(index // 3)  # ids that come again
            line = {"image": names, "text": text.format(index), "answer": "AB"[index % 2], "question_id": name}
            lines.append(json.dumps(line) + "\n")
        file = tmp_path / f"{task}.jsonl"
        file.write_text("".join(lines))
        return BenchmarkSettings(task, file, tmp_path / out, **{"images": images, **changes})

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def stop(settings: BenchmarkSettings) -> list[str]:
    """Names of the shards that a stopped build leaves."""
    with pytest.raises(KeyboardInterrupt):
        build_benchmark(settings)
    return sorted(file.name for file in (settings.out / settings.task / "_work").glob("part-*.parquet"))


@pytest.mark.parametrize("task", ["bison", "cola"])
def test_a_rerun_reads_no_picture_of_whole_shards_and_ends_in_the_same_bytes(
    settings: Callable[..., BenchmarkSettings], embedded: list[str], tmp_path: Path, task: str
) -> None:
    assert stop(settings("out", task)) == ["part-00000.parquet", "part-00001.parquet"]
    embedded.clear()
    embedded.append("stop.png")
    shown = build_benchmark(settings("out", task))
    gone = 3 if task == "bison" else 6  # pairs go as a whole
    assert embedded.count("a.png") == N - 200
    assert build_benchmark(settings("clean", task)) == shown
    assert f"{N - gone} of {N} questions" in shown
    assert contents(tmp_path / "out" / task) == contents(tmp_path / "clean" / task)
    assert {"missing.jsonl", "build.json", "test-00005-of-00006.parquet"} <= contents(tmp_path / "out" / task).keys()


def test_a_pair_of_which_one_question_stands_in_a_whole_shard_is_not_torn(
    settings: Callable[..., BenchmarkSettings], embedded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_folder, "ROWS_PER_GROUP", 151)
    assert stop(settings("out", "cola")) == ["part-00000.parquet"]
    embedded[:] = ["stop.png"]
    build_benchmark(settings("out", "cola"))
    build_benchmark(settings("clean", "cola"))
    assert contents(tmp_path / "out/cola") == contents(tmp_path / "clean/cola")


def test_the_older_set_stays_until_the_new_one_is_whole(
    settings: Callable[..., BenchmarkSettings], embedded: list[str], tmp_path: Path
) -> None:
    embedded.append("stop.png")
    build_benchmark(settings("out", text=TEXT + "\n"))
    before = contents(tmp_path / "out/bison")
    embedded.clear()
    stop(settings("out"))
    (tmp_path / "out/bison/_work").rename(tmp_path / "aside")
    assert contents(tmp_path / "out/bison") == before


@pytest.mark.parametrize("change", ["text", "seed", "images", "torn", "found"])
def test_shards_of_other_inputs_are_made_anew(
    settings: Callable[..., BenchmarkSettings], embedded: list[str], tmp_path: Path, change: str
) -> None:
    stop(settings("out"))
    other: dict[str, Any] = {}
    if change == "text":
        other = {"text": TEXT + "\nAnswer by a letter."}
    elif change == "seed":
        other = {"seed": 1}
    elif change == "images":
        Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
        other = {"images": [tmp_path, tmp_path / "images"]}
    elif change == "torn":
        shard = tmp_path / "out/bison/_work/part-00000.parquet"
        shard.write_bytes(shard.read_bytes()[:-9])
    else:
        Image.new("RGB", (4, 4)).save(tmp_path / "images/gone.png")
    embedded[:] = ["stop.png"]
    build_benchmark(settings("out", **other))
    anew = embedded.count("a.png")
    build_benchmark(settings("clean", **other))
    assert contents(tmp_path / "out/bison") == contents(tmp_path / "clean/bison")
    assert anew >= N


def test_a_set_that_loses_its_last_pictures_after_a_stop_is_marked(
    settings: Callable[..., BenchmarkSettings], embedded: list[str], tmp_path: Path
) -> None:
    stop(settings("out"))
    for name in ("b.png", "stop.png"):
        (tmp_path / "images" / name).unlink()
    assert f"200 of {N} questions" in build_benchmark(settings("out"))
    assert missing_questions(str(tmp_path / "out"), "bison") == N - 200


def test_rows_of_one_set_that_do_not_follow_each_other_are_refused(tmp_path: Path) -> None:
    rows = [{"id": str(index), "task": task, "images": []} for index, task in enumerate(("bison", "nlvr2", "bison"))]
    with pytest.raises(InputError, match="'bison': its rows do not follow each other"):
        writing.write_questions(rows, tmp_path)
    assert not list(tmp_path.rglob("test*.parquet"))


def test_two_builds_of_one_set_at_once_are_refused(settings: Callable[..., BenchmarkSettings], tmp_path: Path) -> None:
    refused = pytest.raises(InputError, match="another process is writing to this folder")
    with open_output(tmp_path / "out/bison", "test"), refused:
        build_benchmark(settings("out"))
