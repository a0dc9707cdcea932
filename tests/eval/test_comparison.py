import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.comparison import compare, compare_predictions, mcnemar, paired_bootstrap
from cadvi_hub.eval.scoring import prediction
from cadvi_hub.eval.settings import CompareSettings


def rows(task: str, texts: str, answer: str = "A", **changes: Any) -> list[dict[str, Any]]:
    """One prediction per letter of `texts`; two neighbours are a group of COLA."""
    questions = [
        {
            "id": str(index),
            "category": "",
            "group": str(index // 2 if task == "cola" else index),
            "options": ["A", "B"],
        }
        for index in range(len(texts))
    ]
    return [
        {"index": index, **prediction(task, question, answer, text), **changes}
        for index, (question, text) in enumerate(zip(questions, texts, strict=True))
    ]


@pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (1, 8, 20 / 512)])
def test_mcnemars_test_is_the_exact_binomial_one(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == mcnemar(second, first) == pytest.approx(p)


def test_the_paired_bootstrap_agrees_with_scipys() -> None:
    rng = np.random.default_rng(1)
    differences = rng.choice([-1.0, 0.0, 0.0, 1.0, 1.0], size=400)
    expected = bootstrap((differences,), np.mean, method="percentile", n_resamples=10_000, rng=2).confidence_interval
    interval = paired_bootstrap(list(differences), list(map(str, range(400))))
    assert interval == pytest.approx((expected.low, expected.high), abs=0.01)
    assert paired_bootstrap(list(differences), list(map(str, range(400)))) == interval  # seeded
    assert paired_bootstrap(list(differences), list(map(str, range(400))), seed=1) != interval


def test_questions_of_a_group_are_drawn_together() -> None:
    differences = [1.0, 1.0, -1.0, -1.0] * 50
    alone = paired_bootstrap(differences, list(map(str, range(200))))
    together = paired_bootstrap(differences, [str(index // 2) for index in range(200)])
    assert together[1] - together[0] > 1.2 * (alone[1] - alone[0])
    in_parts = paired_bootstrap(differences, ["all"] * 200, resamples=7)
    assert in_parts == (0.0, 0.0)


def test_two_models_differ_by_what_one_alone_has_right() -> None:
    (found,) = compare_predictions("bison", rows("bison", "AABBBB"), rows("bison", "ABAAAB"))
    assert (found.metric, found.n, found.first, found.second) == ("accuracy", 6, 2 / 6, 4 / 6)
    assert found.difference == pytest.approx(2 / 6)
    assert (found.only_first, found.only_second, found.p_value) == (1, 3, mcnemar(1, 3))
    low, high = found.interval
    assert low < found.difference < high


def test_pairs_are_compared_as_pairs() -> None:
    accuracy, pairs = compare_predictions("cola", rows("cola", "AABBAB"), rows("cola", "AAAAAB"))
    assert (accuracy.n, accuracy.only_second) == (6, 2)
    assert (pairs.metric, pairs.n, pairs.first, pairs.second, pairs.only_second) == (
        "pair_accuracy",
        3,
        1 / 3,
        2 / 3,
        1,
    )


def test_the_tolerant_reading_is_compared_on_demand() -> None:
    first, second = rows("bison", "AB"), rows("bison", "ab")
    assert compare_predictions("bison", first, second)[0].second == 0
    assert compare_predictions("bison", first, second, "tolerant")[0].difference == 0


def test_open_answers_are_compared_by_their_words_without_a_test_of_right_and_wrong() -> None:
    (found,) = compare_predictions("cad_qa", rows("cad_qa", "xy", "x y"), rows("cad_qa", "yz", "x y"))
    assert (found.metric, found.p_value) == ("token_f1", None)
    assert found.difference == pytest.approx(-1 / 3)


@pytest.mark.parametrize("changes", [{"id": "other"}, {"answer": "B"}, {"index": 9}, {"group": "x"}])
def test_other_questions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="set bison"):
        compare_predictions("bison", rows("bison", "AB"), rows("bison", "AB", **changes))
    with pytest.raises(InputError, match="2 questions, the other 3"):
        compare_predictions("bison", rows("bison", "AB"), rows("bison", "ABA"))


def write(folder: Path, **sets: list[dict[str, Any]]) -> Path:
    (folder / "predictions").mkdir(parents=True)
    for task, predictions in sets.items():
        lines = "".join(json.dumps(row) + "\n" for row in predictions)
        (folder / "predictions" / f"{task}.jsonl").write_text(lines)
    return folder


def test_the_command_compares_what_both_have_and_writes_it(tmp_path: Path) -> None:
    first = write(tmp_path / "base", bison=rows("bison", "AB"), cola=rows("cola", "AB"), nlvr2=rows("nlvr2", "A"))
    second = write(tmp_path / "v1", bison=rows("bison", "AA"), cola=rows("cola", "AA"))
    shown = compare(CompareSettings(first, second, out=tmp_path / "out/comparison.json"))
    lines = shown.splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["bison", "accuracy"],
        ["cola", "accuracy"],
        ["cola", "pair_accuracy"],
    ]
    assert lines[-3].split()[2:5] == ["2", "50.0", "100.0"]
    written = json.loads((tmp_path / "out/comparison.json").read_text())
    assert (written[0]["task"], written[0]["metric"]) == ("bison", "accuracy")
    assert written[0]["difference"] == 0.5


def test_a_folder_without_predictions_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a", bison=rows("bison", "AB"))
    with pytest.raises(InputError, match="nowhere: it has no predictions"):
        compare(CompareSettings(first, tmp_path / "nowhere"))


def test_a_set_without_predictions_is_named(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", bison=rows("bison", "AB")), write(tmp_path / "b", cola=rows("cola", "AB"))
    with pytest.raises(InputError, match="no set in common"):
        compare(CompareSettings(first, second))
    with pytest.raises(InputError, match=r"b/predictions/bison.jsonl: cannot be read"):
        compare(CompareSettings(first, second, tasks=["bison"]))
    (second / "predictions/bison.jsonl").write_text('{"index": 0}\n')
    with pytest.raises(InputError, match="not predictions"):
        compare(CompareSettings(first, second, tasks=["bison"]))
