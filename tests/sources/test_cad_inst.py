"""The published CaD-Inst: lists written as strings are read without being run, and come out in our schema."""

import ast
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import Aspect, Difference, message, v1_features, v2_features
from cadvi_hub.sources.cad_inst import LONGEST_LIST, read_cad_inst, read_cad_inst_questions
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.formats import FORMATS
from cadvi_hub.sources.settings import SourceSettings
from tests.support.readers import draw, read

SUMMARY = (
    "Commonalities:\nBoth show a dog's bed.\n\nDifferences:\n1. Counts: One dog; two dogs.\n2. Actions: One runs."
)
ASK = "Image 1: <image>\nImage 2: <image>\nCompare them."
COCO, ADE = "000000000139.jpg", "ADE_train_00009414.jpg"


def turns(*values: str) -> str:
    return str([{"from": ("human", "gpt")[k % 2], "value": value} for k, value in enumerate(values)])


def phase(**columns: object) -> dict[str, object]:
    row = {"id": "7", "image": str([COCO, ADE]), "conversations": turns(ASK, SUMMARY, "A dog. Which image?", "A")}
    return {**row, "clip_sim_score": 0.5, "__null_dask_index__": 0} | columns


def publish(folder: Path, *rows: dict[str, object]) -> SourceSettings:
    from datasets import Dataset

    Dataset.from_list(list(rows)).to_parquet(folder / "hub/train-00000-of-00001.parquet")
    draw(folder / "pictures", f"coco/train2017/{COCO}", f"ade/{ADE}", "vg/VG_100K/2.jpg", "vg/VG_100K_2/2.jpg")
    draw(folder, "secret.jpg")
    return SourceSettings(folder / "hub", "cad_inst", images=[folder / "pictures"])


def test_published_row_comes_out_in_our_schema_with_its_pictures(tmp_path: Path) -> None:
    records, drops = read(read_cad_inst, publish(tmp_path, phase()))
    assert drops == {}
    (record,) = records
    assert (record.id, record.images) == ("7", (f"coco/train2017/{COCO}", f"ade/{ADE}"))
    assert set(v1_features()) | set(v2_features()) <= {"images", *record.row}
    assert record.row["messages"] == [
        message("user", ASK),
        message("assistant", SUMMARY),
        message("user", "A dog. Which image?"),
        message("assistant", "A"),
    ]
    differences = (Difference(Aspect.COUNTS, "One dog; two dogs."), Difference(Aspect.ACTIONS, "One runs."))
    assert record.row["commonalities"] == "Both show a dog's bed."
    assert record.row["differences"] == tuple(map(asdict, differences))
    assert (record.row["source"], record.row["annotator"], record.row["clip_sim_score"]) == ("cad_inst", "", 0.5)


@pytest.mark.parametrize("name", ["v1.json", "v1.jsonl"])
def test_the_authors_own_file_has_lists_in_place_of_strings(tmp_path: Path, name: str) -> None:
    row: dict[str, Any] = phase()
    own = {**row, "image": ast.literal_eval(row["image"]), "conversations": ast.literal_eval(row["conversations"])}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text(json.dumps(own) if name.endswith("l") else json.dumps([own]))
    expected, _ = read(read_cad_inst, publish(tmp_path, row))
    source = SourceSettings(tmp_path / "own" / name, "cad_inst", images=[tmp_path / "pictures"])
    assert read(read_cad_inst, source)[0] == expected
    assert len(FORMATS["cad_inst"].digest(source)) == 64


def test_second_phase_has_no_score(tmp_path: Path) -> None:
    row = phase(id=8)
    del row["clip_sim_score"]
    (record,), _ = read(read_cad_inst, publish(tmp_path, row))
    assert (record.id, record.row["clip_sim_score"]) == ("8", None)


def test_missing_score_is_unknown(tmp_path: Path) -> None:
    records, _ = read(
        read_cad_inst, publish(tmp_path, phase(), phase(clip_sim_score=float("nan")), phase(clip_sim_score=None))
    )
    assert [record.row["clip_sim_score"] for record in records] == [0.5, None, None]


def test_answer_of_another_layout_keeps_its_row_without_a_summary(tmp_path: Path) -> None:
    (record,), drops = read(read_cad_inst, publish(tmp_path, phase(conversations=turns(ASK, "They differ."))))
    assert drops == {}
    assert (record.row["commonalities"], record.row["differences"]) == ("", ())
    assert record.row["messages"][1] == message("assistant", "They differ.")


HOSTILE = {
    "a call": f"[open({str(Path('ran'))!r}, 'w')]",
    "a comprehension": "[x for x in (1, 2)]",
    "a name": "[names]",
    "torn": turns(ASK, SUMMARY)[:-5],
    "deep": "[" * 40_000,
    "signs": "-" * 40_000 + "1",
    "a sum": "1" + "+1" * 20_000,
    "NUL": "[1]\0",
    "unhashable": "{[]: 1}",
    "long number": "[" + "9" * 5_000 + "]",
    "no list": "'x'",
    "too long": str(["x" * LONGEST_LIST]),
    "empty": "",
}


@pytest.mark.parametrize("column", ["image", "conversations"])
@pytest.mark.parametrize("written", HOSTILE.values(), ids=HOSTILE)
def test_string_that_writes_no_list_is_a_bad_row_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, written: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    source = publish(tmp_path, phase(), phase(**{column: written}))
    with pytest.raises(InputError, match=rf"row 1: (key )?{column!r} (is not a list|has more than|is missing or not)"):
        read(read_cad_inst, source)
    source.bad_rows = "drop"
    records, drops = read(read_cad_inst, source)
    assert len(records) == 1
    assert drops["unreadable row"]["count"] == 1
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"image": str([COCO])}, "1 images, which should be 2"),
        ({"image": str([COCO, 3])}, "not a string"),
        ({"image": str([COCO, "gone.jpg"])}, "'gone.jpg' is missing"),
        ({"image": str([COCO, "../secret.jpg"])}, "leads out of the folder"),
        ({"image": str([COCO, "2.jpg"])}, "fits vg/VG_100K/2.jpg and vg/VG_100K_2/2.jpg"),
        ({"image": None}, "'image' is missing or not a string"),
        ({"conversations": turns("Compare them.", SUMMARY)}, "0 <image> for 2 images"),
        ({"conversations": turns(ASK, SUMMARY + "<image>")}, "3 <image> for 2 images"),
        ({"conversations": turns(ASK)}, "does not alternate"),
        ({"conversations": "[1, 2]"}, "not a JSON object"),
        ({"conversations": str([{"from": "human", "value": ASK}, {"from": "gpt", "value": "\ud800"}])}, "Unicode"),
        ({"id": None}, "'id' is missing"),
    ],
)
def test_bad_published_row_is_refused_or_dropped(tmp_path: Path, columns: dict[str, Any], problem: str) -> None:
    source = publish(tmp_path, phase(), phase(**columns))
    with pytest.raises(InputError, match="row 1") as caught:
        read(read_cad_inst, source)
    assert problem in caught.value.problem
    source.bad_rows = "drop"
    records, drops = read(read_cad_inst, source)
    assert len(records) == 1
    assert sum(entry["count"] for entry in drops.values()) == 1


def question(**columns: object) -> dict[str, object]:
    images = str(["VG_100K_2/2.jpg", "VG_100K/2.jpg"])
    return {"id": "2_2", "image": images, "question": ASK, "answer": " Two.\nQuestion: x", **columns}


def test_published_question_stays_as_it_stands(tmp_path: Path) -> None:
    records, drops = read(read_cad_inst_questions, publish(tmp_path, question(), question(answer="")))
    images = ("vg/VG_100K_2/2.jpg", "vg/VG_100K/2.jpg")
    assert records == [PairQuestion("2_2", images, ASK, " Two.\nQuestion: x", "cad_inst")]
    assert drops == {"empty answer": {"count": 1, "first": ["hub, row 1"]}}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [({"question": "What?"}, "0 <image> for 2 images"), ({"image": "[]"}, "0 images, which should be 2")],
)
def test_bad_published_question_is_refused(tmp_path: Path, columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read(read_cad_inst_questions, publish(tmp_path, question(), question(**columns)))
    assert problem in caught.value.problem


def test_config_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'conversations'"):
        read(read_cad_inst, publish(tmp_path, question()))
