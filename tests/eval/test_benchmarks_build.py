"""A set is whole or says what it lacks; faults of published files are told and stay."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import hf_hub_download
from PIL import Image

from cadvi_hub.cli import main
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.benchmarks.faults import DUPLICATE, OTHER_ANSWER, SAME_HALVES, SAME_ID, TELLING_ID
from cadvi_hub.eval.benchmarks.pictures import BROKEN, NOT_FOUND
from cadvi_hub.eval.benchmarks.question import named
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.benchmarks.stored import check_complete, missing_questions
from cadvi_hub.eval.benchmarks.video import VideoFrames, frame_names, two_frames
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.settings import BenchmarkSettings
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings

TEXT = 'Image 1: <image>\nImage 2: <image>\nWhich image suits the caption "{}" better?\nA. Image 1\nB. Image 2'


def question(number: Any, *names: str, answer: str = "A", text: str = "", **more: Any) -> dict[str, Any]:
    text = text or TEXT.format(number)
    return {"image": list(names or ("a.png", "b.png")), "text": text, "answer": answer, "question_id": number, **more}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images/below"
    root.mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(root / "a.png")
    Image.new("RGB", (6, 8), "blue").save(root / "b.png")
    (root / "broken.png").write_bytes((root / "a.png").read_bytes()[:40])
    (tmp_path / "secret.png").write_bytes((root / "a.png").read_bytes())
    return tmp_path / "images"


def build(images: Path, task: str, *questions: dict[str, Any]) -> dict[str, Any]:
    file = images.parent / f"{task}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in questions))
    build_benchmark(BenchmarkSettings(task, file, images.parent / "out", images))
    report: dict[str, Any] = json.loads((images.parent / f"out/{task}/build.json").read_text())
    return report


def ids(images: Path, task: str) -> list[str]:
    found: list[str] = pq.read_table(images.parent / f"out/{task}/test.parquet", columns=["id"])["id"].to_pylist()
    return found


def test_questions_without_their_pictures_are_left_out_listed_and_marked(images: Path) -> None:
    gone = question(1, "a.png", "gone.png")
    report = build(images, "bison", question(0), gone, question(2, "broken.png", "../../secret.png"), question(3))
    assert ids(images, "bison") == ["0", "3"]
    assert (report["questions"], report["rows"], report["complete"]) == (4, 2, False)
    assert report["drops"] == {
        BROKEN: {"count": 1, "first": ["2: broken.png"]},
        NOT_FOUND: {"count": 1, "first": ["1: gone.png"]},
    }
    out = images.parent / "out"
    missing = [json.loads(line) for line in (out / "bison/missing.jsonl").read_text().splitlines()]
    assert [(line["question"], line["image"], line["reason"]) for line in missing] == [
        ("1", "gone.png", NOT_FOUND),
        ("2", "broken.png", BROKEN),
        ("2", "../../secret.png", NOT_FOUND),
    ]
    assert "leads out" in missing[2]["fault"]
    assert "`bison` is partial: 2 questions are missing" in (out / "README.md").read_text()
    assert missing_questions(str(out), "bison") == 2
    with pytest.raises(InputError, match=r"2 question\(s\) are missing.*allow_partial"):
        check_complete(str(out), "bison")


def test_a_set_built_again_with_all_pictures_is_complete(images: Path) -> None:
    build(images, "bison", question(0), question(1, "a.png", "gone.png"))
    Image.new("RGB", (4, 4)).save(images / "gone.png")
    report = build(images, "bison", question(0), question(1, "a.png", "gone.png"))
    assert report["complete"]
    check_complete(str(images.parent / "out"), "bison")
    assert "partial" not in (images.parent / "out/README.md").read_text()
    left = sorted(path.name for path in (images.parent / "out/bison").glob("[!.]*"))
    assert left == ["build.json", "test.parquet"]


def test_a_partial_set_loads_as_any_other(images: Path, tmp_path: Path) -> None:
    build(images, "bison", question(0), question(1, "gone.png", "b.png"))
    for place, name in (("out", "bison"), ("out/bison", None)):
        loaded = load_dataset(str(tmp_path / place), name, split="test", cache_dir=str(tmp_path / "cache"))
        assert loaded["id"] == ["0"]
        assert loaded[0]["images"][0].size == (8, 6)


def test_both_questions_of_a_pair_go_where_one_lacks_a_picture(images: Path) -> None:
    halves = [question(f"{group}_{half}", answer="AB"[(half + group) % 2]) for group in (0, 1, 2) for half in (0, 1)]
    halves[3]["image"] = ["gone.png", "b.png"]
    report = build(images, "cola", *halves)
    assert ids(images, "cola") == ["0_0", "0_1", "2_0", "2_1"]
    assert report["drops"] == {NOT_FOUND: {"count": 2, "first": ["1_0: gone.png", "1_1: gone.png"]}}


def test_a_set_without_one_whole_question_is_refused_and_lists_what_it_looked_for(images: Path) -> None:
    with pytest.raises(InputError, match="of 1 questions none has its pictures"):
        build(images, "bison", question(0, "gone.png", "b.png"))
    assert "gone.png" in (images.parent / "out/bison/missing.jsonl").read_text()
    with pytest.raises(InputError, match="0 of its files are there"):
        check_complete(str(images.parent / "out"), "bison")


def test_duplicates_are_told_and_stay(images: Path) -> None:
    same = question(0, category="verb")
    report = build(
        images, "svo_probes", same, {**same, "question_id": 1}, {**question(0), "category": "verb", "answer": "B"}
    )
    assert {reason: entry["count"] for reason, entry in report["flags"].items()} == {
        DUPLICATE: 1,
        SAME_ID: 1,
        OTHER_ANSWER: 1,
    }
    assert report["flags"][DUPLICATE]["first"][0].endswith("svo_probes.jsonl, line 2")
    assert ids(images, "svo_probes") == ["0", "1", "0"]


def test_an_id_that_tells_the_answer_and_equal_halves_are_told(images: Path) -> None:
    halves = [
        question(f"{group}_{half}", answer="AB"[half], text=TEXT.format(f"{group}"))
        for group in (0, 1)
        for half in (0, 1)
    ]
    report = build(images, "cola", *halves)
    assert report["flags"][TELLING_ID] == {"count": 4, "first": ["_0 is always A, _1 is always B"]}
    assert report["flags"][SAME_HALVES]["count"] == 2
    mixed = [{**half, "answer": "BA"[index % 2]} if index > 1 else half for index, half in enumerate(halves)]
    assert TELLING_ID not in build(images, "cola", *mixed)["flags"]


def test_faulty_reference_answers_of_cad_qa_are_told(images: Path) -> None:
    text = "Image 1: <image>\nImage 2: <image>\nWhat colours do the two images show?"
    leaked = question(0, text=text, answer="Both images show red. USER: And then?")
    cut = question(1, text=text, answer="Image 1 shows red and image 2 shows")
    sorry = question(2, text=text, answer="I'm sorry, I cannot see the images.")
    sound = question(3, text=text, answer="Image 1 shows red and image 2 shows blue.")
    flags = build(images, "cad_qa", leaked, cut, sorry, sound)["flags"]
    assert {"leaked_turn", "cut_off", "refusal"} <= flags.keys()
    assert not any(place.startswith("3:") for entry in flags.values() for place in entry["first"])


def test_a_large_set_is_sharded_and_its_last_shard_carries_the_mark(images: Path, tmp_path: Path) -> None:
    build(images, "bison", *(question(number) for number in range(250)), question(250, "gone.png", "b.png"))
    rows = pq.read_table(tmp_path / "out/bison/test.parquet").to_pylist()
    missing = Drops()
    missing.add(NOT_FOUND, "250: gone.png")
    out = tmp_path / "sharded"
    write_questions(iter(rows), out, missing, shard_bytes=1000)
    names = [f"test-0000{number}-of-00003.parquet" for number in range(3)]
    assert sorted(path.name for path in (out / "bison").glob("[!.]*")) == names
    assert load_dataset(str(out), "bison", split="test", cache_dir=str(tmp_path / "cache"))["id"] == [
        str(number) for number in range(250)
    ]
    assert missing_questions(str(out), "bison") == 1
    (out / "bison" / names[1]).unlink()
    with pytest.raises(InputError, match="2 of its files are there"):
        missing_questions(str(out), "bison")
    write_questions(iter(rows[:200]), out, missing, shard_bytes=1000)
    assert [pq.read_metadata(path).num_rows for path in (out / "bison").glob("[!.]*")] == [100, 100]  # none is empty
    write_questions(iter(rows[:5]), out)
    assert [path.name for path in (out / "bison").glob("[!.]*")] == ["test.parquet"]


def test_a_published_set_keeps_its_mark(images: Path, hub: LoopbackHub) -> None:
    build(images, "bison", question(0), question(1, "gone.png", "b.png"))
    build(images, "nlvr2", question(0, answer="True"))
    publish(PublishSettings(images.parent / "out", "tester/questions", "dataset"))
    assert missing_questions("tester/questions", "bison") == 1
    listed = yaml.safe_load(Path(hf_hub_download("tester/questions", "eval.yaml", repo_type="dataset")).read_text())
    assert listed["tasks"] == [{"id": "nlvr2", "config": "nlvr2", "split": "test"}]  # bison is partial
    assert listed["evaluation_framework"] == "inspect-ai"
    check_complete("tester/questions", "nlvr2")
    with pytest.raises(InputError, match="0 of its files are there"):
        check_complete("tester/questions", "cola")


def test_a_set_added_later_joins_the_readme(images: Path) -> None:
    build(images, "nlvr2", question(0, answer="True"))
    build(images, "bison", question(0))
    readme = (images.parent / "out/README.md").read_text()
    assert [task for task in BENCHMARKS if f"config_name: {task}" in readme] == ["bison", "nlvr2"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"task": "bisom"}, "unknown task 'bisom'"),
        ({"task": "single_image", "format": "upstream"}, "no upstream annotations"),
        ({"task": "cad_summary", "format": "question_file"}, "made of a built data set"),
        ({"images": Path("nowhere")}, "nowhere is no folder"),
        ({"questions": Path("nowhere.jsonl")}, "no such question file"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(images: Path, changes: dict[str, Any], problem: str) -> None:
    file = images.parent / "bison.jsonl"
    file.write_text(json.dumps(question(0)) + "\n")
    settings = {"task": "bison", "questions": file, "out": images.parent / "out", "images": images, **changes}
    with pytest.raises(InputError, match=problem):
        build_benchmark(BenchmarkSettings(**settings))


def test_the_command_names_its_set_and_prints_what_it_found(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = images.parent / "q.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in (question(0), question(0))))
    places = ["--questions", str(file), "--images", str(images), "--out", str(images.parent / "out")]
    main(["benchmarks", "build", "bison", *places])
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "bison: 2 of 2 questions"
    assert DUPLICATE in shown


@pytest.mark.parametrize(
    ("start", "end", "frames"), [(0, 2, (0, 0)), (0, 9, (2, 6)), (18, 166, (54, 128)), (0, 100, (24, 74))]
)
def test_two_frames_lie_at_a_quarter_and_three_quarters_of_the_segment(
    start: int, end: int, frames: tuple[int, int]
) -> None:
    assert two_frames(start, end) == frames


def test_a_segment_of_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 2"):
        two_frames(3, 4)


def test_frames_of_a_video_are_those_of_its_segment(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    (tmp_path / "P03").mkdir()
    with av.open(str(tmp_path / "P03/v.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 256, 32, "yuv420p"
        stream.gop_size = 7
        for number in range(60):
            picture = Image.new("RGB", (256, 32))
            picture.paste("white", (0, 0, 4 * number, 32))  # the bar tells the frame, however it is compressed
            video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())

    def shown(segment: tuple[float, float] | None, unit: str) -> tuple[int, int]:
        frames = VideoFrames([tmp_path])
        pictures = [frames.embed(image)["bytes"] or b"" for image in named(*frame_names("P03/v.mp4", segment, unit))]
        bars = [open_image(picture, "frame").convert("L").resize((256, 1)).tobytes() for picture in pictures]
        first, second = (round(sum(level > 127 for level in bar) / 4) for bar in bars)
        return first, second

    assert shown(None, "") == two_frames(0, 59)
    assert shown((10, 50), "frames") == two_frames(10, 50)
    assert shown((2.0, 5.0), "seconds") == two_frames(20, 50)
    with pytest.raises(InputError, match="fewer than 2"):
        shown((9, 10), "frames")
    (tmp_path / "P03/v.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="no two frames of its segment decode"):
        shown(None, "")


def test_without_pyav_videos_are_refused_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        VideoFrames([tmp_path])
