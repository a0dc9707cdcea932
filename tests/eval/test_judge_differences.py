"""Precision and recall over lists of differences, from answers and a judge's replies to scores computed here anew."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.judge.differences import Lists, judge_differences, listed, made_lists, read_matches
from cadvi_hub.eval.judge.differences import differences as shown
from cadvi_hub.eval.judge.settings import DifferencesSettings, JudgeModelSettings
from cadvi_hub.generation.chat import Failed, Reply
from tests.support.judges import part, write_predictions, write_set
from tests.support.openai_server import Answer, openai_server

TRUE = [
    "The car is red in Image 1 and blue in Image 2.",
    "There are two dogs in Image 1.",
    "The lamp is gone.",
]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (
            "1. The car is red.\n2. A dog sits there. It is brown.",
            ["The car is red.", "A dog sits there.", "It is brown."],
        ),
        ("- no lamp\n- a dog", ["no lamp", "a dog"]),
        ("The differences are:\n1) no lamp\n2) a dog", ["no lamp", "a dog"]),
        ("Commonalities: both show a road.\nDifferences:\n1. Counts: two dogs.", ["Counts: two dogs."]),
        ("The lamp is gone. The sky is dark.", ["The lamp is gone.", "The sky is dark."]),
        ("The lamp, 1.5 m high, is\ngone", ["The lamp, 1.5 m high, is gone"]),
        (" \n- ", []),
        ("", []),
    ],
)
def test_a_text_becomes_a_list_of_differences(text: str, items: list[str]) -> None:
    assert listed(text) == items


@pytest.mark.parametrize(
    ("reply", "matches"),
    [
        ('{"matches": [1, 0]}', [1, 0]),
        ('Here it is:\n```json\n{"matches": [0, 2]}\n```', [0, 2]),
        ('{"matches": [1]}', None),  # another number of items
        ('{"matches": [1, 3]}', None),  # no such item
        ('{"matches": [1, true]}', None),
        ('{"matches": [1, -1]}', None),
        ('{"match": [1, 0]}', None),
        ("[1, 0]", None),
        ("1, 0", None),
    ],
)
def test_a_reply_is_read_or_not_but_never_guessed(reply: str, matches: list[int] | None) -> None:
    lists = Lists(0, ["a", "b"], ["c", "d"])
    assert read_matches(Reply(reply, "stop", 1, 1), lists) == matches
    assert read_matches(Failed("refused"), lists) is None


def numbered(request: dict[str, Any], name: str) -> list[str]:
    return [line.partition(". ")[2] for line in part(request, name).splitlines()]


def by_words(request: dict[str, Any], number: int) -> Answer:
    """A judge that finds an item of the reference with the same words in the same order."""
    reference = [re.findall(r"\w+", item.lower()) for item in numbered(request, "reference")]
    found = [re.findall(r"\w+", item.lower()) for item in numbered(request, "answer")]
    matches = [reference.index(words) + 1 if words in reference else 0 for words in found]
    return Answer(json.dumps({"matches": matches}))


def test_precision_and_recall_count_items_over_all_answers(tmp_path: Path) -> None:
    rows = write_set(tmp_path / "data", 4, answer="\n".join(f"{n}. {item}" for n, item in enumerate(TRUE, 1)))
    answers = [
        f"1. {TRUE[1]}\n2. The sky is green.",  # one of two, one of three
        " ".join(TRUE),  # all
        "",  # nothing, of three
        f"- {TRUE[0].upper()}\n- {TRUE[0]}",  # the same twice: both right, one of three
    ]
    write_predictions(tmp_path / "out", rows, answers)
    with openai_server(by_words) as server:
        settings = DifferencesSettings(
            tmp_path / "out", str(tmp_path / "data"), judge=JudgeModelSettings(server.base_url, model="judge")
        )
        scores = judge_differences(settings)["tasks"]["cad_qa"]
        assert len(server.requests) == 3
        assert "recall 41.7" in shown(settings)
        assert len(server.requests) == 3  # the replies are stored
    assert (scores["precision"], scores["precision_n"]) == (6 / 7, 7)
    assert (scores["recall"], scores["recall_n"]) == (5 / 12, 12)
    assert scores["f1"] == pytest.approx(2 * (6 / 7) * (5 / 12) / (6 / 7 + 5 / 12))
    assert (scores["unreadable"], scores["n"]) == (0, 4)
    low, high = scores["recall_interval"]
    assert low < 5 / 12 < high


def test_unreadable_replies_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = write_set(tmp_path / "data", 2, answer=TRUE[2])
    write_predictions(tmp_path / "out", rows, [TRUE[2], TRUE[0]])

    def half_read(request: dict[str, Any], _number: int) -> Answer:
        return Answer('{"matches": [1]}' if "lamp" in part(request, "answer") else "?")

    with openai_server(half_read) as server:
        judge = JudgeModelSettings(server.base_url, model="judge")
        scores = judge_differences(DifferencesSettings(tmp_path / "out", str(tmp_path / "data"), judge=judge))
    found = scores["tasks"]["cad_qa"]
    assert (found["precision"], found["recall"], found["unreadable"]) == (1, 1, 0.5)


def test_made_answers_tell_how_far_a_judge_is_right(tmp_path: Path) -> None:
    references = [[f"The thing {n} is of colour {k}." for k in range(4)] for n in range(6)]
    lists = list(made_lists(references, 6, seed=1))
    assert list(made_lists(references, 6, seed=1)) == lists
    for each in lists:
        assert each.truth is not None
        assert [each.reference[truth - 1] if truth else None for truth in each.truth] == [
            item if item in each.reference else None for item in each.answer
        ]
    assert {0, 1} <= {truth > 0 for each in lists for truth in each.truth or ()}
    rows = write_set(tmp_path / "data", 6)
    write_questions(
        [{**row, "answer": " ".join(items)} for row, items in zip(rows, references, strict=True)], tmp_path / "data"
    )
    made: dict[str, Any] = {"results": tmp_path / "out", "data": str(tmp_path / "data"), "made": 6, "seed": 1}
    with openai_server(by_words) as right, openai_server(lambda request, _: all_first(request)) as wrong:
        good = judge_differences(DifferencesSettings(**made, judge=JudgeModelSettings(right.base_url, model="good")))
        poor = judge_differences(DifferencesSettings(**made, judge=JudgeModelSettings(wrong.base_url, model="poor")))
    items = [truth for each in lists for truth in each.truth or ()]
    assert good["tasks"]["cad_qa"]["agreement"] == 1
    assert good["tasks"]["cad_qa"]["precision"] == sum(truth > 0 for truth in items) / len(items)
    assert poor["tasks"]["cad_qa"]["agreement"] == items.count(1) / len(items)


PAIRS = [f"Attributes: Image 1 shows a red thing {n}, while image 2 shows a blue thing {n}." for n in range(60)]


def test_items_of_made_answers_are_said_the_other_way_or_of_the_other_image() -> None:
    (lists,) = made_lists([PAIRS], 1, seed=0)
    assert lists.truth is not None
    assert lists.kinds is not None
    for item, truth, kind in zip(lists.answer, lists.truth, lists.kinds, strict=True):
        number = int(re.findall(r"\d+(?=[.,])", item)[0])
        made = {
            "same": (PAIRS[number], number + 1),
            "halves_exchanged": (
                f"Attributes: Image 2 shows a blue thing {number}, while image 1 shows a red thing {number}.",
                number + 1,
            ),
            "images_exchanged": (
                f"Attributes: Image 2 shows a red thing {number}, while image 1 shows a blue thing {number}.",
                0,
            ),
        }
        assert (item, truth) == made[kind]
    assert set(lists.kinds) == {"same", "halves_exchanged", "images_exchanged"}


def test_a_judge_that_forgets_which_image_is_which_is_found_out(tmp_path: Path) -> None:
    rows = write_set(tmp_path / "data", 6)
    answers = [" ".join(PAIRS[10 * n : 10 * n + 10]) for n in range(6)]
    write_questions([{**row, "answer": said} for row, said in zip(rows, answers, strict=True)], tmp_path / "data")

    def by_bag_of_words(request: dict[str, Any], number: int) -> Answer:
        reference = [sorted(re.findall(r"\w+", item.lower())) for item in numbered(request, "reference")]
        found = [sorted(re.findall(r"\w+", item.lower())) for item in numbered(request, "answer")]
        return Answer(json.dumps({"matches": [reference.index(bag) + 1 if bag in reference else 0 for bag in found]}))

    made: dict[str, Any] = {"results": tmp_path / "out", "data": str(tmp_path / "data"), "made": 6}
    with openai_server(by_bag_of_words) as server:
        settings = DifferencesSettings(**made, judge=JudgeModelSettings(server.base_url, model="bag"))
        scores = judge_differences(settings)["tasks"]["cad_qa"]
        assert "agreement_images_exchanged 0.0" in shown(settings)
    assert scores["agreement_same"] == scores["agreement_halves_exchanged"] == scores["agreement_borrowed"] == 1
    assert scores["agreement_images_exchanged"] == 0
    of_kinds = [scores[f"agreement_{kind}_n"] for kind in ("same", "halves_exchanged", "images_exchanged", "borrowed")]
    assert sum(of_kinds) == scores["agreement_n"]


def all_first(request: dict[str, Any]) -> Answer:
    return Answer(json.dumps({"matches": [1] * len(numbered(request, "answer"))}))


def test_without_answers_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_set(tmp_path / "data", 1)
    with pytest.raises(InputError, match="nothing to compare"):
        judge_differences(DifferencesSettings(tmp_path / "out", str(tmp_path / "data")))
    with pytest.raises(InputError, match="a judge rates open answers"):
        judge_differences(DifferencesSettings(tmp_path / "out", str(tmp_path / "data"), tasks=["bison"]))
