"""Open answers are rated from what an evaluation stored: once, by a judge that is named beside every score."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cadvi_hub import cli
from cadvi_hub.annotation.prompt import prompt_hash
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.judge.run import judge_answers, read_ratings, run
from cadvi_hub.eval.judge.settings import JudgeModelSettings, JudgeSettings
from cadvi_hub.generation.identity import listed_models
from cadvi_hub.generation.store import ReplyStore
from tests.support.judges import fair, part, reference, write_predictions, write_set
from tests.support.openai_server import Answer, OpenAIServer, openai_server

ANSWERS = [reference(0), "", " ".join(reference(2).split()[:6]), "a wrong one", "an endless one " * 40]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An evaluation of five answers to CaD-QA."""
    write_predictions(tmp_path / "results", write_set(tmp_path / "questions", 5), ANSWERS)
    return tmp_path / "results"


def settings(results: Path, server: OpenAIServer, tasks: tuple[str, ...] = (), **changes: Any) -> JudgeSettings:
    usual = JudgeModelSettings(model="org/judge", base_url=server.base_url, max_chars=300, max_retries=1)
    judge = replace(usual, **changes)
    return JudgeSettings(results, str(results.parent / "questions"), tasks, judge)


def rows_of(results: Path, judge: str = "org--judge", task: str = "cad_qa") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (results / f"judged/{judge}/{task}.jsonl").open()]


def test_each_answer_is_rated_from_its_question_reference_and_text(results: Path) -> None:
    with openai_server(fair) as server:
        judged = judge_answers(settings(results, server))
    assert [row["rating"] for row in rows_of(results)] == [5, 0, 3, 0, 0]
    assert [row["id"] for row in rows_of(results)] == [f"q{index}" for index in range(5)]
    assert rows_of(results)[2]["reason"] == "3 of 5 agree."
    asked = {part(request, "question"): request for request in server.requests}
    request = asked["‹image›‹image› What is there, no. 2?"]
    assert (part(request, "reference"), part(request, "answer")) == (reference(2), ANSWERS[2])
    assert (request["temperature"], request["model"]) == (0, "org/judge")
    assert request["response_format"]["type"] == "json_schema"
    scores = judged["tasks"]["cad_qa"]
    assert (scores["rating"], scores["rating_n"], scores["n"], scores["unreadable"]) == (1.6, 5, 5, 0)
    low, high = scores["rating_interval"]
    assert 0 <= low < 1.6 < high <= 5
    assert scores["cut"] == 1
    assert [row["cut"] for row in rows_of(results)] == [False] * 4 + [True]


def test_answers_of_one_group_say_less_than_as_many_independent_ones(results: Path) -> None:
    def spread() -> float:
        with openai_server(fair) as server:
            low, high = judge_answers(settings(results, server))["tasks"]["cad_qa"]["rating_interval"]
        return float(high - low)

    alone = spread()  # the ratings are 5, 0, 3, 0, 0
    file = results / "predictions/cad_qa.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    groups = ("a", "b", "a", "b", "b")
    file.write_text("".join(json.dumps({**row, "group": g}) + "\n" for row, g in zip(rows, groups, strict=True)))
    assert spread() > 1.2 * alone


def test_the_judge_and_its_prompt_stand_beside_every_score(results: Path) -> None:
    with openai_server(fair) as server:
        judged = judge_answers(settings(results, server, revision="abc"))
    assert json.loads((results / "judged/org--judge@abc/judge.json").read_text()) == judged
    scores = judged["tasks"]["cad_qa"]
    assert (scores["judge"], scores["judge_prompt"]) == ("org/judge@abc", prompt_hash("judge_answer"))
    assert json.loads(scores["judge_decoding"])["temperature"] == 0
    assert read_ratings(results) == {"org/judge@abc": judged["tasks"]}


def test_unreadable_replies_are_counted_apart_and_are_no_zero(results: Path) -> None:
    replies = {0: '{"rating": 4}', 1: "I would say that it is fine.", 2: "", 4: "Rating: 3 or 4"}

    def behaviour(request: dict[str, Any], number: int) -> Answer:
        index = int(part(request, "question").split()[-1].rstrip("?"))
        return Answer("too long", status=400) if index == 3 else Answer(replies[index])

    with openai_server(behaviour) as server:
        shown = run(settings(results, server))
        scores = read_ratings(results)["org/judge"]["cad_qa"]
        assert (scores["rating"], scores["rating_n"], scores["unreadable"], scores["n"]) == (4, 1, 0.8, 5)
        assert scores["faults"] == {"no rating": 3, "unanswered": 1}
        assert [row["rating"] for row in rows_of(results)] == [4, None, None, None, None]
        assert "too long" in rows_of(results)[3]["reason"]
        assert "unreadable 80.0 % (3 no rating, 1 unanswered)" in shown


def test_a_judge_that_only_answers_prose_gives_no_score(results: Path) -> None:
    with openai_server(lambda *_: Answer("What a lovely answer!")) as server:
        shown = run(settings(results, server))
    scores = read_ratings(results)["org/judge"]["cad_qa"]
    assert "rating" not in scores
    assert (scores["rating_n"], scores["unreadable"]) == (0, 1)
    assert "– of 5, n 0 of 5" in shown


def test_a_rerun_asks_nothing_and_needs_no_endpoint(results: Path) -> None:
    with openai_server(fair) as server:
        first = judge_answers(settings(results, server))
        written = (results / "judged/org--judge/judge.json").read_bytes()
    assert judge_answers(settings(results, server)) == first  # the server is gone
    assert (results / "judged/org--judge/judge.json").read_bytes() == written
    assert len(server.requests) == 5


def test_a_new_judge_writes_beside_the_old_one_and_asks_for_itself(results: Path) -> None:
    with openai_server(fair) as server:
        differing: list[dict[str, Any]] = [{}, {"revision": "2"}, {"model": "other/judge"}]
        for changes in differing:
            judge_answers(settings(results, server, **changes))
    assert len(server.requests) == 15
    assert set(read_ratings(results)) == {"org/judge", "org/judge@2", "other/judge"}


def test_sets_that_were_rated_before_stay_beside_new_ones(results: Path) -> None:
    rows = write_set(results.parent / "questions", 3, "cad_summary", question="<image><image> Compare.")
    with openai_server(fair) as server:
        judge_answers(settings(results, server))
        write_predictions(results, rows, [reference(0), "nothing", "nothing"])
        judged = judge_answers(settings(results, server, ("cad_summary",)))
    assert list(judged["tasks"]) == ["cad_qa", "cad_summary"]
    assert [row["rating"] for row in rows_of(results, task="cad_summary")] == [5, 0, 0]
    assert judged["tasks"]["cad_summary"]["judge_prompt"] == prompt_hash("judge_summary")
    assert "grade summaries" in server.requests[-1]["messages"][0]["content"]


def test_the_command_takes_a_recipe_and_shows_the_scores(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with openai_server(fair) as server:
        words = ["--config", "judge", "--results", results, "--data", results.parent / "questions"]
        cli.main(["judge", "run", *map(str, words), "--judge.base_url", server.base_url, "--judge.revision", "1"])
    shown = capsys.readouterr().out
    assert "judge: mistralai/Mixtral-8x7B-Instruct-v0.1@1" in shown
    assert "cad_qa        1.60 [" in shown
    assert "n 5 of 5, unreadable 0.0 %" in shown


def test_ratings_of_answers_that_were_replaced_are_refused_until_they_are_judged_again(results: Path) -> None:
    with openai_server(fair) as server:
        judge_answers(settings(results, server))
        write_predictions(results, write_set(results.parent / "questions", 5), ["A"] * 5)
        with pytest.raises(InputError, match=r"judge\.json: it rates other answers to cad_qa"):
            read_ratings(results)
        judge_answers(settings(results, server))
    assert [row["rating"] for row in rows_of(results)] == [0] * 5
    assert read_ratings(results)["org/judge"]["cad_qa"]["rating"] == 0


@contextmanager
def listing(*models: dict[str, str]) -> Iterator[str]:
    """An endpoint that lists `models` and does nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": models}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_other_weights_under_the_same_name_are_noticed(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = iter(["/models/mixtral/a1", "/models/mixtral/b2", "/models/mixtral/b2"])

    def served(address: str, key: str) -> list[Any] | None:
        with listing({"id": "other"}, {"id": "org/judge", "root": next(roots)}) as url:
            return listed_models(url, key)

    monkeypatch.setattr("cadvi_hub.generation.identity.listed_models", served)
    with openai_server(fair) as server:
        assert judge_answers(settings(results, server))["endpoint"] == {"root": "mixtral/a1"}  # no machine's path
        with pytest.raises(InputError, match=r"serves .*mixtral/b2.*by .*mixtral/a1.*--judge\.revision"):
            judge_answers(settings(results, server))
        assert judge_answers(settings(results, server, revision="b2"))["endpoint"] == {"root": "mixtral/b2"}


def test_an_endpoint_that_dies_half_way_loses_nothing(results: Path) -> None:
    def dies(request: dict[str, Any], number: int) -> Answer:
        return fair(request, number) if number < 2 else Answer("out of memory", status=500)

    with openai_server(dies) as server, pytest.raises(InputError, match=r"still answers 500.* 2 replies are safe"):
        judge_answers(settings(results, server, concurrency=1))
    assert read_ratings(results) == {}
    with openai_server(fair) as server:
        judge_answers(settings(results, server))
    assert len(server.requests) == 3
    assert [row["rating"] for row in rows_of(results)] == [5, 0, 3, 0, 0]


def test_a_killed_run_repeats_only_what_was_in_flight_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rows = write_set(tmp_path / "questions", 40)
    for name in ("killed", "whole"):
        write_predictions(tmp_path / name, rows, [reference(index % 7) for index in range(40)])

    def slow(request: dict[str, Any], number: int) -> Answer:
        time.sleep(0.02)
        return fair(request, number)

    store = tmp_path / "killed/judged/replies.sqlite"
    with openai_server(slow) as server:
        words = ["judge", "run", "--results", tmp_path / "killed", "--data", tmp_path / "questions"]
        words += ["--judge.model", "org/judge", "--judge.base_url", server.base_url, "--judge.concurrency", 2]
        process = subprocess.Popen([sys.executable, "-m", "cadvi_hub.cli", *map(str, words)], stderr=subprocess.PIPE)
        while len(server.requests) < 12 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = len(ReplyStore(store))
        asked = len(server.requests)
        assert 0 < kept < 40
        assert asked - kept <= 2
        for name in ("killed", "whole"):
            judge_answers(settings(tmp_path / name, server, concurrency=2, max_chars=4000))
        assert len(server.requests) == asked + (40 - kept) + 40
    for file in ("cad_qa.jsonl", "judge.json"):
        killed, whole = (tmp_path / name / "judged/org--judge" / file for name in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with openai_server(fair) as server:
        judge_answers(settings(results, server, api_key_env="JUDGE_KEY"))
    assert set(server.keys) == {"Bearer sk-secret"}
    assert not any(b"sk-secret" in file.read_bytes() for file in results.rglob("*") if file.is_file())


def test_what_cannot_be_judged_is_named(results: Path) -> None:
    data = results.parent / "questions"
    with openai_server(fair) as server:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"tasks": ("bison",)}, "tasks: bison: a judge rates open answers"),
            ({"tasks": ("cad_summary",)}, r"predictions/cad_summary.jsonl: cannot be read"),
            ({"model": ""}, r"judge\.model: no model is named"),
            ({"base_url": "example"}, "not an http"),
        ]
        for changes, problem in wrong:
            with pytest.raises(InputError, match=problem):
                judge_answers(settings(results, server, **changes))
        with pytest.raises(InputError, match=r"no predictions for cad_qa or cad_summary"):
            judge_answers(settings(data, server))
        (results / "predictions/cad_qa.jsonl").write_text("")
        with pytest.raises(InputError, match=r"cad_qa\.jsonl: these are not predictions"):
            judge_answers(settings(results, server))
        write_predictions(results, write_set(data, 4), ANSWERS[:4])
        write_set(data, 3)
        with pytest.raises(InputError, match=r"question 'q3' is not row 3 of .*questions"):
            judge_answers(settings(results, server))
        write_set(data, 4, answer="another answer")
        with pytest.raises(InputError, match=r"question 'q0' is not row 0 .*or has another answer"):
            judge_answers(settings(results, server))
    assert not server.requests


def test_a_judge_that_refuses_parameters_judges_without_them(results: Path) -> None:
    def modern(request: dict[str, Any], number: int) -> Answer:
        refused = {"seed", "temperature", "max_tokens"} & set(request)
        return Answer("unsupported", status=400) if refused else fair(request, number)

    names = {"seed": None, "temperature": None, "max_tokens": "max_completion_tokens"}
    with openai_server(modern) as server:
        judge_answers(settings(results, server, rename_parameters=names))
    assert [row["rating"] for row in rows_of(results)] == [5, 0, 3, 0, 0]
