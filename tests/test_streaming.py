"""A mixture that is streamed has the rows of one that is copied, in an order that seed and epoch decide."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, config
from huggingface_hub import CommitOperationAdd, HfApi
from tiny_llava import make_tiny_llava
from torch.utils.data import DataLoader
from transformers import AutoProcessor, LlavaProcessor
from tunings import row

from cadvi_hub.errors import InputError
from cadvi_hub.schema import instruct_features, message
from cadvi_hub.training import sampling
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.models import TEMPLATES
from cadvi_hub.training.sampling import StreamingSampler
from cadvi_hub.training.streaming import RowStream, stream_mixture

Rows = list[dict[str, Any]]
Stream = Callable[..., RowStream]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> LlavaProcessor:
    made = AutoProcessor.from_pretrained(make_tiny_llava(tmp_path_factory.mktemp("tiny")))
    made.chat_template = (TEMPLATES / "cadvi.jinja").read_text()
    return made


def numbered(index: int, images: int | None = None, answer: int | None = None) -> dict[str, Any]:
    """A row that says its number, with an answer of so many words."""
    made = row(index % 3 if images is None else images)
    answer = index * 7 % 20 if answer is None else answer
    turns = [message("user", "<image>" * len(made["images"]) + f"{index}?"), message("assistant", "red " * answer)]
    return made | {"id": str(index), "messages": turns}


def write(folder: Path, rows: Rows, file: str = "train-00000-of-00001.parquet", group: int = 7) -> None:
    folder.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(rows, instruct_features().arrow_schema)
    pq.write_table(table, folder / file, row_group_size=group)


@pytest.fixture
def stream(tmp_path: Path, processor: LlavaProcessor) -> Stream:
    def make(rows: Rows | int, max_tokens: int = 100, **source: Any) -> RowStream:
        made = [numbered(index) for index in range(rows)] if isinstance(rows, int) else rows
        write(tmp_path / "v1", made)
        settings = {"v1": {"path": str(tmp_path), "config": "v1", **source}}
        return stream_mixture(settings, processor, max_tokens, seed=0).dataset

    return make


def number(of: dict[str, Any]) -> int:
    return int(of["messages"][0]["content"][-1]["text"].rstrip("?"))


def numbers(rows: Iterable[Any]) -> list[int]:
    return [number(each) for each in rows]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FEWEST_ROWS_TOGETHER", 1)  # 50 steps, 200 rows


def sampler(rows: RowStream, seed: int = 0, grouped: bool = True, whole_steps: bool = False) -> StreamingSampler:
    return StreamingSampler(rows, 4, seed, grouped, whole_steps)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("count", [1, 3, 4, 7, 500])
def test_every_row_is_read_once_in_each_epoch(stream: Stream, count: int, grouped: bool) -> None:
    made = sampler(stream(count), grouped=grouped)
    for epoch in range(2):
        made.set_epoch(epoch)
        assert sorted(numbers(made)) == list(range(count))
    assert len(made) == count


def test_a_step_has_rows_of_one_kind_and_of_about_one_length(stream: Stream) -> None:
    rows = list(sampler(stream(600)))[: 3 * (200 // 4) * 4 - 8]
    steps = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    kinds = [{len(each["images"]) for each in step} for step in steps]
    assert all(len(kind) == 1 for kind in kinds)
    assert len(set(map(tuple, kinds[:20]))) == 3  # in random order
    lengths = np.array([[each["length"] for each in step] for step in steps])
    assert np.ptp(lengths, axis=1).mean() < 0.3 * np.ptp(lengths[[kind == {2} for kind in kinds]])


def test_a_shuffled_stream_takes_rows_from_all_over_its_files(stream: Stream) -> None:
    order = numbers(sampler(stream(600), grouped=False))
    assert np.abs(np.diff(order)).mean() > 100
    assert max(order[:200]) - min(order[:200]) > 400


def test_every_part_of_an_epoch_has_its_share_of_every_source(tmp_path: Path, processor: LlavaProcessor) -> None:
    write(tmp_path / "v1", [numbered(index, images=2) for index in range(700)])
    write(tmp_path / "mix", [numbered(1000 + index, images=1) for index in range(300)])
    settings = {name: {"path": str(tmp_path), "config": name} for name in ("v1", "mix")}
    rows = stream_mixture(settings, processor, max_tokens=100, seed=0).dataset
    order = np.array(numbers(sampler(rows)))[:1000].reshape(5, 200) >= 1000
    assert np.abs(order.mean(axis=1) - 0.3).max() < 0.1


def test_large_pictures_are_read_fewer_at_a_time(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stream(600)
    size = sum(visit.size for visit in rows.visits)
    read: list[int] = []
    monkeypatch.setattr(rows, "read", lambda wanted: read.append(len(wanted)) or RowStream.read(rows, wanted))
    list(sampler(rows))
    assert max(read) > 190
    read.clear()
    monkeypatch.setattr(sampling, "MOST_BYTES_TOGETHER", size / 20)
    assert sorted(numbers(sampler(rows))) == list(range(600))
    assert max(read) < 50


def test_seed_and_epoch_decide_the_order_and_nothing_else(stream: Stream) -> None:
    rows = stream(100)
    first, again, other = sampler(rows), sampler(rows), sampler(rows, seed=1)
    assert numbers(first) == numbers(first) == numbers(again) != numbers(other)
    again.set_epoch(1)
    assert numbers(first) != numbers(again)


@pytest.mark.parametrize("count", [1, 7, 8, 500])
def test_whole_steps_have_one_kind_each_and_read_few_rows_twice(stream: Stream, count: int) -> None:
    made = sampler(stream(count), whole_steps=True)
    rows = list(made)
    assert len(rows) == len(made)
    assert set(numbers(rows)) == set(range(count))
    assert len(rows) - count < 3 * 4
    kinds = np.array([len(each["images"]) for each in rows]).reshape(-1, 4)
    assert (np.ptp(kinds, axis=1) == 0).all()


@pytest.mark.parametrize("whole_steps", [True, False])
@pytest.mark.parametrize("skipped", [1, 49, 50, 60, 149])
def test_skipped_steps_are_not_read_and_the_others_stay_as_they_were(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, skipped: int, whole_steps: bool
) -> None:
    rows = stream(600)
    whole, resumed = numbers(sampler(rows, whole_steps=whole_steps)), sampler(rows, whole_steps=whole_steps)
    resumed.skipped_steps = skipped
    read: list[int] = []
    monkeypatch.setattr(rows, "read", lambda wanted: read.extend(wanted) or RowStream.read(rows, wanted))
    order = list(resumed)
    assert order[: skipped * 4] == [None] * (skipped * 4)
    assert numbers(order[skipped * 4 :]) == whole[skipped * 4 :]
    assert len(read) <= 600 - (skipped // 50) * 200 + 12


def test_rows_are_those_of_the_mixture_that_is_copied(tmp_path: Path, processor: LlavaProcessor) -> None:
    write(tmp_path / "v1", [numbered(index) for index in range(40)])
    write(tmp_path / "mix", [numbered(index) for index in range(100, 130)], "train-00000-of-00002.parquet")
    write(tmp_path / "mix", [numbered(index) for index in range(130, 160)], "train-00001-of-00002.parquet", group=11)
    write(tmp_path / "mix", [numbered(999)], "test.parquet")
    settings = {
        "v1": {"path": str(tmp_path), "config": "v1", "repeats": 2.5},
        "mix": {"path": str(tmp_path), "config": "mix", "max_rows": 33},
    }
    copied, streamed = (load(settings, processor, 100, seed=3) for load in (load_mixture, stream_mixture))
    assert copied.rows == streamed.rows == {"v1": 100, "mix": 33}
    assert (copied.dropped.keys(), copied.cut) == (streamed.dropped.keys(), streamed.cut)
    read = [streamed.dataset[encoded] for encoded in sampler(streamed.dataset)]
    assert Counter(numbers(read)) == Counter(numbers(copied.dataset))
    expected = {number(each): each for each in copied.dataset}
    for each in read:
        assert {**each, "images": None} == {**expected[number(each)], "images": None}
        assert [image.tobytes() for image in each["images"]] == [
            image.tobytes() for image in expected[number(each)]["images"]
        ]


def test_long_rows_are_cut_and_what_cannot_be_cut_gives_its_place_to_another(stream: Stream) -> None:
    long = [numbered(0, images=2, answer=300), numbered(1, images=2), numbered(2, images=2)]
    long[2]["messages"][0] = message("user", "<image><image>" + "why " * 300)
    rows = stream([*long, *(numbered(index) for index in range(3, 40))], repeats=2)
    for _ in range(2):
        order = list(sampler(rows))
        assert len(order) == 80
        assert set(numbers(order)) == set(range(40)) - {2}
        assert max(each["length"] for each in order) == 100
    assert rows.dropped["v1"]["images and question leave no room in 100 tokens"] == 1
    assert rows.cut["v1"] == {"later turns": 0, "end of an answer": 1}


def test_faulty_rows_are_named_counted_and_replaced(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    made = [numbered(index) for index in range(40)]
    made[20]["images"] = [{"bytes": b"no picture", "path": None}] * 2
    made[33]["messages"].pop()
    with caplog.at_level(logging.WARNING, "cadvi_hub"):
        rows = stream(made)
        order = list(sampler(rows, whole_steps=True))
    assert set(numbers(order)) == set(range(40)) - {20, 33}
    assert len(order) == len(sampler(rows, whole_steps=True))
    assert sorted(record.getMessage().split(". ")[0] for record in caplog.records) == [
        "left out: data set 'v1', row 20: a picture of it is damaged",
        "left out: data set 'v1', row 33: it has no assistant message",
    ]
    assert sum(rows.dropped["v1"].values()) == 2


def test_a_step_without_one_good_row_is_filled_all_the_same(stream: Stream) -> None:
    made = [numbered(index, images=1) for index in range(7)] + [numbered(7, images=2, answer=1)]
    made[7]["images"] = [{"bytes": b"no picture", "path": None}] * 2
    for whole_steps, length in ((True, 12), (False, 8)):
        order = list(sampler(stream(made), whole_steps=whole_steps))
        assert len(order) == length
        assert set(numbers(order)) == set(range(7))


def test_data_set_of_which_nothing_fits_is_refused_before_the_training(stream: Stream) -> None:
    made = [numbered(index, images=2) for index in range(9)]
    for each in made:
        each["images"] = [{"bytes": None, "path": "a.png"}] * 2
    with pytest.raises(
        InputError, match=r"first 7 rows can be trained on \(its rows name their pictures.*cadvi build"
    ):
        stream(made)
    with pytest.raises(InputError, match="leave no room in 3 tokens"):
        stream(9, max_tokens=3)


def test_missing_broken_and_empty_files_are_refused(tmp_path: Path, processor: LlavaProcessor) -> None:
    settings = {"v1": {"path": str(tmp_path), "config": "v1"}}
    with pytest.raises(InputError, match=r"no train\*\.parquet"):
        stream_mixture(settings, processor, max_tokens=100, seed=0)
    write(tmp_path / "v1", [])
    with pytest.raises(InputError, match=r"data set 'v1' .*it has no rows"):
        stream_mixture(settings, processor, max_tokens=100, seed=0)
    (tmp_path / "v1" / "train.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"train\.parquet: cannot be read"):
        stream_mixture(settings, processor, max_tokens=100, seed=0)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"messages": [[message("user", "Hi")]]}, "no column images"),
        ({"messages": [[message("user", "Hi")]], "images": ["a.png"]}, "its columns have other types"),
    ],
)
def test_files_with_other_columns_are_refused(
    tmp_path: Path, processor: LlavaProcessor, columns: dict[str, Any], fault: str
) -> None:
    Dataset.from_dict(columns).to_parquet(str(tmp_path / "train.parquet"))
    with pytest.raises(InputError, match=rf"train\.parquet: {fault}"):
        stream_mixture({"text": {"path": str(tmp_path)}}, processor, max_tokens=100, seed=0)


def test_rows_of_text_alone_may_have_no_images_at_all(tmp_path: Path, processor: LlavaProcessor) -> None:
    rows = [{"messages": numbered(index, images=0)["messages"], "images": None} for index in range(10)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet", row_group_size=4)
    mixture = stream_mixture({"text": {"path": str(tmp_path)}}, processor, max_tokens=100, seed=0)
    read = [mixture.dataset[encoded] for encoded in sampler(mixture.dataset)]
    assert sorted(numbers(read)) == list(range(10))
    assert all(each["images"] is None for each in read)


def test_file_that_goes_away_meanwhile_ends_the_training_with_its_name(stream: Stream, tmp_path: Path) -> None:
    rows = stream(500)
    (tmp_path / "v1" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet: cannot be read.*last checkpoint"):
        list(sampler(rows))


def test_workers_get_the_encoded_rows_and_decode_them(stream: Stream) -> None:
    rows = stream(40)
    alone, shared = (
        [number(each) for batch in loader for each in batch]
        for loader in (
            DataLoader(rows, 4, sampler=sampler(rows), collate_fn=list, num_workers=workers) for workers in (0, 2)
        )
    )
    assert alone == shared


def test_repository_is_streamed_at_its_commit_and_nothing_is_copied(
    hub: Any, tmp_path: Path, processor: LlavaProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    pushed = Dataset.from_list([numbered(index) for index in range(30)], features=instruct_features())
    commit = pushed.push_to_hub("tester/cad", "v1", num_shards=3).oid
    Dataset.from_list([numbered(99)], features=instruct_features()).push_to_hub("tester/cad", "v1")
    settings = {"v1": {"path": "tester/cad", "config": "v1", "revision": commit}}
    mixture = stream_mixture(settings, processor, max_tokens=100, seed=0)
    assert (mixture.rows, mixture.revisions) == ({"v1": 30}, {"v1": commit})
    asked = len(hub.requests)
    assert sorted(numbers(sampler(mixture.dataset))) == list(range(30))
    assert len(hub.requests) - asked == 3  # one for each row group
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("train.jsonl", r"not made of parquet files\. Leave streaming off"),
        ("README.md", "Data files don't belong to tester/odd"),
    ],
)
def test_repository_of_other_files_or_files_elsewhere_is_refused(
    hub: Any, tmp_path: Path, processor: LlavaProcessor, file: str, fault: str
) -> None:
    write(tmp_path / "private", [numbered(0)])
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path}/private/*.parquet\n---\n"
    added = CommitOperationAdd(file, card.encode() if file == "README.md" else b'{"messages": []}')
    HfApi().create_repo("tester/odd", repo_type="dataset")
    HfApi().create_commit("tester/odd", [added], commit_message="Odd", repo_type="dataset")
    with pytest.raises(InputError, match=rf"data set 'odd' .*{fault}"):
        stream_mixture({"odd": {"path": "tester/odd"}}, processor, max_tokens=100, seed=0)
