"""MIMIC-IT's pairs: pictures decoded once out of base64, keys padded in several ways, two rows to a pair."""

import base64
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from cadvi_hub.core import files
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.sources import mimic_it
from cadvi_hub.sources.mimic_it import decoded_images, read_mimic_it
from cadvi_hub.sources.settings import SourceSettings
from tests.support.readers import png, read, write_json

PICTURES = {f"CGD_IMG_{number:012d}": png(colour) for number, colour in ((139, "red"), (2, "blue"), (30, "lime"))}


def note(answer: object, *keys: object, related: str = "") -> dict[str, object]:
    return {"instruction": "What differs?", "answer": answer, "image_ids": list(keys), "rel_ins_ids": [related]}


def write_source(folder: Path, *, pictures: dict[str, object] | None = None, **notes: object) -> SourceSettings:
    write_json(folder / "CGD_instructions.json", {"meta": {"version": "0.0.1"}, "data": notes})
    encoded = {key: base64.b64encode(data).decode() for key, data in PICTURES.items()} | (pictures or {})
    write_json(folder / "CGD.json", encoded)
    return SourceSettings(folder, "mimic")


def read_all(source: SourceSettings) -> tuple[list[Any], dict[str, Any]]:
    return read(read_mimic_it, source, decoded_images(source))


def test_rows_of_one_pair_become_one_record_with_all_answers(tmp_path: Path) -> None:
    source = write_source(
        tmp_path,
        CGD_INS_0=note("One is red.", "CGD_IMG_000000000139", "CGD_IMG_000000000002", related="CGD_INS_2"),
        CGD_INS_1=note("The third is green. ", "CGD_IMG_2", "CGD_IMG_30"),
        CGD_INS_2=note(" The other is blue.", "CGD_IMG_0139", "CGD_IMG_2", related="CGD_INS_0"),
    )
    records, drops = read_all(source)
    assert drops == {}
    first, second = ("CGD_IMG_139", "CGD_IMG_2"), ("CGD_IMG_2", "CGD_IMG_30")
    assert records == [
        ImagePair("CGD_INS_0", first, "mimic", context="One is red. The other is blue."),
        ImagePair("CGD_INS_1", second, "mimic", context="The third is green."),
    ]
    store = decoded_images(source)
    assert [store.read(name)["bytes"] for name in first] == [PICTURES[f"CGD_IMG_{n:012d}"] for n in (139, 2)]


@pytest.mark.parametrize("index", ["key", None])
def test_pictures_in_a_data_frame_are_decoded_as_those_in_json(tmp_path: Path, index: str | None) -> None:
    import pandas as pd

    source = write_source(tmp_path, CGD_INS_0=note("One is red.", "CGD_IMG_139", "CGD_IMG_2"))
    encoded = json.loads((tmp_path / "CGD.json").read_text())
    (tmp_path / "CGD.json").unlink()
    frame = pd.DataFrame({"base64": encoded.values()}, index=pd.Index(encoded.keys(), name=index))
    frame.to_parquet(tmp_path / "CGD_images.parquet")
    (record,), drops = read_all(source)
    assert (drops, record.images) == ({}, ("CGD_IMG_139", "CGD_IMG_2"))
    assert decoded_images(source).read("CGD_IMG_2")["bytes"] == PICTURES["CGD_IMG_000000000002"]


def test_a_data_frame_without_pictures_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    source = write_source(tmp_path, CGD_INS_0=note("One is red.", "CGD_IMG_139", "CGD_IMG_2"))
    (tmp_path / "CGD.json").unlink()
    pd.DataFrame({"picture": ["x"]}, index=["CGD_IMG_139"]).to_parquet(tmp_path / "CGD.parquet")
    with pytest.raises(InputError, match=r"no column 'base64'"):
        read_all(source)


def test_pictures_are_decoded_into_the_first_folder_of_images(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a", CGD_INS_0=note("One is red.", "CGD_IMG_139", "CGD_IMG_2"))
    source.images = [tmp_path / "b/pictures"]
    (record,), _ = read_all(source)
    assert {file.name for file in (tmp_path / "b/pictures").glob("CGD*")} == {"CGD_IMG_139", "CGD_IMG_2", "CGD_IMG_30"}
    assert not (tmp_path / "a/CGD").exists()
    assert record.images == ("CGD_IMG_139", "CGD_IMG_2")


def test_decoded_pictures_serve_without_their_file_and_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path, CGD_INS_0=note("One is red.", "CGD_IMG_139", "CGD_IMG_2"))
    before = read_all(source)
    monkeypatch.setattr(mimic_it, "locked", lambda *_, **__: pytest.fail("it was opened for writing"))
    assert read_all(source) == before
    (tmp_path / "CGD.json").unlink()
    assert read_all(source) == before


def _decode_and_die(folder: Path, after: int) -> None:
    written: list[Path] = []
    replacing = files.replacing

    @contextmanager
    def replacing_until_death(path: Path, **options: Any) -> Iterator[IO[bytes]]:
        written.append(path)
        with replacing(path, **options) as file:
            yield file
            if len(written) > after:
                file.truncate(10)
                os.kill(os.getpid(), signal.SIGKILL)

    files.replacing = replacing_until_death
    decoded_images(SourceSettings(folder, "mimic"))


@pytest.mark.parametrize("after", range(5))
def test_decoding_that_was_killed_goes_on_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: Any
) -> None:
    source = write_source(tmp_path)
    child = multiprocessing.get_context("spawn").Process(target=_decode_and_die, args=(tmp_path, after))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    there = {file.name for file in (tmp_path / "CGD").glob("CGD*")}
    assert len(there) == max(0, after - 1)
    written, replacing = list[str](), files.replacing

    def counted(path: Path, **options: Any) -> Any:
        written.append(path.name)
        return replacing(path, **options)

    monkeypatch.setattr(files, "replacing", counted)
    store = decoded_images(source)
    assert {store.read(f"CGD_IMG_{n}")["bytes"] for n in (139, 2, 30)} == set(PICTURES.values())
    assert not there & set(written)  # nothing is written twice
    assert json.loads((tmp_path / "CGD/_decoded.json").read_bytes())["whole"]


def test_folder_of_another_file_is_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    decoded_images(source)
    write_source(tmp_path, pictures={"CGD_IMG_7": "AAAA"})
    with pytest.raises(InputError, match=r"holds the pictures of another file \(CGD\.json, \d+ bytes\)"):
        decoded_images(source)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("../../x.jpg", "AAAA", "its key cannot be a file name"),
        ("/x.jpg", "AAAA", "its key cannot be a file name"),
        ("_decoded.json", "AAAA", "its key cannot be a file name"),
        ("", "AAAA", "its key cannot be a file name"),
        ("a" * 200, "AAAA", "its key cannot be a file name"),
        ("CGD_IMG_7", "A?AA", "not base64 text"),
        ("CGD_IMG_7", "AAA", "not base64 text"),
        ("CGD_IMG_7", "é", "not base64 text"),
        ("CGD_IMG_7", None, "'picture' is missing or not a string"),
        ("CGD_IMG_7", {"a": 1}, "'picture' is missing or not a string"),
    ],
)
def test_entry_that_is_no_picture_is_refused_or_missing_to_its_pair(
    tmp_path: Path, key: str, value: dict[str, Any] | str | None, problem: str
) -> None:
    folder = tmp_path / "a/b"
    pairs = {"CGD_INS_0": note("x", "CGD_IMG_139", key or "none"), "CGD_INS_1": note("y", "CGD_IMG_139", "CGD_IMG_2")}
    source = write_source(folder, pictures={key: value}, **pairs)
    with pytest.raises(InputError, match=r"CGD\.json, row 4") as caught:
        decoded_images(source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read_all(source)
    assert [record.pair_id for record in records] == ["CGD_INS_1"]
    assert drops["image file not found in the folder"]["count"] == 1
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {
        *("CGD.json", "CGD_instructions.json", "_decoded.json", "_lock"),
        *("CGD_IMG_139", "CGD_IMG_2", "CGD_IMG_30"),
    }


def test_both_base64_alphabets_are_read(tmp_path: Path) -> None:
    source = write_source(tmp_path, pictures={"CGD_IMG_7": "+/+/", "CGD_IMG_8": "-_-_"})
    store = decoded_images(source)
    assert store.read("CGD_IMG_7")["bytes"] == store.read("CGD_IMG_8")["bytes"] == b"\xfb\xff\xbf"


def test_torn_file_of_pictures_names_the_row_after_which_and_is_not_taken_for_whole(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    file = tmp_path / "CGD.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"CGD\.json: not valid JSON after row 2"):
        decoded_images(source)
    assert not json.loads((tmp_path / "CGD/_decoded.json").read_bytes())["whole"]


def test_folder_that_cannot_be_written_is_named_with_a_hint(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    (tmp_path / "CGD").write_text("a file")
    with pytest.raises(InputError, match=r"CGD: cannot be written .*source\.images"):
        decoded_images(source)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (note("x", "CGD_IMG_139", "CGD_IMG_404"), "'CGD_IMG_404' is missing"),
        (note("x", "CGD_IMG_139", "../CGD_instructions.json"), "is not a valid key"),
        (note("x", "CGD_IMG_139", "_decoded.json"), "is not a valid key"),
        (note("x", "CGD_IMG_139"), "1 images, which should be 2"),
        (note("x", "CGD_IMG_139", "CGD_IMG_0139"), "the two images are the same"),
        (note("x", "CGD_IMG_139", 2), "'image_ids' is missing or not a string"),
        (note(None, "CGD_IMG_139", "CGD_IMG_2"), "'answer' is missing"),
        ("x", "not a JSON object"),
    ],
)
def test_bad_row_is_refused_or_dropped_with_its_id(tmp_path: Path, row: Any, problem: str) -> None:
    source = write_source(tmp_path, CGD_INS_0=note("One is red.", "CGD_IMG_139", "CGD_IMG_2"), CGD_INS_1=row)
    with pytest.raises(InputError, match=r"CGD_instructions\.json, row 2 \(CGD_INS_1\)") as caught:
        read_all(source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read_all(source)
    assert [record.context for record in records] == ["One is red."]
    assert sum(entry["count"] for entry in drops.values()) == 1


def test_missing_files_are_named(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    (tmp_path / "CGD.json").unlink()
    with pytest.raises(
        InputError, match=r"no CGD\.json or CGD_images\.json or CGD\.parquet or CGD_images\.parquet is there"
    ):
        decoded_images(source)
