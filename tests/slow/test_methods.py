"""Two processes train by every method, and by LLaVA's sampling, as one does."""

import json
import math
import time
from pathlib import Path

import pytest

from tests.slow.test_distributed import check_alike, finish, launch, losses
from tests.support.tunings import make_pairs, make_room, pair
from tests.training.test_reward import make_questions, question

pytestmark = pytest.mark.slow


def test_two_processes_learn_preferences_as_one_does(tmp_path: Path) -> None:
    room = make_pairs(tmp_path / "room", [pair(index) for index in range(48)])
    outs = [tmp_path / "one", tmp_path / "two"]
    for out, configuration in zip(outs, (None, "multi_gpu"), strict=True):
        finish(launch(room, out, configuration, method="dpo"), out)
    check_alike(*outs)


def test_two_processes_draw_llavas_steps_as_one_does(tmp_path: Path) -> None:
    room = make_room(tmp_path / "room", rows=48)
    outs = [tmp_path / "one", tmp_path / "two"]
    for out, configuration in zip(outs, (None, "multi_gpu"), strict=True):
        finish(launch(room, out, configuration, train_sampling_strategy="llava"), out)
    expected, found = (json.loads((out / "training.json").read_text())["curve"] for out in outs)
    assert [entry["num_tokens"] for entry in found] == [entry["num_tokens"] for entry in expected]
    assert losses(found) == pytest.approx(losses(expected), rel=1e-4)


def test_two_processes_are_rewarded_and_go_on_after_a_kill(tmp_path: Path) -> None:
    """What they sample differs from what one process samples, but the run is whole, and resumes as it would go on."""
    room = make_questions(tmp_path / "room", [question(index) for index in range(24)])
    keys = {"method": "grpo", "train_sampling_strategy": "random", "num_generations": 4, "max_completion_length": 4}
    keys |= {"save_steps": 2, "save_total_limit": 9, "max_steps": 4}
    whole = finish(launch(room, tmp_path / "whole", "multi_gpu", **keys), tmp_path / "whole")
    assert [entry["step"] for entry in whole] == [1, 2, 3, 4]
    assert all(math.isfinite(entry["loss"]) for entry in whole)
    assert all(0 <= entry["reward"] <= 1 for entry in whole)

    out = tmp_path / "stopped"
    started = launch(room, out, "multi_gpu", **keys)
    while started.poll() is None and not (out / "checkpoint-2/manifest.json").is_file():
        time.sleep(0.1)
    started.kill()
    started.wait()
    again = finish(launch(room, out, "multi_gpu", **keys), out)
    assert [entry["reward"] for entry in again] == [entry["reward"] for entry in whole]
