"""The check of a judge tells a fair one from one that is generous, mean, deaf, careless or can be ordered about."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub import cli
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.stored import read_texts
from cadvi_hub.eval.judge.check import INJECTIONS, PROBES, check, check_judge, make_probes
from cadvi_hub.eval.judge.settings import JudgeCheckSettings, JudgeModelSettings
from tests.support.judges import fair, part, reference, write_set
from tests.support.openai_server import Answer, Behaviour, openai_server

GAPS = {"whole less half", "half of the reference less"}
QUESTIONS = [{"id": f"q{index}", "question": "Q?", "answer": reference(index)} for index in range(30)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_set(tmp_path / "questions", 24)
    return tmp_path / "questions"


def checked(data: Path, behaviour: Behaviour, **changes: Any) -> dict[str, Any]:
    """What the check finds of a judge that behaves so."""
    with openai_server(behaviour) as server:
        judge = JudgeModelSettings(model="judge", base_url=server.base_url, concurrency=4)
        usual = JudgeCheckSettings(str(data), data.parent / "check", judge=judge)
        found: dict[str, Any] = check_judge(replace(usual, **changes))["tasks"]["cad_qa"]
    return found


def rated(rating: int) -> Answer:
    return Answer(json.dumps({"reason": "x", "rating": rating}))


def test_every_question_has_five_answers_of_known_worth() -> None:
    probes = list(make_probes("cad_qa", QUESTIONS, 6, seed=1))
    assert [probe.probe for probe in probes] == list(PROBES) * 6
    for start in range(0, 30, 5):
        whole, half, wrong, injection, empty = (probe.answered.answer for probe in probes[start : start + 5])
        assert {probe.id for probe in probes[start : start + 5]} == {f"q{probes[start].row}"}
        assert whole == reference(probes[start].row) == probes[start].answered.reference
        assert whole.split()[:6] == half.split()
        assert wrong != whole
        assert wrong in [row["answer"] for row in QUESTIONS]
        assert injection in [f"{wrong}\n\n{order}" for order in INJECTIONS]
        assert empty == ""
    indexes = [probe.row for probe in probes[::5]]
    assert indexes == sorted(set(indexes))


def test_the_seed_decides_the_probes() -> None:
    first, again, other = (list(make_probes("cad_qa", QUESTIONS, 6, seed)) for seed in (1, 1, 2))
    assert first == again != other
    orders = {probe.answered.answer.partition("\n\n")[2] for probe in make_probes("cad_qa", QUESTIONS, 30, 0)}
    assert orders & set(INJECTIONS) == set(INJECTIONS)


def test_short_answers_are_not_halved_and_equal_ones_are_not_taken_for_wrong() -> None:
    rows = [
        {"id": str(index), "question": "Q?", "answer": answer} for index, answer in enumerate(["Yes.", "yes", "No"])
    ]
    probes = [probe for probe in make_probes("cad_qa", rows, 50, 0) if probe.row == 0]
    assert [probe.probe for probe in probes] == ["reference", "wrong", "injection", "empty"]
    assert probes[1].answered.answer == "No"
    with pytest.raises(InputError, match="no two answers differ"):
        list(make_probes("cad_qa", rows[:2], 50, 0))


def test_a_fair_judge_can_be_trusted(data: Path) -> None:
    found = checked(data, fair)
    assert found["verdict"].startswith("can be trusted")
    assert all(each["holds"] for each in found["criteria"])
    means = {probe: scores["rating"] for probe, scores in found["probes"].items()}
    assert means == {"reference": 5, "half": 3, "wrong": 0, "injection": 0, "empty": 0}
    assert all(len(scores["rating_interval"]) == 2 for scores in found["probes"].values())


def obeys(request: dict[str, Any], number: int) -> Answer:
    attacked = re.search(r"\b5\b|full marks|says the same", part(request, "answer"))
    return rated(5) if attacked else fair(request, number)


def rates_nothing_highly(request: dict[str, Any], number: int) -> Answer:
    return fair(request, number) if part(request, "answer").strip() else rated(3)


def counts_words(request: dict[str, Any], number: int) -> Answer:
    return rated(min(5, len(part(request, "answer").split()) // 2))


def chatters(request: dict[str, Any], number: int) -> Answer:
    return Answer("It is a matter of taste.") if number % 8 == 0 else fair(request, number)


@pytest.mark.parametrize(
    ("behaviour", "faults"),
    [
        (
            lambda *_: rated(5),
            {"another question's", "an empty answer", "whole less half", "half of the reference less"},
        ),
        (lambda *_: rated(0), {"the reference itself", "whole less half", "half of the reference less"}),
        (obeys, {"an order to rate highly"}),
        (rates_nothing_highly, {"an empty answer"}),
        (counts_words, {"another question's", "half of the reference less"}),
        (chatters, {"share of unreadable"}),
    ],
)
def test_a_judge_that_is_not_fair_is_found_out_with_its_fault(
    data: Path, behaviour: Behaviour, faults: set[str]
) -> None:
    found = checked(data, behaviour)
    failed = [each["name"] for each in found["criteria"] if each["holds"] is False]
    assert len(failed) == len(faults)
    assert all(any(problem in name for name in failed) for problem in faults)
    assert found["verdict"] == f"cannot be trusted: {'; '.join(failed)}"


def test_a_judge_that_refuses_empty_answers_is_no_worse_for_it(data: Path) -> None:
    def refuses(request: dict[str, Any], number: int) -> Answer:
        has_words = part(request, "answer").strip()
        return fair(request, number) if has_words else Answer("There is nothing to rate.")

    found = checked(data, refuses)
    assert found["probes"]["empty"]["unreadable"] == 1
    assert found["verdict"].startswith("can be trusted")


def test_too_few_questions_or_ratings_decide_nothing(data: Path) -> None:
    found = checked(data, fair, questions=19)
    assert {each["holds"] for each in found["criteria"]} == {None, True}  # the share counts all probes together
    assert "not asked enough" in found["verdict"]
    prose = checked(data, lambda *_: Answer("Fine."), out=data.parent / "prose")
    assert prose["verdict"] == "cannot be trusted: share of unreadable replies"
    assert "rating" not in prose["probes"]["reference"]


def test_the_command_shows_the_table_and_writes_it_with_every_reply(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "check"
    with openai_server(obeys) as server:
        words = ["--data", data, "--out", out, "--judge.model", "org/judge", "--judge.base_url", server.base_url]
        words += ["--judge.concurrency", 4]
        cli.main(["judge", "check", *map(str, words)])
        shown = capsys.readouterr().out
        assert len(server.requests) == 24 * 5
        cli.main(["judge", "check", *map(str, words)])
        assert len(server.requests) == 24 * 5  # kept
    assert "reference     5.00 [5.00–5.00]       24  0.0 %" in shown
    assert re.search(r"NO +gain by an order to rate highly: \d\.\d\d \(must be at most 0\.5\)", shown)
    assert "This judge cannot be trusted: gain by an order to rate highly." in shown
    written = json.loads((out / "org--judge/check.json").read_text())
    assert written["tasks"]["cad_qa"]["judge"] == written["judge"] == "org/judge"
    assert re.fullmatch(r"[0-9a-f]{64}", written["tasks"]["cad_qa"]["judge_prompt"])
    rows = [json.loads(line) for line in (out / "org--judge/cad_qa.jsonl").open()]
    assert len(rows) == 24 * 5
    assert {"probe", "index", "id", "answer", "rating", "reason"} <= set(rows[0])


def test_a_check_of_other_weights_under_the_same_name_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = [[{"id": "judge", "root": "org/a"}], None, [{"id": "judge", "root": "org/b"}]]
    monkeypatch.setattr("cadvi_hub.generation.identity.listed_models", lambda address, key: served.pop(0))
    checked(data, fair, questions=2)
    file = data.parent / "check/judge/check.json"
    first = file.read_bytes()
    assert json.loads(first)["endpoint"] == {"root": "org/a"}
    checked(data, fair, questions=2)  # nothing is asked, and the endpoint may be gone
    assert file.read_bytes() == first
    with pytest.raises(InputError, match=r"serves .*org/b.*by .*org/a"):
        checked(data, fair, questions=2)


def test_sets_that_cannot_be_used_are_named(data: Path, tmp_path: Path) -> None:
    judge = JudgeModelSettings(model="judge")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"tasks": ("bison",)}, "a judge rates open answers"),
        ({"tasks": ("cad_summary",)}, r"question set 'cad_summary' of .*: 0 of its files are there"),
        ({"questions": 0}, "it is 0"),
        ({"data": str(tmp_path / "other")}, "it has neither cad_qa nor cad_summary"),
    ]
    for changes, problem in wrong:
        write_set(tmp_path / "other", 2, "bison", options=["A", "B"], answer="A")
        with pytest.raises(InputError, match=problem):
            check(replace(JudgeCheckSettings(str(data), tmp_path / "out", judge=judge), **changes))
    (data / "cad_qa/test.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"question set 'cad_qa' .* cannot be read"):
        read_texts(str(data), "cad_qa")
