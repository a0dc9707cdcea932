"""Intervals of questions that depend on each other: as wide as a bootstrap over their groups says."""

import pickle

import numpy as np
import pytest

from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.comparison import clustered_mcnemar, mcnemar, paired_bootstrap, smallest_detectable
from cadvi_hub.eval.intervals import Share, clustered_share, mean_and_interval, standard_error, wilson_interval
from cadvi_hub.eval.scoring import closed_shares, prediction, task_scores


def pairs(seed: int, number: int = 300) -> tuple[list[bool], list[str]]:
    """Outcomes of `number` pairs of questions, whose halves mostly agree."""
    rng = np.random.default_rng(seed)
    first = rng.random(number) < 0.6
    second = np.where(rng.random(number) < 0.8, first, rng.random(number) < 0.6)
    return [bool(each) for pair in zip(first, second, strict=True) for each in pair], [
        str(i // 2) for i in range(2 * number)
    ]


def test_an_interval_over_clusters_agrees_with_a_bootstrap_over_groups() -> None:
    outcomes, groups = pairs(seed=1)
    low, high = clustered_share(outcomes, groups).interval
    drawn = paired_bootstrap([float(each) for each in outcomes], groups)
    assert (low, high) == pytest.approx(drawn, abs=0.006)
    alone = wilson_interval(sum(outcomes), len(outcomes))
    assert high - low > 1.2 * (alone[1] - alone[0])


def test_independent_questions_have_wilsons_interval() -> None:
    outcomes = [True, False, True]
    assert clustered_share(outcomes, ["a", "b", "c"]).interval == wilson_interval(2, 3)


def test_an_interval_over_clusters_is_never_narrower_than_without_them() -> None:
    constant = [True, False] * 50  # the letter A, asked in pairs: each pair has one right
    share = clustered_share(constant, [str(index // 2) for index in range(100)])
    assert share.interval == wilson_interval(50, 100)
    assert clustered_share([True] * 10, ["a"] * 5 + ["b"] * 5).interval == wilson_interval(2, 2)
    assert clustered_share([True, False], ["a", "a"]).interval == wilson_interval(0.5, 1)


def test_most_such_intervals_hold_the_true_share() -> None:
    intervals = [clustered_share(*pairs(seed, 100)).interval for seed in range(200)]
    assert sum(low <= 0.6 <= high for low, high in intervals) >= 180


def test_a_share_keeps_its_effective_number_when_it_is_pickled() -> None:
    share = pickle.loads(pickle.dumps(Share(1, 4, 2.5)))  # noqa: S301  (our own bytes)
    assert (share, share.effective) == (Share(1, 4), 2.5)


def test_a_mean_over_clusters_has_the_error_of_their_sums() -> None:
    values, groups = [0.0, 0.0, 1.0, 1.0, 0.5, 0.5], ["a", "a", "b", "b", "c", "c"]
    assert standard_error(values, groups) == pytest.approx(np.std([0.0, 1.0, 0.5], ddof=1) / 3**0.5)
    assert standard_error(values, list("abcdef")) == pytest.approx(standard_error(values))
    assert mean_and_interval(values, clusters=groups)[0] == 0.5


def rows_of(task: str, ids: list[str], groups: list[str], texts: str) -> list[dict[str, object]]:
    options = list(BENCHMARKS[task].options)
    said = {"T": "True", "F": "False"} | {letter: letter for letter in "AB"}
    return [
        {
            "index": i,
            **prediction(task, {"id": id, "category": "", "group": group, "options": options}, options[0], said[text]),
        }
        for i, (id, group, text) in enumerate(zip(ids, groups, texts, strict=True))
    ]


def test_the_questions_of_a_pair_are_one_cluster_and_the_sentences_of_an_nlvr2_set() -> None:
    cola = rows_of("cola", [f"{i // 2}_{i % 2}" for i in range(8)], [str(i // 2) for i in range(8)], "AABBAABB")
    assert closed_shares("cola", cola)["accuracy"].effective == pytest.approx(3)
    assert closed_shares("cola", cola)["pair_accuracy"].effective == 4
    ids = [f"dev-{number}-{pair}-{sentence}" for number in (1, 2) for pair in (0, 1) for sentence in (0, 1)]
    groups = [f"{split}-{number}-{sentence}" for split, number, _, sentence in (each.split("-") for each in ids)]
    nlvr2 = rows_of("nlvr2", ids, groups, "TTTTFFFF")
    assert closed_shares("nlvr2", nlvr2)["accuracy"].effective == pytest.approx(1)
    low, high = task_scores("nlvr2", {"nlvr2": nlvr2}, both_orders=False)["accuracy_interval"]
    assert high - low > 0.8


def test_questions_that_count_together_are_clusters_too_where_they_share_images() -> None:
    ids = [f"{group}_q{question}i{image}" for group in range(12) for image in (0, 1) for question in (0, 1)]
    groups = [each.partition("_")[0] for each in ids]
    right = [number < 6 for number in range(12) for _ in range(4)]  # all of a group's answers, or none
    rows = [
        {
            "index": i,
            "ranked": "Yes" if is_right else "No",
            **prediction(
                "naturalbench",
                {"id": id, "category": "", "group": group, "options": ["Yes", "No"]},
                "Yes",
                "Yes" if is_right else "No",
            ),
        }
        for i, (id, group, is_right) in enumerate(zip(ids, groups, right, strict=True))
    ]
    shares = closed_shares("naturalbench", rows)
    assert (shares["question_accuracy"].n, shares["group_accuracy"].n) == (24, 12)
    scores = task_scores("naturalbench", {"naturalbench": rows}, both_orders=False)
    widths = {
        metric: scores[f"{metric}_interval"][1] - scores[f"{metric}_interval"][0]
        for metric in ("accuracy", "question_accuracy", "image_accuracy", "ranked_accuracy")
    }
    low, high = clustered_share([number < 6 for number in range(12)], list(range(12))).interval  # independent groups
    assert all(width == pytest.approx(high - low, rel=0.05) for width in widths.values())
    assert shares["group_accuracy"].effective == 12


def test_the_mean_of_open_answers_about_the_same_images_has_a_wider_interval() -> None:
    question = {"category": "", "options": []}
    rows = [
        {"index": i, **prediction("cad_qa", question | {"id": str(i), "group": str(i // 5)}, "a dog", text)}
        for i, text in enumerate(["a dog"] * 20 + ["a cat"] * 20)
    ]
    alone = [{**row, "group": str(row["index"])} for row in rows]
    of = [task_scores("cad_qa", {"cad_qa": each}, both_orders=False) for each in (rows, alone)]
    for metric in ("token_f1", "exact_match"):
        together, apart = (scores[f"{metric}_interval"] for scores in of)
        assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def test_mcnemars_test_counts_groups() -> None:
    differences = [1.0, 1.0] * 6 + [-1.0, 1.0]
    assert clustered_mcnemar(differences, [str(i // 2) for i in range(14)]) == mcnemar(0, 6)
    assert clustered_mcnemar(differences, list(map(str, range(14)))) == mcnemar(1, 13)


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    rng, n = np.random.default_rng(3), 400
    alone = list(map(str, range(n)))
    equal = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.7, 0.15], size=n)
    shift, found = smallest_detectable(equal.tolist(), alone), 0
    for _ in range(300):
        differences = rng.choice([-1.0, 0.0, 1.0], p=[0.15 - shift / 2, 0.7, 0.15 + shift / 2], size=n)
        found += clustered_mcnemar(differences.tolist(), alone) < 0.05
    assert 0.7 < found / 300 < 0.9


def test_models_that_do_not_differ_have_the_least_difference_that_the_test_can_see() -> None:
    assert smallest_detectable([0.0] * 60, list(map(str, range(60)))) == pytest.approx(0.1)
    assert smallest_detectable([0.0, 1.0], ["a", "b"]) == 1
