"""Held-out images stay out, whatever folder they lie in, and what is left out is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage, ImagePair, cad_qa_features
from cadvi_hub.sources.held_out import HELD_OUT, leave_out, read_held_out


def write_rows(folder: Path, names: list[list[str | None]]) -> None:
    from datasets import Dataset

    folder.mkdir()
    features = cad_qa_features()
    rows = []
    for number, row in enumerate(names):
        images = [{"bytes": b"\x89PNG not read", "path": name} for name in row]
        empty = {name: [] if name in ("captions", "differences", "shared_nouns") else "" for name in features}
        rows.append({**empty, "id": str(number), "images": images})
    Dataset.from_list(rows, features=features).to_parquet(folder / "test-00000-of-00001.parquet")


def test_a_text_file_names_one_image_per_line(tmp_path: Path) -> None:
    listed = tmp_path / "held_out.txt"
    listed.write_text("\ufeffVG_100K/1.jpg\r\n\n  2 b.jpg  \n1.jpg\nCOCO_val2014_000000000139.jpg", encoding="utf-8")
    assert read_held_out([listed]) == {"1", "2 b", "000000000139"}


def test_all_images_of_a_built_folder_are_held_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "cad_qa", [["1.jpg", "2.jpg"], ["2.jpg", "3.jpg"]])
    assert read_held_out([tmp_path / "cad_qa"]) == {"1", "2", "3"}


def test_question_files_and_mixes_hold_their_images_out(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(
        '{"image": ["COCO_val2014_000000000139.jpg", "2.jpg"]}\n{"text": "Hi."}\n'
    )
    (tmp_path / "mix.json").write_text('[{"image": "gqa/images/3.jpg"}, {"conversations": []}]')
    assert read_held_out([tmp_path / "questions.jsonl", tmp_path / "mix.json"]) == {"000000000139", "2", "3"}
    (tmp_path / "other.jsonl").write_text('{"image": 3}\n')
    with pytest.raises(InputError, match=r"other\.jsonl, line 1: 'image' or 'images' is not a file name"):
        read_held_out([tmp_path / "other.jsonl"])


def test_several_places_add_up_and_none_holds_nothing_out(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"{name}.jpg\n")
    assert read_held_out([tmp_path / "a", tmp_path / "b"]) == {"a", "b"}
    assert read_held_out([]) == frozenset()


def test_records_with_a_held_out_image_are_counted_and_the_rest_keeps_its_order() -> None:
    captioned = [CaptionedImage(str(k), f"VG_100K_2/{k}.jpg", "A dog.", "test") for k in range(5)]
    drops = Drops()
    kept = list(leave_out(captioned, lambda entry: (entry.image,), frozenset({"1", "3"}), drops))
    assert [entry.image_id for entry in kept] == ["0", "2", "4"]
    assert drops.as_dict() == {HELD_OUT: {"count": 2, "first": ["VG_100K_2/1.jpg", "VG_100K_2/3.jpg"]}}
    pairs = [ImagePair("p", ("a.jpg", "x/b.jpg"), "test"), ImagePair("q", ("b2.png", "c.jpg"), "test")]
    assert list(leave_out(pairs, lambda pair: pair.images, frozenset({"b"}), drops)) == pairs[1:]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"", "names no image"), (b"\xff\xfe1", "not UTF-8")],
)
def test_a_list_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    listed = tmp_path / "held_out.txt"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(InputError, match=f"held_out.txt.*{says}"):
        read_held_out([listed])


def test_a_folder_that_is_no_built_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no parquet file is there"):
        read_held_out([tmp_path])
    write_rows(tmp_path / "nameless", [[None]])
    with pytest.raises(InputError, match="no file name"):
        read_held_out([tmp_path / "nameless"])
    from datasets import Dataset

    Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column of images"):
        read_held_out([tmp_path])
    (tmp_path / "other.parquet").write_bytes(b"torn")
    with pytest.raises(InputError, match="does not read as parquet"):
        read_held_out([tmp_path])


def test_a_file_that_is_broken_inside_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "cad_qa", [["1.jpg", "2.jpg"]])
    file = tmp_path / "cad_qa/test-00000-of-00001.parquet"
    data = bytearray(file.read_bytes())
    data[4 : data.index(b"ARROW:schema") // 2] = b"\xff" * (data.index(b"ARROW:schema") // 2 - 4)
    file.write_bytes(data)
    with pytest.raises(InputError, match="does not read as parquet"):
        read_held_out([tmp_path / "cad_qa"])
