"""The order in which a training reads its rows."""

import numpy as np
import pytest
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import TrainerState

from cadvi_hub.training.sampling import GroupedSampler
from cadvi_hub.training.trainer import EpochOrder


def sampler(seed: int = 0, rows: int = 1030, batch_size: int = 8, whole_steps: bool = False) -> GroupedSampler:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 3, rows)
    return GroupedSampler(rng.integers(10, 60, rows) + 100 * images, images, batch_size, seed, whole_steps)


def whole_steps(made: GroupedSampler) -> np.ndarray:
    rest = int((np.bincount(made.images) % made.batch_size).sum())
    return np.array(list(made)[: len(made) - rest]).reshape(-1, made.batch_size)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 1030])
def test_every_row_is_read_once_in_each_epoch(rows: int) -> None:
    made = sampler(rows=rows)
    assert sorted(made) == list(range(rows))
    assert len(made) == rows


def test_a_step_has_rows_of_one_kind_and_of_about_one_length() -> None:
    made = sampler()
    steps = whole_steps(made)
    assert len(steps) > 100
    assert (np.ptp(made.images[steps], axis=1) == 0).all()
    assert np.ptp(made.lengths[steps], axis=1).mean() < 3  # of 50


def test_steps_come_in_random_order_and_not_from_long_to_short() -> None:
    made = sampler()
    longest = made.lengths[whole_steps(made)].max(1)
    rising = np.mean(longest[1:] > longest[:-1])
    assert 0.35 < rising < 0.65


def test_seed_and_epoch_decide_the_order_and_nothing_else() -> None:
    first, again, other = sampler(), sampler(), sampler(seed=1)
    assert list(first) == list(first) == list(again) != list(other)
    again.set_epoch(1)
    assert list(first) != list(again)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 1030])
def test_whole_steps_have_one_kind_each_and_read_few_rows_twice(rows: int) -> None:
    made = sampler(rows=rows, whole_steps=True)
    order = np.array(list(made), dtype=int)
    assert len(order) == len(made)
    assert set(order) == set(range(rows))
    assert len(order) - rows < 3 * made.batch_size
    assert (np.ptp(made.images[order].reshape(-1, made.batch_size), axis=1) == 0).all()


@pytest.mark.parametrize("processes", [1, 2])
def test_sampler_learns_its_epoch_however_many_processes_read(processes: int) -> None:
    made = sampler(rows=32)
    loader = DataLoader(Dataset.from_dict({"row": range(32)}), batch_size=4, sampler=made)
    prepared = prepare_data_loader(loader, num_processes=processes, process_index=0)
    EpochOrder().on_epoch_begin(None, TrainerState(epoch=2.5), None, train_dataloader=prepared)
    assert made.epoch == 2
