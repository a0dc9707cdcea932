"""A mixture holds what its recipe says, in the same order each time, and refuses rows that cannot be trained on."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from PIL import Image
from transformers import LlavaProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.mixture import load_mixture, pin
from cadvi_hub.training.rendering import MARKED
from cadvi_hub.training.settings import parse_sources
from tests.support.tunings import tiny_processor

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> LlavaProcessor:
    return tiny_processor(tmp_path_factory.mktemp("tiny"))


def row(name: str, images: int, text: str | None = None, answer: str = "A red one.") -> dict[str, Any]:
    places = "<image>" * images if text is None else text
    return {
        "id": name,
        "images": [{"bytes": encode_png(Image.new("RGB", (8, 8), "red")), "path": None}] * images,
        "messages": [message("user", f"{places}{name}?"), message("assistant", answer)],
        "source": "drawn",
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_rows(config: str, rows: list[dict[str, Any]], file: str = "train-00000-of-00001.parquet") -> Path:
        (tmp_path / config).mkdir(exist_ok=True)
        Dataset.from_list(rows, features=instruct_features()).to_parquet(str(tmp_path / config / file))
        return tmp_path

    return write_rows


def ids(dataset: Dataset) -> list[str]:
    return [turns[0]["content"][-1]["text"] for turns in dataset["messages"]]


def test_repeats_and_max_rows_count_and_the_order_follows_the_seed(write: Write, processor: LlavaProcessor) -> None:
    folder = str(write("v1", [row(f"pair {i}", 2) for i in range(5)]))
    write("instruct", [row(f"single {i}", 1) for i in range(9)])
    write("instruct", [row("another shard", 0)], "train-00001-of-00002.parquet")
    write("instruct", [row("never trained on", 0)], "test.parquet")
    settings = {
        "v1": {"path": folder, "config": "v1", "repeats": 3},
        "single": {"path": folder, "config": "instruct", "max_rows": 4},
    }
    mixture = load_mixture(settings, processor, max_tokens=100, seed=0)
    assert mixture.rows == {"v1": 15, "single": 4}
    assert mixture.dataset.column_names == ["images", "messages", "length", "swapped"]
    assert sum(name.startswith(("single", "another")) for name in ids(mixture.dataset)) == 4
    assert all(ids(mixture.dataset).count(f"pair {i}?") == 3 for i in range(5))
    assert "never trained on?" not in ids(mixture.dataset)
    again = load_mixture(settings, processor, max_tokens=100, seed=0)
    assert ids(again.dataset) == ids(mixture.dataset)
    assert ids(load_mixture(settings, processor, max_tokens=100, seed=1).dataset) != ids(mixture.dataset)


@pytest.mark.parametrize(("repeats", "expected"), [(0.5, 5), (1, 10), (1.5, 15), (2.0, 20), (0.01, 1)])
def test_repeats_can_be_fractions(write: Write, processor: LlavaProcessor, repeats: float, expected: int) -> None:
    source = {"path": str(write("v1", [row(f"row {i}", 0) for i in range(10)])), "config": "v1", "repeats": repeats}
    mixture = load_mixture({"v1": source}, processor, max_tokens=100, seed=0)
    assert mixture.rows == {"v1": expected} == {"v1": len(mixture.dataset)}
    times = [ids(mixture.dataset).count(f"row {i}?") for i in range(10)]
    assert max(times) - min(times) == (repeats % 1 > 0)
    assert ids(load_mixture({"v1": source}, processor, max_tokens=100, seed=0).dataset) == ids(mixture.dataset)


def test_folder_is_known_by_the_digest_of_its_build_and_another_build_is_refused(
    write: Write, processor: LlavaProcessor
) -> None:
    folder = write("v1", [row("pair", 2)])
    settings = {"v1": {"path": str(folder), "config": "v1"}}
    first = load_mixture(settings, processor, max_tokens=100, seed=0).revisions["v1"]
    assert first == load_mixture(settings, processor, max_tokens=100, seed=0).revisions["v1"]
    write("v1", [row("another pair", 2)])
    assert load_mixture(settings, processor, max_tokens=100, seed=0).revisions["v1"] not in (None, first)
    (folder / "v1" / "build.json").write_text('{"rows": 1}')
    revision = load_mixture(settings, processor, max_tokens=100, seed=0).revisions["v1"]
    assert revision == "sha256:" + hashlib.sha256(b'{"rows": 1}').hexdigest()
    settings["v1"]["revision"] = revision
    assert load_mixture(settings, processor, max_tokens=100, seed=0).revisions == {"v1": revision}
    (folder / "v1" / "build.json").write_text('{"rows": 2}')
    with pytest.raises(InputError, match=rf"data set 'v1' .*its revision is sha256:\w+, not {revision}"):
        load_mixture(settings, processor, max_tokens=100, seed=0)


def test_what_was_cut_and_dropped_for_its_length_is_counted(write: Write, processor: LlavaProcessor) -> None:
    long = row("long", 2, answer="red " * 200)
    folder = str(write("v1", [row("short", 2), long, row("question" * 50, 1), row("brief", 0)]))
    mixture = load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert mixture.rows == {"v1": 3}
    assert mixture.dropped == {"v1": {"images and question leave no room in 100 tokens": 1, MARKED: 0}}
    assert mixture.cut == {"v1": {"later turns": 0, "end of an answer": 1}}
    assert sorted(ids(mixture.dataset)) == ["brief?", "long?", "short?"]
    assert max(mixture.dataset["length"]) == 100
    with pytest.raises(InputError, match=r"no row is left \(images and question leave no room in 3 tokens\)"):
        load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=3, seed=0)


def test_damaged_picture_is_refused_with_its_row(write: Write, processor: LlavaProcessor) -> None:
    broken = {**row("broken", 1), "images": [{"bytes": b"no picture", "path": None}]}
    folder = str(write("v1", [row("fine", 1), broken]))
    with pytest.raises(InputError, match="data set 'v1', row 1: a picture of it is damaged"):
        load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (row("one place", 2, text="<image>"), "1 image places for 2 images"),
        (row("no image", 0, text="<image>"), "1 image places for 0 images"),
        ({**row("silent", 0), "messages": [message("user", "Hello?")]}, "no assistant message"),
        ({**row("tool", 0), "messages": [message("assistant", "Hi"), message("tool", "Hello")]}, "refuses .*tool"),
    ],
)
def test_bad_row_is_refused_with_its_data_set_and_number(
    write: Write, processor: LlavaProcessor, bad: dict[str, Any], problem: str
) -> None:
    folder = str(write("v1", [row("fine", 1), bad]))
    with pytest.raises(InputError, match=problem) as caught:
        load_mixture({"pairs": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert caught.value.where == "data set 'pairs', row 1"


def test_rows_that_only_name_their_pictures_are_refused_with_the_way_to_join_them(
    tmp_path: Path, processor: LlavaProcessor
) -> None:
    named = {**row("a pair", 2), "images": [{"bytes": None, "path": "a.png"}] * 2}
    (tmp_path / "v1").mkdir()
    table = pa.Table.from_pylist([row("first", 2), named], schema=instruct_features().arrow_schema)
    pq.write_table(table, tmp_path / "v1/train-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"data set 'v1': its rows name their pictures.*--source\.format built"):
        load_mixture({"v1": {"path": str(tmp_path), "config": "v1"}}, processor, max_tokens=100, seed=0)


def test_data_set_without_images_is_refused(tmp_path: Path, processor: LlavaProcessor) -> None:
    Dataset.from_dict({"messages": [[message("user", "Hi")]]}).to_parquet(str(tmp_path / "train.parquet"))
    with pytest.raises(InputError, match=r"data set 'text' .*no column images"):
        load_mixture({"text": {"path": str(tmp_path)}}, processor, max_tokens=100, seed=0)


def test_missing_and_broken_files_are_refused(tmp_path: Path, processor: LlavaProcessor) -> None:
    settings = {"v1": {"path": str(tmp_path), "config": "v1"}}
    with pytest.raises(InputError, match=r"no train\*\.parquet"):
        load_mixture(settings, processor, max_tokens=100, seed=0)
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "train.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="does not load"):
        load_mixture(settings, processor, max_tokens=100, seed=0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "no source"),
        ({"v1": {"config": "v1"}}, "no path"),
        ({"v1": {"path": "data", "weight": 2}}, "weight"),
        ({"v1": {"path": "data", "repeats": 0}}, "repeats is 0"),
        ({"v1": {"path": "data", "repeats": "twice"}}, "repeats is 'twice'"),
        ({"v1": {"path": "data", "repeats": float("nan")}}, "repeats is nan"),
        ({"v1": {"path": "data", "max_rows": 0}}, "max_rows is 0"),
        ({"v1": {"path": "data", "max_rows": 2.5}}, r"max_rows is 2\.5"),
    ],
)
def test_mixture_settings_are_checked(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_sources(settings)


def test_source_can_be_a_repository_on_the_hub(hub: Any, write: Write, processor: LlavaProcessor) -> None:
    rows = Dataset.from_list([row(f"pair {i}", 2) for i in range(3)], features=instruct_features())
    commit = rows.push_to_hub("tester/cad", "v1").oid
    mixture = load_mixture({"v1": {"path": "tester/cad", "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert (mixture.rows, mixture.revisions) == ({"v1": 3}, {"v1": commit})
    assert [image.size for image in mixture.dataset[0]["images"]] == [(8, 8), (8, 8)]
    with pytest.raises(InputError, match=r"tester/none.*the Hub does not give its commit"):
        load_mixture({"v1": {"path": "tester/none", "config": "v1"}}, processor, max_tokens=100, seed=0)


def test_repository_is_read_at_the_commit_that_was_pinned(hub: Any, processor: LlavaProcessor) -> None:
    def push(name: str) -> str:
        rows = Dataset.from_list([row(name, 1)], features=instruct_features())
        return str(rows.push_to_hub("tester/cad", "v1").oid)

    first = push("first")
    sources = pin(parse_sources({"v1": {"path": "tester/cad", "config": "v1", "revision": "main"}}))
    assert sources["v1"].revision == first != push("second")
    assert ids(load_mixture(sources, processor, max_tokens=100, seed=0).dataset) == ["first?"]
