"""The order in which a training reads its rows."""

import numpy as np
import pytest

from cadvi_hub.training.sampling import GroupedSampler


def sampler(seed: int = 0, rows: int = 1030, batch_size: int = 8) -> GroupedSampler:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 3, rows)
    return GroupedSampler(rng.integers(10, 60, rows) + 100 * images, images, batch_size, seed)


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
