"""Replies that cannot be used drop their pairs and end no build; messages name their store and how to ask again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings, Config
from cadvi_hub.core.errors import InputError
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import captioned_source, report
from tests.support.openai_server import Answer, Behaviour, OpenAIServer, openai_server

SUMMARY = (
    "Commonalities:\nBoth images show a lake.\n\nDifferences:\n1. Counts: Image 1 shows one boat, image 2 two boats."
)
QUESTIONS = "Question: What do both images show?\nAnswer: Both images show a lake."
HALF = json.dumps({"commonalities": "Both images show a \ud83d lake.", "differences": [
    {"aspect": "Counts", "text": "Image 1 shows one boat, image 2 two boats."}
]})  # fmt: skip
UNUSABLE = {
    "garbled": HALF,
    "unparsed": '{"commonalities": "x", "differences": ' + "[" * 3000 + "]" * 3000 + "}",
    "refusal": "I’m sorry, but I can’t compare these.",
    "mentions_caption": f"{SUMMARY[:-1]}. Its colour is not specified in image 2.",
    "no_commonalities": SUMMARY.replace("Both images show a lake.", "There are no commonalities between the images."),
    "no_differences": f"{SUMMARY.partition('Differences')[0]}Differences:\n1. Counts: Same in both",
    "leaked_turn": f"{SUMMARY} USER: And now?",
    "too_long": SUMMARY.replace("a lake", f"a lake {'and a tree ' * 200}"),
    "contradiction": SUMMARY.replace("Both images show a lake.", "Image 1 shows one boat, image 2 two boats."),
}


@pytest.fixture
def source(tmp_path: Path) -> SourceSettings:
    return replace(captioned_source(tmp_path / "source"), format="captioned_folder")


def behaviour(summary: str, questions: str = QUESTIONS) -> Behaviour:
    """An endpoint that writes every summary alike, and all questions."""

    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer(questions if "conversation about two images" in str(request["messages"][0]) else summary)

    return answer


def check(source: SourceSettings, out: Path, config: Config, reason: str, bad: Behaviour) -> None:
    """A build and its rerun name reason and store; asked again, the model gives rows."""

    def run(server: OpenAIServer, **keys: Any) -> Path:
        annotator = AnnotatorSettings(kind="server", model="m", base_url=server.base_url, **keys)
        return build(BuildSettings(config, source, out, annotator=annotator, pairs=PairSettings(min_shared=1)))

    asked = set[int]()
    with openai_server(bad) as server:
        for _ in range(2):
            with pytest.raises(InputError, match=rf"\d × {reason}") as raised:
                run(server)
            assert f"replies in {out / 'replies.sqlite'} cannot be used" in str(raised.value)
            assert "--annotator.retry_unreadable true asks again" in str(raised.value)
            asked.add(len(server.requests))
        assert len(asked) == 1  # the rerun asks nothing
    with openai_server(behaviour(SUMMARY)) as server:
        folder = run(server, retry_unreadable=True)
        assert server.requests
    assert report(folder)["drops"].get(reason) is None
    assert report(folder)["rows"] > 0


@pytest.mark.parametrize("reason", UNUSABLE)
def test_unusable_summaries_are_named_with_their_store_and_can_be_asked_again(
    source: SourceSettings, tmp_path: Path, reason: str
) -> None:
    check(source, tmp_path / "out", "v1", reason, behaviour(UNUSABLE[reason]))


@pytest.mark.parametrize(
    "reply",
    [
        "Question: What do both images show?\nAnswer: I’m sorry, I can’t tell.",
        "<think>\nQuestion: What do both images show?\nAnswer: A dog.\n</think>\nQuestion: And else?\nAnswer: A lake.",
    ],
    ids=["typographic refusal", "draft in thoughts"],
)
def test_the_store_of_unusable_questions_is_named(source: SourceSettings, tmp_path: Path, reply: str) -> None:
    check(source, tmp_path / "out", "cad_qa", "no_question_left", behaviour(SUMMARY, reply))
