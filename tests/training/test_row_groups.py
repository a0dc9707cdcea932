"""What a stream reads from: files and repositories, and what becomes of faulty ones and of faulty rows."""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, config
from huggingface_hub import CommitOperationAdd, HfApi
from transformers import LlavaProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.streaming import stream_mixture
from tests.support.streams import Stream, numbered, numbers, processor, sampler, stream, write

__all__ = ["processor", "stream"]  # fixtures that tests here use


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
        "dropped: data set 'v1', row 20: a picture of it is damaged",
        "dropped: data set 'v1', row 33: it has no assistant message",
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
    ("columns", "problem"),
    [
        ({"messages": [[message("user", "Hi")]]}, "no column images"),
        ({"messages": [[message("user", "Hi")]], "images": ["a.png"]}, "its columns have other types"),
    ],
)
def test_files_with_other_columns_are_refused(
    tmp_path: Path, processor: LlavaProcessor, columns: dict[str, Any], problem: str
) -> None:
    Dataset.from_dict(columns).to_parquet(str(tmp_path / "train.parquet"))
    with pytest.raises(InputError, match=rf"train\.parquet: {problem}"):
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
    ("file", "problem"),
    [
        ("train.jsonl", r"not made of parquet files\. Turn streaming off"),
        ("README.md", "Data files don't belong to tester/odd"),
    ],
)
def test_repository_of_other_files_or_files_elsewhere_is_refused(
    hub: Any, tmp_path: Path, processor: LlavaProcessor, file: str, problem: str
) -> None:
    write(tmp_path / "private", [numbered(0)])
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path}/private/*.parquet\n---\n"
    added = CommitOperationAdd(file, card.encode() if file == "README.md" else b'{"messages": []}')
    HfApi().create_repo("tester/odd", repo_type="dataset")
    HfApi().create_commit("tester/odd", [added], commit_message="Odd", repo_type="dataset")
    with pytest.raises(InputError, match=rf"data set 'odd' .*{problem}"):
        stream_mixture({"odd": {"path": "tester/odd"}}, processor, max_tokens=100, seed=0)
