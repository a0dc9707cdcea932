"""Sources that `datasets` loads: captioned images, The Cauldron's pairs, our own rows without their pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage, ImagePair, v2_features
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.sources.built import BuiltRow, read_built
from cadvi_hub.sources.captioned_dataset import read_captioned_dataset
from cadvi_hub.sources.dataset import DatasetImages, fingerprint, load_source
from cadvi_hub.sources.formats import format_of
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.sources.the_cauldron import read_the_cauldron
from tests.support.builds import FakeAnnotator, similar_source
from tests.support.readers import draw, parquet_source, png, read, write_lines


def embedded(*colours: str | None) -> list[dict[str, Any] | None]:
    return [{"bytes": png(colour), "path": f"{colour}.png"} if colour else None for colour in colours]


def read_captions(source: SourceSettings) -> tuple[list[Any], dict[str, Any]]:
    return read(read_captioned_dataset, source, DatasetImages(source, "image"))


def test_captions_of_embedded_pictures_are_numbered_by_row(tmp_path: Path) -> None:
    source = parquet_source(
        tmp_path / "d", image=embedded("red", "blue"), caption=[" A red one.", "A blue one."], other=[1, 2]
    )
    records, drops = read_captions(source)
    assert drops == {}
    assert records == [
        CaptionedImage("0", "0", "A red one.", "test"),
        CaptionedImage("1", "1", "A blue one.", "test"),
    ]
    assert DatasetImages(source, "image").read("1") == {"bytes": png("blue"), "path": "blue.png"}


def test_columns_are_named_in_the_recipe_even_where_ours_mean_something_else(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "caption": ["no", "no"],
        "text": ["A red one.", "Blue."],
        "key": [7, 8],
        "picture": embedded("red", "blue"),
    }
    source = parquet_source(tmp_path / "d", pictures="picture", **columns)
    source.columns = {"image": "picture", "caption": "text", "image_id": "key"}
    records, _ = read_captions(source)
    assert [(record.image_id, record.caption) for record in records] == [("7", "A red one."), ("8", "Blue.")]


def test_list_of_captions_gives_a_record_for_each(tmp_path: Path) -> None:
    captions = [["One.", " ", "Two."], [], ["Three."]]
    source = parquet_source(tmp_path / "d", image=embedded("red", "blue", "lime"), caption=captions)
    records, drops = read_captions(source)
    assert [(record.image, record.caption) for record in records] == [("0", "One."), ("0", "Two."), ("2", "Three.")]
    assert drops == {"empty caption": {"count": 2, "first": ["d, row 0", "d, row 1"]}}


@pytest.mark.parametrize(
    ("caption", "image", "problem"),
    [(None, "red", "'caption' is missing or not a string"), ("A dog.", None, "image 1 is empty")],
)
def test_bad_row_is_refused_or_dropped_with_its_number(
    tmp_path: Path, caption: str | None, image: str | None, problem: str
) -> None:
    source = parquet_source(tmp_path / "d", image=embedded("red", image), caption=["A cat.", caption])
    with pytest.raises(InputError, match="d, row 1") as caught:
        read_captions(source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read_captions(source)
    assert len(records) == 1
    assert sum(entry["count"] for entry in drops.values()) == 1


def image_folder(folder: Path) -> SourceSettings:
    draw(folder, "train/a.png", "train/b.png")
    rows = [{"file_name": "a.png", "text": "A cat."}, {"file_name": "b.png", "text": "A dog."}]
    write_lines(folder / "train/metadata.jsonl", rows)
    return SourceSettings(folder, "test", columns={"caption": "text"})


def test_folder_of_pictures_with_metadata_is_read(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "d")
    records, _ = read_captions(source)
    assert [record.caption for record in records] == ["A cat.", "A dog."]
    assert DatasetImages(source, "image").read("0") == {"bytes": png(), "path": "a.png"}


def test_picture_outside_of_the_data_set_is_never_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    paths = [str(secret), str(tmp_path / "d/../secret.png"), "../secret.png"]
    pictures = [{"bytes": None, "path": path} for path in paths]
    source = parquet_source(tmp_path / "d", image=pictures, caption=["A cat."] * 3)
    (tmp_path / "d/link.png").symlink_to(secret)
    store = DatasetImages(source, "image")
    for number in range(3):
        with pytest.raises(InputError, match=f"image {number} is a file outside of the data set"):
            store.read(str(number))


@pytest.mark.parametrize("name", ["2", "-1", "0/0", "x", "", "../0", "٠", "0" * 13, "0/x"])
def test_name_of_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    store = DatasetImages(parquet_source(tmp_path / "d", image=embedded("red", "blue"), caption=["A", "B"]), "image")
    with pytest.raises(InputError, match="it has no image"):
        store.find(name)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"caption": "text"}, "no column 'text' for our 'caption'; there are image, caption"),
        ({"image_id": "key"}, "no column 'key' for our 'image_id'"),
        ({"caption": "caption", "image_id": "caption"}, "names one of its columns twice"),
        ({"image": "caption", "caption": "image"}, "holds no pictures"),
    ],
)
def test_wrong_columns_are_refused_with_those_that_are_there(
    tmp_path: Path, columns: dict[str, Any], problem: str
) -> None:
    source = parquet_source(tmp_path / "d", image=embedded("red"), caption=["A cat."])
    source.columns = columns
    with pytest.raises(InputError, match=problem):
        read_captions(source)


def test_what_cannot_be_loaded_is_refused_with_the_cause(tmp_path: Path) -> None:
    source = parquet_source(tmp_path / "d", image=embedded("red"), caption=["A cat."])
    source.split = "validation"
    with pytest.raises(InputError, match=r"data set .*d: it cannot be loaded \(.*validation"):
        load_source(source)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/train.parquet").write_bytes((tmp_path / "d/train-00000-of-00001.parquet").read_bytes()[:-50])
    with pytest.raises(InputError, match=r"it cannot be loaded .*[Pp]arquet"):
        load_source(SourceSettings(tmp_path / "torn", "test"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it cannot be loaded"):
        load_source(SourceSettings(tmp_path / "empty", "test"))


def test_folders_of_one_name_with_cards_are_told_apart(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: v1\n  data_files: train-*.parquet\n---\n"
    for place, text in (("a", "A cat."), ("b", "A dog.")):
        source = parquet_source(tmp_path / place / "data", image=embedded("red"), caption=[text])
        (source.path / "README.md").write_text(card)
        source.subset = "v1"
        records, _ = read_captions(source)
        assert [record.caption for record in records] == [text]


def test_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = parquet_source(tmp_path / "a", image=embedded("red"), caption=["A cat."])
    same = parquet_source(tmp_path / "b", image=embedded("red"), caption=["A cat."])
    other = parquet_source(tmp_path / "c", image=embedded("blue"), caption=["A cat."])
    assert fingerprint(first) == fingerprint(same) != fingerprint(other)


@pytest.mark.parametrize("kind", ["parquet", "pictures"])
def test_repository_on_the_hub_is_read(hub: LoopbackHub, tmp_path: Path, kind: str) -> None:
    from huggingface_hub import HfApi

    if kind == "parquet":
        parquet_source(tmp_path / "d", image=embedded("red", "blue"), text=["A cat.", "A dog."])
    else:
        image_folder(tmp_path / "d")
    repo = f"tester/captioned-{kind}"
    HfApi().create_repo(repo, repo_type="dataset")
    HfApi().upload_folder(repo_id=repo, folder_path=tmp_path / "d", repo_type="dataset")
    source = SourceSettings(Path(repo), "test", columns={"caption": "text"})
    records, _ = read_captions(source)
    assert [record.caption for record in records] == ["A cat.", "A dog."]
    assert DatasetImages(source, "image").read("0")["bytes"] == png()
    assert fingerprint(source)
    with pytest.raises(InputError, match="data set tester/none: it cannot be loaded"):
        load_source(SourceSettings(Path("tester/none"), "test"))


def cauldron(folder: Path, images: list[Any], *answers: list[Any]) -> SourceSettings:
    """Rows of The Cauldron."""
    texts = [[{"user": "What differs?", "assistant": answer, "source": "mimic"} for answer in row] for row in answers]
    return parquet_source(folder / "d", pictures="images", images=images, texts=texts)


def read_pairs(source: SourceSettings) -> tuple[list[Any], dict[str, Any]]:
    return read(read_the_cauldron, source, DatasetImages(source, "images"))


def test_cauldron_row_becomes_a_pair_with_all_answers(tmp_path: Path) -> None:
    images = [embedded("red", "blue"), embedded("lime", "red"), embedded("red", "red")]
    source = cauldron(tmp_path, images, ["One is red. ", "One is blue."], ["It is green."], [" "])
    records, drops = read_pairs(source)
    assert records == [
        ImagePair("0", ("0/0", "0/1"), "test", context="One is red. One is blue."),
        ImagePair("1", ("1/0", "1/1"), "test", context="It is green."),
    ]
    assert drops == {"no difference note": {"count": 1, "first": ["d, row 2"]}}
    store = DatasetImages(source, "images")
    assert [store.read(name)["bytes"] for name in records[1].images] == [png("lime"), png("red")]


@pytest.mark.parametrize(
    ("images", "answer", "problem"),
    [
        (embedded("red"), "x", "1 images, which should be 2"),
        (embedded("red", "red", "red"), "x", "3 images, which should be 2"),
        ([], "x", "0 images, which should be 2"),
        (None, "x", "0 images, which should be 2"),
        (embedded("red", None), "x", "image 1/1 is empty"),
        (embedded("red", "blue"), None, "'assistant' is missing"),
    ],
)
def test_bad_cauldron_row_is_refused_or_dropped(tmp_path: Path, images: Any, answer: str | None, problem: str) -> None:
    source = cauldron(tmp_path, [embedded("red", "blue"), images], ["One is red."], [answer])
    with pytest.raises(InputError, match="d, row 1") as caught:
        read_pairs(source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read_pairs(source)
    assert len(records) == 1
    assert sum(entry["count"] for entry in drops.values()) == 1


def test_rows_built_without_pictures_get_them_back(tmp_path: Path) -> None:
    folder = build(BuildSettings("v2", similar_source(tmp_path / "s"), tmp_path, images="referenced"), FakeAnnotator())
    (tmp_path / "s").rename(tmp_path / "moved")
    source = SourceSettings(folder, "test", images=[tmp_path / "moved"])
    records, drops = read(read_built, source)
    assert drops == {}
    assert [record.id for record in records] == [f"p{k}" for k in range(7)]
    assert records[3].images == ("images/3.png", "images/4.png")
    assert {"images", *records[3].row} == set(v2_features())
    assert records[3].row["context"] == "Note 3."
    assert records[3].row["messages"][0]["content"][1] == {"type": "image", "text": None}
    json.dumps([asdict(record) for record in records])  # they are kept as a stage


def test_built_row_whose_picture_is_gone_or_nameless_is_refused_or_dropped(tmp_path: Path) -> None:
    nameless = {"bytes": png(), "path": None}
    images = [[{"bytes": None, "path": name} for name in ("a.png", "gone.png")], [nameless, nameless], []]
    source = parquet_source(tmp_path / "d", pictures="images", id=["0", "1", "2"], images=images, question=["x"] * 3)
    source.images = [tmp_path / "pictures"]
    draw(source.images[0], "sub/a.png")
    with pytest.raises(InputError, match=r"d, row 0: image 'gone\.png' is missing"):
        read(read_built, source)
    source.bad_rows = "drop"
    records, drops = read(read_built, source)
    assert records == [BuiltRow("2", (), {"id": "2", "question": "x"})]
    assert {reason: entry["count"] for reason, entry in drops.items()} == {
        "image file not found in the folder": 1,
        "unreadable row": 1,
    }


@pytest.mark.parametrize(
    ("config", "name", "holds"),
    [
        ("v1", "", "captions"),
        ("v1", "svit", "captions"),
        ("v1", "cad_inst", "rows"),
        ("v2", "", "pairs"),
        ("v2", "mimic_it", "pairs"),
        ("v2", "the_cauldron", "pairs"),
        ("v2", "localized_narratives", "captions"),
        ("instruct", "built", "rows"),
        ("cad_qa", "", "questions"),
        ("cad_qa", "cad_inst_questions", "questions"),
        ("cad_qa", "svit", "captions"),
    ],
)
def test_data_sets_are_made_of_these_formats(config: str, name: str, holds: str) -> None:
    assert format_of(config, SourceSettings(Path("x"), "x", format=name)).holds == holds


def test_format_that_a_data_set_cannot_be_made_of_is_refused_with_those_that_fit() -> None:
    with pytest.raises(InputError, match=r"instruct cannot be made of 'svit'.*llava_mix, cad_inst, built"):
        format_of("instruct", SourceSettings(Path("x"), "x", format="svit"))
