"""A mixture holds what its recipe says, in the same order each time, and refuses rows that cannot be trained on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from PIL import Image
from tiny_llava import make_tiny_llava
from transformers import AutoProcessor, LlavaProcessor

from cadvi_hub.errors import InputError
from cadvi_hub.images import encode_png
from cadvi_hub.schema import instruct_features, message
from cadvi_hub.training.mixture import load_mixture, parse_sources, row_lengths
from cadvi_hub.training.models import TEMPLATES

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> LlavaProcessor:
    made = AutoProcessor.from_pretrained(make_tiny_llava(tmp_path_factory.mktemp("tiny")))
    made.chat_template = (TEMPLATES / "cadvi.jinja").read_text()
    return made


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
    assert mixture.dataset.column_names == ["images", "messages", "source", "length"]
    assert sorted(mixture.dataset["source"]) == ["single"] * 4 + ["v1"] * 15
    assert all(ids(mixture.dataset).count(f"pair {i}?") == 3 for i in range(5))
    assert "never trained on?" not in ids(mixture.dataset)
    again = load_mixture(settings, processor, max_tokens=100, seed=0)
    assert ids(again.dataset) == ids(mixture.dataset)
    assert ids(load_mixture(settings, processor, max_tokens=100, seed=1).dataset) != ids(mixture.dataset)


def test_length_counts_every_image_token_as_the_model_gets_it(write: Write, processor: LlavaProcessor) -> None:
    rows = [row(f"row {i}", i) for i in range(3)]
    dataset = Dataset.from_list(rows, features=instruct_features()).select_columns(["images", "messages"])
    texts = [processor.apply_chat_template(entry["messages"]) for entry in rows]
    pictures = [Image.new("RGB", (8, 8))] * 2
    expected = [
        processor(text=text, images=pictures[:i] or None, add_special_tokens=False)["input_ids"]
        for i, text in enumerate(texts)
    ]
    assert row_lengths(dataset, "v1", processor).tolist() == [len(np.ravel(tokens)) for tokens in expected]


def test_row_that_is_too_long_is_dropped_and_counted_never_cut(write: Write, processor: LlavaProcessor) -> None:
    folder = str(write("v1", [row("short", 2), row("long", 2, answer="red " * 200), row("brief", 0)]))
    mixture = load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert mixture.rows == {"v1": 2}
    assert mixture.dropped == {"v1": {"longer than 100 tokens": 1}}
    assert sorted(ids(mixture.dataset)) == ["brief?", "short?"]
    with pytest.raises(InputError, match="every row exceeds 3 tokens"):
        load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=3, seed=0)


def test_pictures_stay_encoded_until_a_row_is_read(write: Write, processor: LlavaProcessor) -> None:
    broken = row("broken", 1)
    broken["images"] = [{"bytes": b"no picture", "path": None}]
    folder = str(write("v1", [broken]))
    mixture = load_mixture({"v1": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)
    with pytest.raises(OSError, match="cannot identify image"):
        mixture.dataset[0]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (row("one place", 2, text="<image>"), "1 image places for 2 images"),
        (row("no image", 0, text="<image>"), "1 image places for 0 images"),
        ({**row("silent", 0), "messages": [message("user", "Hello?")]}, "no assistant message"),
        ({**row("tool", 0), "messages": [message("assistant", "Hi"), message("tool", "Hello")]}, "refuses .*tool"),
    ],
)
def test_bad_row_is_refused_with_its_data_set_and_number(
    write: Write, processor: LlavaProcessor, bad: dict[str, Any], fault: str
) -> None:
    folder = str(write("v1", [row("fine", 1), bad]))
    with pytest.raises(InputError, match=fault) as caught:
        load_mixture({"pairs": {"path": folder, "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert caught.value.place == "data set 'pairs', row 1"


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
    ("settings", "fault"),
    [
        ({}, "no source"),
        ({"v1": {"config": "v1"}}, "no path"),
        ({"v1": {"path": "data", "weight": 2}}, "weight"),
        ({"v1": {"path": "data", "repeats": 0}}, "from 1"),
        ({"v1": {"path": "data", "max_rows": 0}}, "from 1"),
    ],
)
def test_mixture_settings_are_checked(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        parse_sources(settings)


def test_source_can_be_a_repository_on_the_hub(hub: Any, write: Write, processor: LlavaProcessor) -> None:
    rows = Dataset.from_list([row(f"pair {i}", 2) for i in range(3)], features=instruct_features())
    rows.push_to_hub("tester/cad", "v1")
    mixture = load_mixture({"v1": {"path": "tester/cad", "config": "v1"}}, processor, max_tokens=100, seed=0)
    assert mixture.rows == {"v1": 3}
    assert [image.size for image in mixture.dataset[0]["images"]] == [(8, 8), (8, 8)]
    with pytest.raises(InputError, match="tester/none"):
        load_mixture({"v1": {"path": "tester/none", "config": "v1"}}, processor, max_tokens=100, seed=0)
