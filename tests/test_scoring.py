import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.eval import scoring

QUESTIONS = Path(__file__).parents[2] / "shared/data/questions"


def wilson_by_formula(successes: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    share = successes / n
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


@pytest.mark.parametrize("prediction", ["A", " A", "A\n", "\tA \n"])
def test_only_whitespace_around_an_answer_is_forgiven(prediction: str) -> None:
    assert scoring.is_correct(prediction, "A")


@pytest.mark.parametrize("prediction", ["", "a", "A.", "B", "AA", "A B", "The answer is A", "(A)", "A</s>", "True"])
def test_anything_but_the_very_answer_is_wrong(prediction: str) -> None:
    assert not scoring.is_correct(prediction, "A")


def test_an_answer_counts_as_answered_when_it_is_an_option_right_or_wrong() -> None:
    assert scoring.is_answered(" B ", ["A", "B"])
    assert not scoring.is_answered("B.", ["A", "B"])
    assert not scoring.is_answered("", ["A", "B"])
    assert scoring.is_answered("a red dog", [])
    assert not scoring.is_answered("  ", [])


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
    assert [round(100 * end, 1) for end in scoring.wilson_interval(successes, n)] == [low, high]


@given(n=st.integers(1, 3000), data=st.data())
def test_wilson_interval_agrees_with_the_closed_formula(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    assert scoring.wilson_interval(successes, n) == pytest.approx(wilson_by_formula(successes, n), abs=1e-9)


def test_normal_interval_stays_between_0_and_1() -> None:
    assert scoring.normal_interval(0.5, 0.1) == pytest.approx((0.304, 0.696), abs=1e-3)
    assert scoring.normal_interval(0.99, 0.1)[1] == 1.0
    assert scoring.normal_interval(0.5, math.inf) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50), st.randoms())
def test_pair_accuracy_is_the_share_of_pairs_with_both_halves_right(pairs, random) -> None:
    questions = [(str(index), half) for index, pair in enumerate(pairs) for half in pair]
    random.shuffle(questions)
    groups, correct = zip(*questions, strict=True)
    assert scoring.pair_accuracy(groups, correct) == sum(a and b for a, b in pairs) / len(pairs)


def test_a_pair_without_its_second_half_is_not_right() -> None:
    assert scoring.pair_outcomes(["0", "1", "1"], [True, True, True]) == {"0": False, "1": True}
    assert scoring.pair_accuracy(["0", "1", "1"], [True, True, True]) == 0.5


def test_category_accuracy_leaves_out_questions_without_a_category() -> None:
    scores = scoring.category_accuracy(["verb", "object", "verb", ""], [True, False, False, True])
    assert scores == {"object": 0.0, "verb": 0.5}


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
    assert scoring.token_f1(prediction, answer) == pytest.approx(score)


@pytest.mark.skipif(not QUESTIONS.is_dir(), reason="../shared/data/questions is not beside the checkout")
def test_made_up_answers_to_the_papers_files_score_as_counted_by_hand() -> None:
    bison = [json.loads(line) for line in (QUESTIONS / "BISON.jsonl").open()]
    answers = [question["answer"] for question in bison]
    assert scoring.accuracy([scoring.is_correct("A", answer) for answer in answers]) == 83 / 150
    for spoil in (lambda answer: "", lambda answer: answer + ".", str.lower, lambda answer: f"Image {answer}"):
        assert scoring.accuracy([scoring.is_correct(spoil(answer), answer) for answer in answers]) == 0

    cola = [json.loads(line) for line in (QUESTIONS / "COLA.jsonl").open()]
    groups = [question["question_id"].rpartition("_")[0] for question in cola]
    right = [scoring.is_correct(question["answer"], question["answer"]) for question in cola]
    assert scoring.pair_accuracy(groups, right) == 1
    only_a = [scoring.is_correct("A", question["answer"]) for question in cola]
    assert scoring.accuracy(only_a) == 0.5
    assert scoring.pair_accuracy(groups, only_a) == 0
    half_missing = [not (group == "7" and index % 2) for index, group in enumerate(groups)]
    assert scoring.pair_accuracy(groups, half_missing) == 209 / 210
