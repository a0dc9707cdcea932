"""SVIT's descriptions: what says where a picture is, what is dropped, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.sources.svit import read_svit
from tests.support.readers import draw, read, write_json


def described(image_id: object, *answers: str) -> dict[str, object]:
    content = [{"from": "user", "value": "Describe it."}, *({"from": "gpt", "value": answer} for answer in answers)]
    return {"image_id": image_id, "conversations": [{"content": content}]}


def listed(image_id: int, folder: str) -> dict[str, object]:
    return {"image_id": image_id, "url": f"https://example.org/rak248/{folder}/{image_id}.jpg", "width": 800}


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    write_json(tmp_path / "image_data.json", [listed(2, "VG_100K_2"), listed(61512, "VG_100K"), listed(3, "VG_100K")])
    draw(tmp_path, "VG_100K_2/2.jpg", "VG_100K/61512.jpg")
    return SourceSettings(tmp_path, "svit")


def describe(source: SourceSettings, *rows: object) -> None:
    write_json(source.path / "detail_description.json", rows)


def test_descriptions_become_captions_of_the_picture_in_the_listed_folder(source: SourceSettings) -> None:
    describe(source, described(61512, " A street. "), described("2", "A man.", "He runs."))
    records, drops = read(read_svit, source)
    assert drops == {}
    assert records == [
        CaptionedImage("61512", "VG_100K/61512.jpg", "A street.", "svit"),
        CaptionedImage("2", "VG_100K_2/2.jpg", "A man. He runs.", "svit"),
    ]


def test_pictures_are_found_below_another_folder(source: SourceSettings, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "visual_genome/images/VG_100K/3.jpg")
    source.images = [tmp_path / "elsewhere"]
    describe(source, described(3, "A cat."))
    records, _ = read(read_svit, source)
    assert [record.image for record in records] == ["visual_genome/images/VG_100K/3.jpg"]


def test_description_of_a_model_that_got_no_picture_is_dropped_and_counted(source: SourceSettings) -> None:
    answers = ("Your message seems to be empty.", "I’m sorry, but I can’t see a picture.", "A street.")
    describe(source, *(described(number, answer) for number, answer in zip((2, 2, 61512), answers, strict=True)))
    records, drops = read(read_svit, source)
    assert [record.caption for record in records] == ["A street."]
    assert drops["caption that refuses to describe the picture"]["count"] == 2


def test_empty_description_is_always_dropped_and_counted(source: SourceSettings) -> None:
    describe(source, described(2, " "), described(2), described(61512, "A street."))
    records, drops = read(read_svit, source)
    assert len(records) == 1
    places = ["detail_description.json, row 1", "detail_description.json, row 2"]
    assert drops == {"empty caption": {"count": 2, "first": places}}


@pytest.mark.parametrize(
    ("row", "reason", "problem"),
    [
        (described(5, "x"), "image not listed in image_data.json", "image '5' is not in image_data.json"),
        (described("../2", "x"), "image not listed in image_data.json", "image '../2'"),
        (described(3, "x"), "image file not found in the folder", "'VG_100K/3.jpg' is missing"),
        (described(None, "x"), "unreadable row", "'image_id'"),
        ({"image_id": 2}, "unreadable row", "'conversations'"),
        ({"image_id": 2, "conversations": ["x"]}, "unreadable row", "not a JSON object"),
        ({"image_id": 2, "conversations": [{"content": [{"from": "gpt"}]}]}, "unreadable row", "'value'"),
        ("x", "unreadable row", "not a JSON object"),
    ],
)
def test_bad_description_is_refused_or_dropped_with_its_row(
    source: SourceSettings, row: Any, reason: str, problem: str
) -> None:
    describe(source, described(2, "A man."), row)
    with pytest.raises(InputError, match=r"detail_description\.json, row 2") as caught:
        read(read_svit, source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read(read_svit, source)
    assert len(records) == 1
    assert list(drops) == [reason]


@pytest.mark.parametrize(
    "url", ["https://example.org/VG_100K_3/2.jpg", "VG_100K/../2.jpg", "https://e.org/VG_100K/2.png", 3]
)
def test_listed_picture_of_no_known_folder_is_refused_with_its_row(source: SourceSettings, url: int | str) -> None:
    write_json(source.path / "image_data.json", [listed(3, "VG_100K"), {"image_id": 2, "url": url}])
    describe(source, described(2, "A man."))
    with pytest.raises(InputError, match=r"image_data\.json, row 2: .*url"):
        read(read_svit, source)


def test_missing_files_are_named(source: SourceSettings) -> None:
    with pytest.raises(InputError, match=r"no detail\*\.json file is there"):
        read(read_svit, source)
    (source.path / "image_data.json").unlink()
    with pytest.raises(InputError, match=r"image_data\.json: cannot be read"):
        read(read_svit, source)


def test_torn_description_file_names_the_row_after_which(source: SourceSettings) -> None:
    describe(source, described(2, "A man."), described(2, "A dog."))
    file = source.path / "detail_description.json"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"detail_description\.json: not valid JSON after row 1"):
        read(read_svit, source)
