"""A training without a GPU takes the cores that other programs leave free."""

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from cadvi_hub.core import processes
from cadvi_hub.training.recipe import TuningConfig
from cadvi_hub.training.sft import take_free_cores


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Four cores and four threads; the number of threads that is set last comes last in the list."""
    threads = [4]
    monkeypatch.setattr(processes, "usable_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return threads


@pytest.mark.parametrize(("busy", "expected"), [(0, 4), (10, 4), (50, 2), (74, 1), (100, 1)])
def test_busy_cores_are_left_to_the_programs_that_use_them(
    four_cores: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int, expected: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: float(busy))
    take_free_cores(TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False))
    assert four_cores[-1] == expected


@pytest.mark.parametrize("chosen", ["4", "1"])
def test_a_number_of_threads_that_the_user_chose_stays(
    four_cores: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    def never(interval: Any) -> float:
        raise AssertionError("the cores are watched for nothing")

    monkeypatch.setattr(psutil, "cpu_percent", never)
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    take_free_cores(TuningConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False))
    assert four_cores == [4]
