"""The order in which a training reads its rows."""

import random

import numpy as np
import pytest
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import TrainerState

from cadvi_hub.training.sampling import GroupedSampler, Grouping, even_order
from cadvi_hub.training.trainer import EpochOrder

STEP = 8


def sampler(
    seed: int = 0, rows: int = 1030, whole_steps: bool = False, strategy: str = "group_by_length"
) -> GroupedSampler:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 3, rows)
    lengths = rng.integers(10, 60, rows) + 100 * images
    return GroupedSampler(lengths, images, Grouping(strategy, STEP, 4), seed, whole_steps)


def whole_steps(made: GroupedSampler) -> np.ndarray:
    rest = int((np.bincount(made.kinds) % STEP).sum())
    return np.array(list(made)[: len(made) - rest]).reshape(-1, STEP)


def steps_as_llava_draws_them(lengths: np.ndarray, with_images: np.ndarray, seed: int) -> list[list[int]]:
    """The sampler of LLaVA's training, written from its description: steps of a modality, in random order.

    The rows of a modality are shuffled and cut into steps; rows that fill none come at the end.
    """
    draw = random.Random(seed)
    steps, rest = [], []
    for modality in (True, False):
        rows = [row for row in range(len(lengths)) if bool(with_images[row]) == modality]
        draw.shuffle(rows)
        while len(rows) >= STEP:
            steps.append([rows.pop() for _ in range(STEP)])
        rest += rows
    draw.shuffle(steps)
    return [*steps, rest]


@pytest.mark.parametrize("strategy", ["group_by_length", "llava"])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 1030])
def test_every_row_is_read_once_in_each_epoch(rows: int, strategy: str) -> None:
    made = sampler(rows=rows, strategy=strategy)
    assert sorted(made) == list(range(rows))
    assert len(made) == rows


def test_a_step_has_rows_of_one_kind_and_of_about_one_length() -> None:
    made = sampler()
    steps = whole_steps(made)
    assert len(steps) > 100
    assert (np.ptp(made.kinds[steps], axis=1) == 0).all()
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


def test_llavas_steps_are_drawn_as_its_own_sampler_draws_them() -> None:
    made = sampler(rows=20_000, strategy="llava")
    ours = whole_steps(made)
    theirs = np.array(steps_as_llava_draws_them(made.lengths, made.kinds > 0, seed=3)[:-1])
    assert len(ours) == len(theirs)
    assert (np.ptp(made.kinds[ours], axis=1) == 0).all()
    for statistic in (np.ptp, np.mean, np.std):
        for part in (0, 1):
            found, expected = (
                statistic(made.lengths[steps[made.kinds[steps[:, 0]] == part]], axis=1) for steps in (ours, theirs)
            )
            assert found.mean() == pytest.approx(expected.mean(), rel=0.05)
            assert found.std() == pytest.approx(expected.std(), rel=0.15)
    grouped = sampler(rows=20_000)
    assert (
        np.ptp(grouped.lengths[whole_steps(grouped)], axis=1).mean() < 0.1 * np.ptp(made.lengths[ours], axis=1).mean()
    )


def test_what_processes_read_at_the_same_time_has_about_equally_many_tokens() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 128)
    order = even_order(lengths, 32)
    assert sorted(order) == list(range(128))
    assert np.ptp(lengths[order].reshape(4, 32).sum(axis=1)) < lengths.max()
    assert even_order(lengths[:3], 4).tolist() == np.argsort(-lengths[:3]).tolist()


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 1030])
def test_whole_steps_have_one_kind_each_and_read_few_rows_twice(rows: int) -> None:
    made = sampler(rows=rows, whole_steps=True)
    order = np.array(list(made), dtype=int)
    assert len(order) == len(made)
    assert set(order) == set(range(rows))
    assert len(order) - rows < 3 * STEP
    assert (np.ptp(made.kinds[order].reshape(-1, STEP), axis=1) == 0).all()


@pytest.mark.parametrize("processes", [1, 2])
def test_sampler_learns_its_epoch_however_many_processes_read(processes: int) -> None:
    made = sampler(rows=32)
    loader = DataLoader(Dataset.from_dict({"row": range(32)}), batch_size=4, sampler=made)
    prepared = prepare_data_loader(loader, num_processes=processes, process_index=0)
    EpochOrder().on_epoch_begin(None, TrainerState(epoch=2.5), None, train_dataloader=prepared)
    assert made.epoch == 2
