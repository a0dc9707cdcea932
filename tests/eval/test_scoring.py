import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from cadvi_hub.eval.intervals import Share, mean_and_interval, wilson_interval
from cadvi_hub.eval.scoring import both_orders_shares, closed_shares, position_bias, prediction
from cadvi_hub.eval.text_scores import token_f1

QUESTIONS = Path(__file__).parents[3] / "shared/data/questions"
LETTERS = ["A", "B"]


def predicted(
    task: str, number: int, answer: str, text: str, group: str = "", category: str = "", **more: Any
) -> dict[str, Any]:
    options = ["True", "False"] if task == "nlvr2" else LETTERS
    question = {"id": str(number), "category": category, "group": group or str(number), "options": options}
    return {"index": number, **prediction(task, question, answer, text), **more}


def wilson_by_formula(successes: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


# the paper's Table 1 with intervals recomputed from the set sizes
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (143, 150, 90.7, 97.7),
        (1391, 1500, 91.3, 93.9),
        (100, 150, 58.8, 73.7),
        (47, 120, 30.9, 48.1),
        (86, 210, 34.5, 47.7),
    ],
)
def test_wilson_interval_gives_the_intervals_of_the_papers_table(
    successes: int, n: int, low: float, high: float
) -> None:
    assert [round(100 * end, 1) for end in wilson_interval(successes, n)] == [low, high]


@given(n=st.integers(1, 3000), data=st.data())
def test_wilson_interval_agrees_with_the_closed_formula(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    assert wilson_interval(successes, n) == pytest.approx(wilson_by_formula(successes, n), abs=1e-9)


@given(n=st.integers(1, 3000), data=st.data())
def test_wilson_interval_agrees_with_scipys(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_mean_stays_in_its_range() -> None:
    scores = [0.0, 0.5, 1.0, 0.5]
    mean, (low, high) = mean_and_interval(scores)
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.2041, 0.5 + 1.96 * 0.2041), abs=1e-3)
    assert mean_and_interval([0.9, 1.0])[1][1] == 1.0
    assert mean_and_interval([0.5]) == (0.5, (0.0, 1.0))
    assert mean_and_interval([0.0], lowest=-1.0) == (0.0, (-1.0, 1.0))


def test_a_prediction_says_what_was_read_and_whether_it_is_right() -> None:
    row = predicted("bison", 3, "A", "The first image.")
    assert row == {
        "index": 3, "id": "3", "category": "", "group": "3", "answer": "A", "prediction": "The first image.",
        "strict": None, "correct": False, "tolerant": "A", "tolerant_correct": True,
    }  # fmt: skip
    question = {"id": "0", "category": "", "group": "0", "options": []}
    assert prediction("cad_qa", question, "A dog.", " A dog.")["correct"]
    assert "strict" not in prediction("cad_qa", question, "A dog.", "A dog.")
    single = prediction("single_image", question, "red", "Red.")  # a closed set whose questions may have no options
    assert (single["correct"], single["tolerant_correct"]) == (False, True)


def test_an_unreadable_answer_stays_in_the_denominator() -> None:
    rows = [predicted("bison", index, "A", text) for index, text in enumerate(["A", "A.", "B", "?", ""])]
    shares = closed_shares("bison", rows)
    assert shares == {
        "accuracy": Share(1, 5),
        "unreadable": Share(3, 5),
        "tolerant_accuracy": Share(2, 5),
        "tolerant_unreadable": Share(2, 5),
    }


def test_a_pair_without_its_second_half_is_not_right() -> None:
    rows = [predicted("cola", index, "A", "A", group) for index, group in enumerate(["0", "1", "1"])]
    assert closed_shares("cola", rows)["pair_accuracy"] == Share(1, 2)


def test_consistency_asks_for_all_sentences_of_a_group_and_for_groups() -> None:
    said = [("0", "True"), ("0", "True"), ("0", "True"), ("1", "False"), ("1", "True"), ("2", "True")]
    rows = [predicted("nlvr2", index, "True", text, group) for index, (group, text) in enumerate(said)]
    assert closed_shares("nlvr2", rows)["consistency"] == Share(2, 3)
    assert closed_shares("nlvr2_swapped", rows)["consistency"] == Share(2, 3)
    assert "consistency" not in closed_shares("nlvr2", rows[-1:])  # nothing counts together
    assert "consistency" not in closed_shares("bison", rows)


def test_both_orders_count_only_what_was_asked_in_both() -> None:
    texts = [("A", "B"), ("A", "A"), ("B", "B"), ("?", "B")]
    rows = [predicted("bison", index, "A", there) for index, (there, _) in enumerate(texts)]
    swapped = [predicted("bison", index, "B", back) for index, (_, back) in enumerate(texts)]
    assert both_orders_shares("bison", rows, swapped)["both_orders_accuracy"] == Share(1, 4)
    assert both_orders_shares("bison", rows, swapped[:2])["both_orders_accuracy"] == Share(1, 2)


@pytest.mark.parametrize(
    ("first", "then", "bias"), [("A", "A", 1.0), ("B", "B", -1.0), ("A", "B", 0.0), ("B", "A", 0.0)]
)
def test_position_bias_is_what_is_chosen_too_often(first: str, then: str, bias: float) -> None:
    rows = [predicted("bison", 0, "A", first), predicted("bison", 1, "A", "?")]
    swapped = [predicted("bison", 0, "B", then), predicted("bison", 1, "B", "A")]
    assert position_bias(rows, swapped, "strict") == {0: bias}  # the second question was not read in both orders


def test_statements_have_no_position_bias() -> None:
    rows = [predicted("nlvr2", 0, "True", "True")]
    assert position_bias(rows, rows, "strict") == {}


SPOILS: dict[str, Callable[[str, str], str]] = {
    "right": lambda answer, _: answer,
    "spaced": lambda answer, _: f" {answer}\n",
    "wrong": lambda _, other: other,
    "empty": lambda *_: "",
    "full stop": lambda answer, _: answer + ".",
    "sentence": lambda answer, _: f"The answer is {answer}",
    "both": lambda answer, other: f"{answer} or {other}",
}
STRICT, TOLERANT = {"right", "spaced"}, {"right", "spaced", "full stop", "sentence"}
STRICTLY_READ, TOLERANTLY_READ = STRICT | {"wrong"}, TOLERANT | {"wrong"}


def question_file(task: str) -> pandas.DataFrame:
    """Questions of a set in the paper's size: answer, group, category; BISON's and COLA's are the paper's own."""
    file = QUESTIONS / f"{task.upper()}.jsonl"
    if task in ("bison", "cola") and file.is_file():
        table = pandas.DataFrame([json.loads(line) for line in file.open()])[["answer", "question_id"]]
        table["group"] = table.pop("question_id").astype(str).str.replace(r"_[01]$", "", regex=True)
        return table.assign(category="")
    size = {"bison": 150, "svo_probes": 1500, "nlvr2": 150, "eqben": 240, "cola": 420}[task]
    options = ("True", "False") if task == "nlvr2" else ("A", "B")
    categories = {"svo_probes": ["subject", "verb", "object"], "eqben": ["sd", "kubric_cnt", "kubric_loc", "ag"]}
    names = categories.get(task, [""])
    groups = [index // 2 if task in ("eqben", "cola", "nlvr2") else index for index in range(size)]
    return pandas.DataFrame(
        {
            "answer": [options[index % 2] for index in range(size)],
            "group": list(map(str, groups)),
            "category": [names[group % len(names)] for group in groups],
        }
    )


@pytest.mark.parametrize("task", ["bison", "svo_probes", "nlvr2", "eqben", "cola"])
@pytest.mark.parametrize("half_missing", [False, True])
def test_scores_equal_an_independent_computation(task: str, half_missing: bool) -> None:
    table = question_file(task)
    rng = random.Random(task)
    table["kind"] = [rng.choice(sorted(SPOILS)) for _ in range(len(table))]
    hopeless = table["category"].isin(["verb", "kubric_loc"])  # a category without a right answer
    table.loc[hopeless & table["kind"].isin(TOLERANT), "kind"] = "wrong"
    if half_missing:
        table = table.drop(index=[7, 40]).reset_index(drop=True)
    options = ("True", "False") if task == "nlvr2" else ("A", "B")
    rows = [
        predicted(
            task,
            index,
            row.answer,
            SPOILS[row.kind](row.answer, options[row.answer == options[0]]),
            row.group,
            row.category,
        )
        for index, row in table.iterrows()
    ]
    shares = {name: float(share) for name, share in closed_shares(task, rows).items()}

    expected: dict[str, float] = {}
    readings = (("", STRICT, STRICTLY_READ), ("tolerant_", TOLERANT, TOLERANTLY_READ))
    for prefix, right, read in readings:
        table["right"] = table["kind"].isin(right)
        expected[f"{prefix}accuracy"] = table["right"].mean()
        expected[f"{prefix}unreadable"] = 1 - table["kind"].isin(read).mean()
        groups = table.groupby("group").agg(
            right=("right", "min"), n=("right", "size"), category=("category", "first")
        )
        metric = {"nlvr2": "consistency", "eqben": "pair_accuracy", "cola": "pair_accuracy"}.get(task)
        if metric:
            groups["right"] &= (groups["n"] == 2) | (metric == "consistency")
            expected[f"{prefix}{metric}"] = groups["right"].mean()
        for category in set(table["category"]) - {""}:
            expected[f"{prefix}accuracy_{category}"] = table[table["category"] == category]["right"].mean()
            if metric:
                expected[f"{prefix}{metric}_{category}"] = groups[groups["category"] == category]["right"].mean()
    assert shares == pytest.approx(expected)
    if task == "svo_probes":
        assert shares["accuracy_verb"] == shares["tolerant_accuracy_verb"] == 0


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [
        ("A red dog.", "the red dog", 1.0),  # case, article and full stop do not count
        ("", "red dog", 0.0),
        ("cat", "red dog", 0.0),
        ("red", "red dog", 2 / 3),
        ("dog dog dog", "dog", 0.5),  # a bag, not a set
        ("image 1 is red and image 2 is blue", "image 1 is blue and image 2 is red", 1.0),  # a bag, so order is lost
    ],
)
def test_token_f1_compares_bags_of_normalised_words(prediction: str, answer: str, score: float) -> None:
    assert token_f1(prediction, answer) == pytest.approx(score)
