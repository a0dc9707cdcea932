"""Scores over seeds: means, intervals that cover seeds and questions, paired differences, and the page of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cadvi_hub.cli import parse_settings
from cadvi_hub.demo import ablations as module
from cadvi_hub.demo.ablations import AblationSettings, _page, ablations
from cadvi_hub.demo.over_seeds import COLUMNS, MEAN, scores_over_seeds, table
from cadvi_hub.demo.settings import DemoSettings


def evaluation(folder: Path, right: dict[str, float], seed: int, questions: int = 200) -> Path:
    """An evaluation whose questions are right at random, with the probability that `right` has for each model."""
    for model, share in right.items():
        (folder / model / "predictions").mkdir(parents=True)
        (folder / model / "results.json").write_text("{}")
        for task in COLUMNS:
            draw = random.Random(f"{seed} {task}")
            rows = []
            for index in range(questions):
                pair = task in ("eqben", "cola")
                group = f"{index // 2}" if pair else f"{index}"
                rows.append(
                    {
                        "index": index,
                        "id": f"{group}_{index % 2}" if pair else group,
                        "group": group,
                        "answer": "A",
                        "prediction": "A",
                        "correct": draw.random() < share,
                    }
                )
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / model / f"predictions/{task}.jsonl").write_text(lines)
    return folder


def test_a_score_is_the_mean_over_seeds_and_pairs_need_both_questions(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / str(seed), {"v1": 0.7, "v2": 0.9}, seed) for seed in range(3)]
    scores = scores_over_seeds(folders)
    bison = scores.of["v2"]["bison"]
    assert bison.mean == pytest.approx(sum(bison.seeds) / 3)
    assert bison.mean == pytest.approx(0.9, abs=0.04)
    assert scores.of["v1"]["cola"].mean == pytest.approx(0.49, abs=0.1)  # 0.7², as the questions are independent
    low, high = bison.interval
    assert low < bison.mean < high
    assert 0.02 < high - low < 0.15
    four = ("bison", "svo_probes", "eqben", "cola")
    assert scores.of["v2"][MEAN].mean == pytest.approx(sum(scores.of["v2"][task].mean for task in four) / 4)


def test_differences_are_paired_and_a_real_one_is_above_zero(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / str(seed), {"v1": 0.8, "v2": 0.9}, seed) for seed in range(3)]
    scores = scores_over_seeds(folders)
    better = scores.differences()["V2 − V1"]
    assert better.interval[0] > 0
    alone = [score.interval[1] - score.interval[0] for score in (scores.of["v1"][MEAN], scores.of["v2"][MEAN])]
    assert better.interval[1] - better.interval[0] < sum(alone)
    same = scores.of["v1"][MEAN].minus(scores.of["v1"][MEAN])
    assert (same.mean, same.interval) == (0, (0, 0))


def test_models_that_a_seed_lacks_are_left_out(tmp_path: Path) -> None:
    folders = [
        evaluation(tmp_path / "0", {"v1": 0.9, "base": 0.5}, 0),
        evaluation(tmp_path / "1", {"base": 0.5}, 1),
    ]
    scores = scores_over_seeds(folders)
    assert list(scores.of) == ["base"]
    assert list(scores_over_seeds(folders[:1]).of) == ["base", "v1"]
    assert scores.differences() == {}
    assert table(scores).count("\n") == 2


def test_the_page_shows_table_and_both_curves_from_what_was_evaluated(tmp_path: Path) -> None:
    right = {"base": 0.5, "v1_1_of_8": 0.6, "v1_1_of_2": 0.7, "v1": 0.8, "v2": 0.9, "v2_perfect": 0.95}
    page = _page(scores_over_seeds([evaluation(tmp_path / str(seed), right, seed, 40) for seed in range(2)]))
    assert page.count("data:image/svg+xml") == 2
    assert '<th scope="row">v1_1_of_8</th>' in page
    assert "V1: 0 " in page  # the base is V1 with no pairs
    assert "perfect " in page
    assert "unverified" not in page.split("Score by who wrote", 1)[1].split("<ul>")[1]


def test_variants_are_trained_one_after_the_other_over_all_seeds_and_each_updates_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demo takes an hour, so its evaluations are made up here; what is done with them is real."""
    trained: list[tuple[str, int]] = []

    class Run:
        def __init__(self, settings: DemoSettings, timer: object):
            self.settings, self.out = settings, settings.out
            evaluation(self.out / "evaluation", {"v1": 0.8, "v2": 0.9}, settings.seed, 40)

        def evaluate(self, name: str, model: str) -> None:
            assert model == f"{self.out}/{name}"
            if trained[-1] == ("v2_perfect", 6):
                raise KeyboardInterrupt
            evaluation(self.out / "evaluation", {name: 0.7}, self.settings.seed, 40)

    def tune(run: Run, name: str) -> Path:
        trained.append((name, run.settings.seed))
        return run.out / name

    monkeypatch.setattr(module, "demo", lambda settings: f"demo of seed {settings.seed}")
    monkeypatch.setattr(module, "prepare", Run)
    monkeypatch.setattr(module, "tune_variant", tune)
    words = ["--out", str(tmp_path), "--seed", "5", "--runs", "2", "--variants", "which_image", "v2_perfect"]
    settings = parse_settings("ablations", words)
    assert isinstance(settings, AblationSettings)
    with pytest.raises(KeyboardInterrupt):
        ablations(settings)
    assert trained == [("which_image", 5), ("which_image", 6), ("v2_perfect", 5), ("v2_perfect", 6)]
    assert set(json.loads((tmp_path / "results.json").read_text())) == {"v1", "v2", "which_image"}
    assert "| which_image |" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "index.html").read_text()
    assert "V1 − which-image rows alone: " in page
    assert "data:image/svg+xml" not in page  # V1 and V2 alone make no curve
