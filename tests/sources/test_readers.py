"""Readers: what becomes a record, what is refused with its place, what is dropped and counted."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import CaptionedImage, ImagePair
from cadvi_hub.sources.cad_qa_file import PairQuestion, read_cad_qa_file
from cadvi_hub.sources.captioned_folder import read_captioned_folder
from cadvi_hub.sources.formats import FORMATS
from cadvi_hub.sources.llava_mix import read_llava_mix
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.sources.similar_pairs import read_similar_pairs

SAMPLE = Path(__file__).parents[3] / "shared/data/captioned_images"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"decoding is checked later")
    return tmp_path


def write_lines(file: Path, *rows: object) -> None:
    file.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))


def caption(text: object = "A dog.", image: str = "a.png") -> dict[str, object]:
    return {"image_id": "1", "caption": text, "image": image}


def read(
    reader: Any, folder: Path, bad_rows: Literal["refuse", "drop"] = "refuse"
) -> tuple[list[Any], dict[str, Any]]:
    drops = Drops()
    return list(reader(SourceSettings(folder, "test", bad_rows), ImageFolders([folder]), drops)), drops.as_dict()


BAD_LINES = {
    "torn JSON": (b'{"image_id": "1", "capt', "not valid JSON"),
    "not UTF-8": (json.dumps(caption("caf\xe9"), ensure_ascii=False).encode("latin-1"), "not UTF-8"),
    "nested too deep": (b"[" * 100_000, "not valid JSON"),
    "no object": (b"[1, 2]", "not a JSON object"),
    "missing key": (b'{"image_id": "1", "image": "a.png"}', "key 'caption' is missing"),
    "caption is a number": (json.dumps(caption(7)).encode(), "'caption' is missing or not a string"),
    "lone surrogate": (json.dumps(caption("\ud800")).encode(), "not Unicode text"),
    "missing image": (json.dumps(caption(image="gone.png")).encode(), "'gone.png' is missing"),
    "image outside": (json.dumps(caption(image="../outside.png")).encode(), "leads out of the folder"),
    "absolute image": (json.dumps(caption(image="/etc/passwd")).encode(), "leads out of the folder"),
    "null byte in name": (json.dumps(caption(image="a\0.png")).encode(), "leads out of the folder"),
    "name too long": (json.dumps(caption(image="a" * 5000)).encode(), "cannot be used (File name too long)"),
}


@pytest.mark.parametrize(("line", "problem"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line_is_refused_with_file_line_and_hint(folder: Path, line: Any, problem: Any) -> None:
    (folder.parent / "outside.png").write_bytes(b"secret")
    write_lines(folder / "captions.jsonl", caption(), line, caption())
    with pytest.raises(InputError) as caught:
        read(read_captioned_folder, folder)
    assert caught.value.where == f"{folder / 'captions.jsonl'}, line 2"
    assert problem in caught.value.problem
    assert "source.bad_rows" in caught.value.hint


@pytest.mark.parametrize(("line", "problem"), BAD_LINES.values(), ids=BAD_LINES)
def test_bad_line_is_dropped_and_counted_where_the_recipe_says_so(folder: Path, line: Any, problem: Any) -> None:
    write_lines(folder / "captions.jsonl", caption(), line, caption())
    records, drops = read(read_captioned_folder, folder, "drop")
    assert len(records) == 2
    ((reason, entry),) = drops.items()
    assert reason in ("unreadable row", "image file not found in the folder")
    assert entry["count"] == 1
    assert entry["first"][0].startswith("captions.jsonl, line 2: ")
    assert str(folder) not in json.dumps(drops)  # it goes on the card


def test_byte_order_mark_of_windows_is_not_part_of_the_first_line(folder: Path) -> None:
    write_lines(folder / "captions.jsonl", b"\xef\xbb\xbf" + json.dumps(caption()).encode(), caption())
    assert len(read(read_captioned_folder, folder)[0]) == 2


def test_folder_of_pictures_that_is_not_there_is_named_before_any_row_is_read(folder: Path) -> None:
    settings = SourceSettings(folder, "test", images=[folder, folder / "typo"])
    with pytest.raises(InputError, match=r"source\.images: .*typo is not a folder"):
        FORMATS["captioned_folder"].images(settings)


def test_empty_caption_is_always_dropped_and_counted_with_its_line(folder: Path) -> None:
    write_lines(folder / "captions.jsonl", caption(""), caption(), caption(" \t"))
    records, drops = read(read_captioned_folder, folder)
    assert len(records) == 1
    assert drops == {"empty caption": {"count": 2, "first": ["captions.jsonl, line 1", "captions.jsonl, line 3"]}}


def test_ledger_keeps_the_first_five_places_and_counts_on() -> None:
    drops, more = Drops(), Drops()
    for line in range(4):
        drops.add("torn", f"line {line}")
        more.add("torn", f"other line {line}")
    drops.merge(more.as_dict())
    assert drops.as_dict() == {
        "torn": {"count": 8, "first": ["line 0", "line 1", "line 2", "line 3", "other line 0"]},
    }


def test_captions_stream_in_order_without_blank_lines_and_with_numeric_ids(folder: Path) -> None:
    row = {"dataset_id": "mscoco", "image_id": 139, "annotator_id": 4, "caption": " A cat. ", "image": "b.png"}
    write_lines(folder / "captions.jsonl", caption(), b"  ", row)
    drops = Drops()
    records = read_captioned_folder(SourceSettings(folder, "test"), ImageFolders([folder]), drops)
    assert next(records) == CaptionedImage("1", "a.png", "A dog.", "test")
    assert list(records) == [CaptionedImage("139", "b.png", "A cat.", "test")]


@pytest.mark.parametrize("reader", [read_similar_pairs, read_llava_mix, read_cad_qa_file])
def test_missing_file_is_named(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.jsonl?: cannot be read \(No such file or directory\)"):
        read(reader, tmp_path)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample pictures are not beside this checkout")
def test_real_captions_are_read_whole() -> None:
    records, drops = read(read_captioned_folder, SAMPLE)
    assert len(records) == 245
    assert drops == {}
    assert all((SAMPLE / record.image).is_file() for record in records)


def note(answer: object) -> dict[str, object]:
    return {"user": "What differs?", "assistant": answer, "source": "MIMIC-IT"}


def test_similar_pair_joins_all_answers_as_context(folder: Path) -> None:
    texts = [note("One dog is black. "), note("The other runs.")]
    names = ["a.png", "b.png"]
    write_lines(folder / "pairs.jsonl", {"images": names, "texts": texts}, {"id": 7, "images": names, "texts": texts})
    records, _ = read(read_similar_pairs, folder)
    context = "One dog is black. The other runs."
    assert records == [
        ImagePair("a.png|b.png", ("a.png", "b.png"), "test", context=context),
        ImagePair("7", ("a.png", "b.png"), "test", context=context),
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"images": ["a.png", "gone.png"], "texts": [note("x")]}, "'gone.png' is missing"),
        ({"images": ["a.png"], "texts": [note("x")]}, "1 images, which should be 2"),
        ({"images": ["a.png", "a.png"], "texts": [note("x")]}, "the two images are the same"),
        ({"images": ["a.png", 3], "texts": [note("x")]}, "not a string"),
        ({"images": ["a.png", "b.png"], "texts": [note(None)]}, "'assistant'"),
        ({"images": ["a.png", "b.png"], "texts": ["x"]}, "not a JSON object"),
        ({"images": ["a.png", "b.png"]}, "'texts'"),
    ],
)
def test_bad_similar_pair_is_refused_or_dropped(folder: Path, row: dict[str, Any], problem: str) -> None:
    write_lines(folder / "pairs.jsonl", row)
    with pytest.raises(InputError, match=r"pairs\.jsonl, line 1") as caught:
        read(read_similar_pairs, folder)
    assert problem in caught.value.problem
    records, drops = read(read_similar_pairs, folder, "drop")
    assert records == []
    assert sum(entry["count"] for entry in drops.values()) == 1


def test_similar_pair_without_a_note_is_dropped_and_counted(folder: Path) -> None:
    write_lines(folder / "pairs.jsonl", {"images": ["a.png", "b.png"], "texts": [note(" ")]})
    assert read(read_similar_pairs, folder) == (
        [],
        {"no difference note": {"count": 1, "first": ["pairs.jsonl, line 1"]}},
    )


def turns(*values: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[index % 2], "value": value} for index, value in enumerate(values)]


LLAVA_ROWS: list[dict[str, Any]] = [
    {"id": "000", "image": "a.png", "conversations": turns("<image>\nWhat is it?", "A dog.", "Its colour?", "Black.")},
    {"id": "001", "conversations": turns("Say hello.", "Hello.")},
    {"id": 2, "image": None, "conversations": turns("Say hello.", "Hello.")},
]


@pytest.mark.parametrize("name", ["instruct.json", "instruct.jsonl", "llava_v1_5_mix665k.json"])
def test_llava_rows_become_messages_with_image_parts_in_place(folder: Path, name: str) -> None:
    if name.endswith("l"):
        write_lines(folder / name, *LLAVA_ROWS)
    else:
        (folder / name).write_text(json.dumps(LLAVA_ROWS))
    records, drops = read(read_llava_mix, folder)
    assert drops == {}
    assert [(record.id, record.images) for record in records] == [("000", ("a.png",)), ("001", ()), ("2", ())]
    assert records[0].messages[0] == {
        "role": "user",
        "content": [{"type": "image", "text": None}, {"type": "text", "text": "\nWhat is it?"}],
    }
    assert [message["role"] for message in records[0].messages] == ["user", "assistant"] * 2


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "1", "image": ["a.png"] * 101, "conversations": turns("<image>", "x")}, "101 images, more than 100"),
        ({"id": "1", "image": ["a.png", 3], "conversations": turns("<image>", "x")}, "'path' is missing or not a str"),
        ({"id": "1", "image": ["a.png", "b.png"], "conversations": turns("<image>", "x")}, "1 <image> for 2 images"),
        ({"id": "1", "image": "gone.png", "conversations": turns("<image>", "x")}, "'gone.png' is missing"),
        ({"id": "1", "image": "a.png", "conversations": turns("What?", "x")}, "0 <image> for 1 images"),
        ({"id": "1", "conversations": turns("<image> What?", "x")}, "1 <image> for 0 images"),
        ({"id": "1", "conversations": turns("What?")}, "does not alternate"),
        ({"id": "1", "conversations": turns("What?", "x")[::-1]}, "does not alternate"),
        ({"id": "1", "conversations": []}, "does not alternate"),
        ({"id": "1"}, "'conversations'"),
        ({"conversations": turns("What?", "x")}, "'id'"),
    ],
)
def test_bad_llava_row_is_refused_or_dropped_with_its_number(folder: Path, row: dict[str, Any], problem: str) -> None:
    (folder / "instruct.json").write_text(json.dumps([LLAVA_ROWS[1], row]))
    with pytest.raises(InputError, match=r"instruct\.json, row 2") as caught:
        read(read_llava_mix, folder)
    assert problem in caught.value.problem
    records, drops = read(read_llava_mix, folder, "drop")
    assert len(records) == 1
    assert sum(entry["count"] for entry in drops.values()) == 1


@pytest.mark.parametrize("content", ['[{"id": ', '{"id": "1"}', "[" * 100_000])
def test_llava_file_that_is_no_list_is_refused(folder: Path, content: str) -> None:
    (folder / "instruct.json").write_text(content)
    with pytest.raises(InputError, match=r"instruct\.json: not (valid JSON|a JSON list)"):
        read(read_llava_mix, folder)


def test_torn_llava_list_names_the_row_after_which(folder: Path) -> None:
    (folder / "instruct.json").write_text(json.dumps(LLAVA_ROWS)[:-40])
    records = read_llava_mix(SourceSettings(folder, "test", "drop"), ImageFolders([folder]), Drops())
    assert [next(records).id, next(records).id] == ["000", "001"]  # streamed: what stands before the tear is there
    with pytest.raises(InputError, match=r"instruct\.json: not valid JSON after row 2"):
        next(records)


def open_question(**changes: object) -> dict[str, object]:
    text = "Image 1: <image>\nImage 2: <image>\nWhat differs? "
    return {"image": ["a.png", "b.png"], "text": text, "answer": "The colour.", "question_id": 7, **changes}


def test_open_question_and_its_answer_stay_as_they_stand(folder: Path) -> None:
    write_lines(folder / "cad_qa.jsonl", open_question(), b"", open_question(question_id="8", answer=" Two.\n"))
    records, drops = read(read_cad_qa_file, folder)
    assert drops == {}
    question = "Image 1: <image>\nImage 2: <image>\nWhat differs? "
    assert records == [
        PairQuestion("7", ("a.png", "b.png"), question, "The colour.", "test"),
        PairQuestion("8", ("a.png", "b.png"), question, " Two.\n", "test"),
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image": ["a.png", "gone.png"]}, "'gone.png' is missing"),
        ({"image": ["a.png", "../outside.png"]}, "leads out of the folder"),
        ({"image": ["a.png", None]}, "not a string"),
        ({"image": ["a.png"]}, "1 images, which should be 2"),
        ({"image": ["a.png", "b.png", "a.png"]}, "3 images, which should be 2"),
        ({"image": "ab"}, "'image' is missing or not a list"),
        ({"text": "<image> What is it?"}, "1 <image> for 2 images"),
        ({"text": None}, "'text' is missing or not a string"),
        ({"answer": 3}, "'answer' is missing or not a string"),
        ({"question_id": None}, "'question_id' is missing or not a string"),
    ],
)
def test_bad_open_question_is_refused_or_dropped(folder: Path, changes: dict[str, Any], problem: str) -> None:
    (folder.parent / "outside.png").write_bytes(b"secret")
    write_lines(folder / "cad_qa.jsonl", open_question(), open_question(**changes))
    with pytest.raises(InputError, match=r"cad_qa\.jsonl, line 2") as caught:
        read(read_cad_qa_file, folder)
    assert problem in caught.value.problem
    records, drops = read(read_cad_qa_file, folder, "drop")
    assert len(records) == 1
    assert sum(entry["count"] for entry in drops.values()) == 1


def test_open_question_with_an_empty_answer_is_always_dropped_and_counted(folder: Path) -> None:
    write_lines(folder / "cad_qa.jsonl", open_question(answer=" "), open_question())
    records, drops = read(read_cad_qa_file, folder)
    assert len(records) == 1
    assert drops == {"empty answer": {"count": 1, "first": ["cad_qa.jsonl, line 1"]}}
