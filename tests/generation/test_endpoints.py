"""Several endpoints share a run's requests, and take over from each other."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from tests.generation.test_server import ask, short_pauses, texts
from tests.support.openai_server import Answer, echo, openai_server, said, served

__all__ = ["short_pauses"]  # a fixture that every test here uses

BROKEN = Answer("broken", status=500)


def test_requests_are_shared_out_and_each_endpoint_gets_no_more_than_its_share() -> None:
    together = threading.Barrier(4)

    def meet(request: dict[str, Any], number: int) -> Answer:
        if int(said(request)) < 4:
            together.wait(10)  # two at each endpoint, or nobody is answered
        return echo(request, number)

    with openai_server(meet) as first, openai_server(meet) as second:
        generator = served([first.base_url, second.base_url], concurrency=2)
        assert texts(generator.generate(ask(str(i)) for i in range(40))) == [f"echo {i}" for i in range(40)]
        assert first.most_at_once == second.most_at_once == 2
        assert len(first.requests) + len(second.requests) == 40
    assert generator.name == "m"


@pytest.mark.parametrize("answer", [Answer("bad key", status=401), Answer("no model", status=404), BROKEN, None])
def test_the_others_take_over_from_an_endpoint_that_dies(
    answer: Answer | None, caplog: pytest.LogCaptureFixture
) -> None:
    def dies(request: dict[str, Any], number: int) -> Answer:
        return echo(request, number) if number < 3 else answer or Answer("half", breaks_off=True)

    with openai_server(dies) as first, openai_server() as second:
        generator = served([first.base_url, second.base_url], concurrency=4, max_retries=1)
        with caplog.at_level(logging.WARNING):
            assert texts(generator.generate(ask(str(i)) for i in range(60))) == [f"echo {i}" for i in range(60)]
        (warning,) = [record.getMessage() for record in caplog.records if record.name.startswith("cadvi_hub")]
        assert warning.startswith(f"endpoint {first.base_url}")
        assert warning.endswith("It is left out; 1 of 2 go on")
        asked = len(first.requests)
        assert texts(generator.generate([ask(str(i)) for i in range(10)])) == [f"echo {i}" for i in range(10)]
        assert len(first.requests) == asked


def test_the_run_ends_when_no_endpoint_is_left_and_the_next_one_tries_them_all_again() -> None:
    fixed = threading.Event()

    def broken(request: dict[str, Any], number: int) -> Answer:
        return echo(request, number) if fixed.is_set() else Answer("bad key", status=401)

    with openai_server(broken) as first, openai_server(broken) as second:
        generator = served([first.base_url, second.base_url], concurrency=2)
        with pytest.raises(InputError, match="does not take the key, and no other endpoint is left"):
            list(generator.generate([ask(str(i)) for i in range(9)]))
        fixed.set()
        assert texts(generator.generate([ask("hi")])) == ["echo hi"]
