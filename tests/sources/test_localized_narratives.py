"""Localized Narratives: full and light files of four collections, whose ids become file names."""

import json
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.localized_narratives import SEEN, read_localized_narratives
from cadvi_hub.sources.settings import SourceSettings
from tests.support.readers import draw, read, write_lines

SAMPLE = Path(__file__).parents[3] / "shared/data/localized_narratives/coco_val_captions.jsonl"


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    return SourceSettings(tmp_path / "captions", "narratives", images=[tmp_path / "pictures"])


def narrative(image_id: object, dataset_id: str = "mscoco_train2017", **more: object) -> dict[str, object]:
    return {"dataset_id": dataset_id, "image_id": image_id, "annotator_id": 3, "caption": f"It is {image_id}.", **more}


@pytest.mark.parametrize(
    ("dataset_id", "image_id", "file", "collection"),
    [
        ("mscoco_train2017", "139", "coco/train2017/000000000139.jpg", "coco"),
        ("COCO_val2017", 139, "000000000139.jpg", "coco"),
        ("mscoco", "000000000139", "val2017/000000000139.jpg", "coco"),
        ("open_images_train_v6", "000a1249af2bc5f0", "train_0/000a1249af2bc5f0.jpg", "open_images"),
        ("OpenImages", "000a1249af2bc5f0", "000a1249af2bc5f0.jpg", "open_images"),
        ("Flicker30k", "36979", "flickr30k-images/36979.jpg", "flickr30k"),
        ("flickr30k_test", "36979", "36979.jpg", "flickr30k"),
        ("Flick30k", "36979", "36979.jpg", "flickr30k"),
        ("ADE20k_train", "ADE_train_00009414", "training/c/ADE_train_00009414.jpg", "ade20k"),
        ("ade_20k", "ADE_val_00000001", "ADE_val_00000001.jpg", "ade20k"),
    ],
)
def test_each_collection_names_its_pictures_in_its_own_way(
    source: SourceSettings, dataset_id: str, image_id: int | str, file: str, collection: str
) -> None:
    write_lines(source.path / "a_captions.jsonl", [narrative(image_id, dataset_id)])
    draw(source.images[0], file)
    records, drops = read(read_localized_narratives, source)
    assert drops == {}
    assert records == [CaptionedImage(str(image_id), file, f"It is {image_id}.", f"narratives/{collection}")]


def test_full_and_light_files_and_all_shards_are_read_in_the_order_of_their_names(source: SourceSettings) -> None:
    traces: dict[str, Any] = {
        "timed_caption": [{"utterance": "It"}],
        "traces": [[{"x": 0.1, "y": 0.2, "t": 0.0}]],
        "voice_recording": "v",
    }
    for shard in (2, 0, 1):
        name = f"coco_train_localized_narratives-0000{shard}-of-00003.jsonl"
        write_lines(source.path / name, [narrative(shard, **traces)])
    write_lines(source.path / "coco_val_captions.jsonl", [narrative(3)])
    draw(source.images[0], *(f"{number:012d}.jpg" for number in range(4)))
    records, drops = read(read_localized_narratives, source)
    assert drops == {}
    assert [record.image_id for record in records] == ["0", "1", "2", "3"]


def test_a_narrative_that_both_full_and_light_files_have_is_read_once(source: SourceSettings) -> None:
    narratives = [narrative(1), narrative(1, annotator_id=4), narrative(1, caption="Another."), narrative(2)]
    write_lines(source.path / "coco_val_captions.jsonl", narratives)
    full = [{**row, "traces": [], "voice_recording": "v"} for row in narratives]
    write_lines(source.path / "coco_val_localized_narratives.jsonl", full)
    draw(source.images[0], "000000000001.jpg", "000000000002.jpg")
    records, drops = read(read_localized_narratives, source)
    assert len(records) == 4
    assert drops[SEEN] == {
        "count": 4,
        "first": [f"coco_val_localized_narratives.jsonl, line {line}" for line in range(1, 5)],
    }


def test_five_narratives_of_one_image_are_five_records_of_one_picture(source: SourceSettings) -> None:
    rows = [narrative(139, annotator_id=k) for k in range(4)] + [narrative("000000000139")]
    write_lines(source.path / "coco.jsonl", rows)
    draw(source.images[0], "000000000139.jpg")
    records, _ = read(read_localized_narratives, source)
    assert [record.image for record in records] == ["000000000139.jpg"] * 5


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (narrative(1, "visual_genome"), "unknown dataset_id 'visual_genome'"),
        (narrative("1_3"), "is not a number"),
        (narrative("../../etc/passwd"), "is not a number"),
        (narrative("../../secret", "open_images_train"), "leads out of the folder"),
        (narrative(7), "'000000000007.jpg' is missing"),
        (narrative(None), "'image_id' is missing"),
        ({"image_id": 1, "caption": "x"}, "'dataset_id' is missing"),
        (narrative(1, caption=None), "'caption' is missing"),
    ],
)
def test_bad_narrative_is_refused_or_dropped_with_its_line(source: SourceSettings, row: Any, problem: str) -> None:
    draw(source.images[0], "000000000001.jpg", "../secret.jpg")
    write_lines(source.path / "a.jsonl", [narrative(1)])
    write_lines(source.path / "b.jsonl", [narrative(1, annotator_id=4), row])
    with pytest.raises(InputError) as caught:
        read(read_localized_narratives, source)
    assert caught.value.where == f"{source.path / 'b.jsonl'}, line 2"
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read(read_localized_narratives, source)
    assert len(records) == 2
    assert [entry["count"] for entry in drops.values()] == [1]


def test_torn_or_wrongly_encoded_shard_is_refused_with_its_line(source: SourceSettings) -> None:
    draw(source.images[0], "000000000001.jpg")
    source.path.mkdir()
    for line, problem in ((b'{"dataset_id": "mscoco", "ima', "not valid JSON"), (b'{"caption": "\xe9"}', "not UTF-8")):
        (source.path / "a.jsonl").write_bytes(json.dumps(narrative(1)).encode() + b"\n" + line)
        with pytest.raises(InputError, match=f"line 2: {problem}"):
            read(read_localized_narratives, source)


def test_folder_without_caption_files_is_refused(source: SourceSettings) -> None:
    source.path.mkdir()
    with pytest.raises(InputError, match=r"no \*\.jsonl file is there"):
        read(read_localized_narratives, source)


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the sample captions are not beside this checkout")
def test_real_captions_find_their_pictures(source: SourceSettings) -> None:
    source.path, source.bad_rows = SAMPLE.parent, "drop"
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    drawn = sorted({int(row["image_id"]) for row in rows})[:40]
    draw(source.images[0], *(f"val2017/{number:012d}.jpg" for number in drawn))
    records, drops = read(read_localized_narratives, source)
    expected = [row for row in rows if int(row["image_id"]) in drawn]
    assert [record.caption for record in records] == [row["caption"].strip() for row in expected]
    assert {record.image for record in records} == {f"val2017/{number:012d}.jpg" for number in drawn}
    assert drops["image file not found in the folder"]["count"] == len(rows) - len(expected) > 0
