"""A mixture that is streamed has the rows of one that is copied, in an order that seed and epoch decide."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader
from transformers import LlavaProcessor

from cadvi_hub.core.schema import message
from cadvi_hub.training import sampling
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.sampling import StreamingSampler
from cadvi_hub.training.streaming import Row, RowStream, stream_mixture
from tests.support.streams import Stream, number, numbered, numbers, processor, sampler, stream, write

__all__ = ["processor", "stream"]  # fixtures that tests here use


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FEWEST_ROWS_TOGETHER", 1)  # 50 steps, 200 rows


def read_all(made: StreamingSampler) -> list[Row]:
    rows = list(made)
    assert all(row is not None for row in rows)
    return [row for row in rows if row]


@pytest.mark.parametrize("strategy", ["group_by_length", "llava", "random"])
@pytest.mark.parametrize("count", [1, 3, 4, 7, 500])
def test_every_row_is_read_once_in_each_epoch(stream: Stream, count: int, strategy: str) -> None:
    made = sampler(stream(count), strategy=strategy)
    for epoch in range(2):
        made.set_epoch(epoch)
        assert sorted(numbers(made)) == list(range(count))
    assert len(made) == count


def test_a_step_has_rows_of_one_kind_and_of_about_one_length(stream: Stream) -> None:
    rows = read_all(sampler(stream(600)))[: 3 * (200 // 4) * 4 - 8]
    steps = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    kinds = [{len(each["images"]) for each in step} for step in steps]
    assert all(len(kind) == 1 for kind in kinds)
    assert len(set(map(tuple, kinds[:20]))) == 3  # in random order
    lengths = np.array([[each["length"] for each in step] for step in steps])
    assert np.ptp(lengths, axis=1).mean() < 0.3 * np.ptp(lengths[[kind == {2} for kind in kinds]])


def test_a_step_of_llavas_mixes_one_and_two_images_and_all_lengths_but_not_rows_without_images(stream: Stream) -> None:
    rows = read_all(sampler(stream(600), strategy="llava"))[: 3 * (200 // 4) * 4 - 8]
    kinds = [{len(each["images"]) for each in rows[start : start + 4]} for start in range(0, len(rows), 4)]
    assert all(kind == {0} or 0 not in kind for kind in kinds)
    assert sum(kind == {1, 2} for kind in kinds) > sum(len(kind) == 1 and kind != {0} for kind in kinds)


def test_a_shuffled_stream_takes_rows_from_all_over_its_files(stream: Stream) -> None:
    order = numbers(sampler(stream(600), strategy="random"))
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

    def read_counted(wanted: np.ndarray) -> dict[int, Row | None]:
        read.append(len(wanted))
        return RowStream.read(rows, wanted)

    monkeypatch.setattr(rows, "read", read_counted)
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
    rows = read_all(made)
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

    def read_noted(wanted: np.ndarray) -> dict[int, Row | None]:
        read.extend(wanted)
        return RowStream.read(rows, wanted)

    monkeypatch.setattr(rows, "read", read_noted)
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
        order = read_all(sampler(rows))
        assert len(order) == 80
        assert set(numbers(order)) == set(range(40)) - {2}
        assert max(each["length"] for each in order) == 100
    assert rows.dropped["v1"]["images and question leave no room in 100 tokens"] == 1
    assert rows.cut["v1"] == {"later turns": 0, "end of an answer": 1}


def test_workers_get_the_encoded_rows_and_decode_them(stream: Stream) -> None:
    rows = stream(40)
    alone, shared = (
        [number(each) for batch in loader for each in batch]
        for loader in (
            DataLoader(rows, 4, sampler=sampler(rows), collate_fn=list, num_workers=workers) for workers in (0, 2)
        )
    )
    assert alone == shared
