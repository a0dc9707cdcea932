"""Summaries are verified by asking a model about one image at a time; its answers are stored and resumed."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cadvi_hub.annotation.filters import Dropped, DropReason
from cadvi_hub.annotation.settings import AnnotatorSettings, VerifierSettings
from cadvi_hub.annotation.statements import Statements
from cadvi_hub.annotation.verify import Verified, Verifier, make_verifier, probability_of_yes
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.scene_graph import SceneGraph
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Ranking, Reply
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.ground_truth import read_scenes
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings
from tests.support.builds import FakeAnnotator, report, similar_source
from tests.support.openai_server import Answer, openai_server, said
from tests.support.tiny_llava import make_tiny_llava

SUMMARY = CadSummary(
    "Both images show a cat.",
    (Difference(Aspect.ATTRIBUTES, "Image 1 shows a red cat, while image 2 shows a striped cat."),),
)


# What a model that sees answers about the pictures that `SUMMARY` describes.
SEEN = {(1, "Is there a red cat?"): "No.", (0, "Is there a striped cat?"): "No."}


class Oracle:
    """Answers as `answer` says, by image and question, and otherwise as `SEEN`."""

    name = "oracle"
    request_changes: Mapping[str, Any] = {}

    def __init__(self, answer: dict[tuple[int, str], str] | str):
        self.answer = answer
        self.asked: list[ChatRequest] = []
        self.pictures: list[bytes] = []

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        for request in requests:
            self.asked.append(request)
            if request.images[0] not in self.pictures:
                self.pictures.append(request.images[0])
            about = (self.pictures.index(request.images[0]), request.messages[0]["content"][1]["text"].strip())
            text = self.answer if isinstance(self.answer, str) else {**SEEN, **self.answer}.get(about, "Yes.")
            yield Reply(text, "stop", 10, 2)


@pytest.fixture
def images(tmp_path: Path) -> ImageFolders:
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (32, 32), color).save(tmp_path / name)
    return ImageFolders([tmp_path])


PAIR = ImagePair("p", ("a.png", "b.png"), "test")


def verified(
    answer: dict[tuple[int, str], str] | str, images: ImageFolders, summary: CadSummary | Dropped = SUMMARY
) -> Verified:
    verifier = Verifier(Oracle(answer), VerifierSettings(model="x"), min_words=1, max_words=100)
    (one,) = verifier.verify(iter([(PAIR, summary)]), images)
    return one


def test_each_question_is_about_one_image_which_comes_first(images: ImageFolders, tmp_path: Path) -> None:
    oracle = Oracle({})
    verifier = Verifier(oracle, VerifierSettings(model="x"), min_words=1, max_words=100)
    (one,) = verifier.verify(iter([(PAIR, SUMMARY)]), images)
    asked = [(request.images, [part["type"] for part in request.messages[0]["content"]]) for request in oracle.asked]
    red, blue = ((tmp_path / name).read_bytes() for name in PAIR.images)
    assert asked == [((picture,), ["image", "text"]) for picture in (red, red, red, blue, blue, blue)]
    texts = [request.messages[0]["content"][1]["text"].strip() for request in oracle.asked]
    assert texts == ["Is there a cat?", "Is there a red cat?", "Is there a striped cat?"] * 2
    assert {request.options for request in oracle.asked} == {("yes", "no", "Yes", "No")}
    assert (one.summary, one.questions) == (SUMMARY, 6)
    assert Statements(SUMMARY).to_place() == [(0, "There is a red cat."), (1, "There is a striped cat.")]


def test_a_summary_without_a_difference_left_is_dropped(images: ImageFolders) -> None:
    answers = {(0, "Is there a red cat?"): "No.", (1, "Is there a striped cat?"): "no"}
    assert verified(answers, images).summary == Dropped(DropReason.UNVERIFIED, "no difference is left")
    assert verified("No, there is not.", images).summary == Dropped(DropReason.UNVERIFIED, "no commonality is left")


def test_an_answer_that_is_neither_yes_nor_no_confirms_nothing(images: ImageFolders) -> None:
    one = verified({(1, "Is there a striped cat?"): "I see an animal."}, images)
    assert isinstance(one.summary, CadSummary)
    assert [difference.text for difference in one.summary.differences] == ["Image 1 shows a red cat."]


def test_a_pair_without_a_summary_goes_through_unasked(images: ImageFolders) -> None:
    dropped = Dropped(DropReason.CUT_OFF, "stopped after 9 tokens")
    assert verified("yes", images, dropped) == Verified(PAIR, dropped)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("Yes, there is.", "stop", 1, 1), 1.0),
        (Reply(" **No**, I see none", "stop", 1, 1), 0.0),
        (Reply("True.", "stop", 1, 1), 1.0),
        (Reply("None of it is red", "stop", 1, 1), None),
        (Reply("", "stop", 1, 1), None),
        (Failed("too long"), None),
        (Reply("", "stop", 1, 0, Ranking(tuple(map(math.log, (0.1, 0.2, 0.5, 0.2))), (False,) * 4, ((1,),) * 4)), 0.6),
        (Reply("yes", "stop", 1, 1, Ranking((-math.inf,) * 4, (False,) * 4, ((),) * 4)), 1.0),
    ],
)
def test_yes_is_as_probable_as_the_model_says(reply: Reply | Failed, expected: float | None) -> None:
    assert probability_of_yes(reply) == (expected if expected is None else pytest.approx(expected))


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"setting threshold: it is 1\.5"):
        VerifierSettings(model="self", threshold=1.5)
    with pytest.raises(InputError, match="no model writes these summaries"):
        make_verifier(VerifierSettings(model="self"), AnnotatorSettings(), tmp_path)
    assert make_verifier(VerifierSettings(), AnnotatorSettings(), tmp_path) is None


class Seeing(FakeAnnotator):
    """Says of each pair of drawn pictures what holds in them, and as much again that does not."""

    def annotate(self, pairs: Any, images: Any) -> Any:
        for pair in pairs:
            yield pair, CadSummary("Both images show a cat. Both images show a dog.", (
                Difference(Aspect.OBJECT_TYPES, "Image 1 shows a bird, while image 2 shows a car."),
                Difference(Aspect.LOCATIONS, "Image 1 is on the beach, while image 2 is in the snow."),
            ))  # fmt: skip


@pytest.mark.parametrize("says", ["yes", "no", "truth"])
def test_only_a_verifier_that_looks_removes_what_is_wrong_and_keeps_what_is_right(tmp_path: Path, says: str) -> None:
    """One that always says yes finds no difference, one that always says no finds nothing at all."""
    world = make_world(WorldSettings(captioned=2, similar=40, instruct=2, questions=2, out=tmp_path / "world"))
    rows = [json.loads(line) for line in (world / "similar/pairs.jsonl").read_text().splitlines()]
    names = {Path(name).name for row in rows for name in row["images"]}
    graphs = read_scenes(world / "similar", names)
    kinds = {name: {word for thing in graph.objects for word in thing.names} for name, graph in graphs.items()}
    store = ImageFolders([world / "similar"])
    truth = {store.read(name)["bytes"]: kinds[Path(name).name] for row in rows for name in row["images"]}

    class Model(Oracle):
        def generate(self, requests: Any, on_replies: Any = None) -> Any:
            for request in requests:
                thing = request.messages[0]["content"][1]["text"].strip().rstrip("?").split()[-1]
                yes = says == "yes" or (says == "truth" and thing in truth[request.images[0]])
                yield Reply("yes" if yes else "no", "stop", 1, 1)

    pairs = [ImagePair(row["id"], tuple(row["images"]), "scenes") for row in rows]

    def graphs_of(pair: ImagePair) -> tuple[SceneGraph, SceneGraph]:
        first, second = (graphs[Path(name).name] for name in pair.images)
        return first, second

    def counts(summaries: Iterable[tuple[ImagePair, CadSummary]]) -> list[int]:
        verdicts = [
            statement.verdict
            for pair, summary in summaries
            for statement in check_grounding(summary, graphs_of(pair)).statements
        ]
        return [verdicts.count(Verdict.SUPPORTED), verdicts.count(Verdict.CONTRADICTED)]

    written = list(Seeing().annotate(pairs, store))
    verifier = Verifier(Model(""), VerifierSettings(model="x"), min_words=1, max_words=100)
    results = list(verifier.verify(iter(written), store))
    left = counts((one.pair, one.summary) for one in results if isinstance(one.summary, CadSummary))
    if says != "truth":
        assert left == [0, 0]
    else:
        assert left[0] > 0
        assert left[1] == 0


def recipe(tmp_path: Path, **keys: Any) -> BuildSettings:
    source = similar_source(tmp_path / "source")
    return BuildSettings("v2", source, tmp_path / "data", verifier=VerifierSettings(**keys), rows_per_shard=3)


class Writer(FakeAnnotator):
    def annotate(self, pairs: Any, images: Any) -> Any:
        for pair, _ in super().annotate(pairs, images):
            yield pair, SUMMARY


def test_a_build_counts_statements_by_aspect_and_outcome_and_asks_nothing_twice(tmp_path: Path) -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        """Every second picture has a red cat, none a striped one."""
        url = request["messages"][-1]["content"][0]["image_url"]["url"]
        shade = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).tobytes()[0]
        red = shade // 30 % 2 == 0
        return Answer("No." if "striped" in said(request) or ("red" in said(request) and not red) else "Yes.")

    with openai_server(behaviour) as server:
        settings = recipe(tmp_path, model="eyes", base_url=server.base_url)
        folder = build(settings, Writer())
        assert len(server.requests) == 8 * 3  # once per picture, though most are in two pairs
        build(BuildSettings(**{**vars(settings), "overwrite": True, "seed": 1}), Writer())
        assert len(server.requests) == 24
    found = report(folder)
    assert found["recipe"]["verifier"]["model"] == "eyes"
    assert found["verification"]["pairs"] == 7
    assert found["verification"]["questions_per_pair"] == 6
    assert found["verification"]["statements"]["Attributes"] == {
        "kept": 4, "moved": 0, "unread": 0, "removed": 10, "unanswered": 0,
    }  # fmt: skip
    assert found["verification"]["statements"]["Commonalities"]["kept"] == 7
    rows = pq.read_table(sorted(folder.glob("*.parquet")), columns=["differences"]).to_pylist()
    assert len(rows) == 4
    assert {row["differences"][0]["text"] for row in rows} == {"Image 1 shows a red cat."}


def test_a_local_model_verifies_and_a_rerun_has_its_answers_stored(tmp_path: Path) -> None:
    model = str(make_tiny_llava(tmp_path / "tiny"))
    for threshold, missing in ((0.0, "difference"), (1.0, "commonality")):  # with 0, both images show everything
        settings = recipe(tmp_path / str(threshold), model=model, threshold=threshold)
        with pytest.raises(InputError, match=f"no {missing} is left"):
            build(settings, Writer())
        assert (settings.out / "replies.sqlite").is_file()


def test_a_verified_difference_becomes_a_which_image_turn(tmp_path: Path) -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        """The first picture alone has a red cat."""
        url = request["messages"][-1]["content"][0]["image_url"]["url"]
        first = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).tobytes()[0] == 0
        return Answer("No." if "striped" in said(request) or ("red" in said(request) and not first) else "Yes.")

    with openai_server(behaviour) as server:
        settings = recipe(tmp_path, model="eyes", base_url=server.base_url)
        folder = build(replace(settings, turns="which_image"), Writer())
    (row,) = pq.read_table(sorted(folder.glob("*.parquet"))).to_pylist()
    question, answer = row["messages"]
    text = "".join(part["text"] or "" for part in question["content"])
    assert [part["type"] for part in question["content"]].count("image") == 2
    assert '"There is a red cat."' in text
    assert answer["content"][0]["text"] == "A"
    unchecked = replace(settings, turns="which_image", verifier=VerifierSettings(), out=tmp_path / "unchecked")
    with pytest.raises(InputError, match=r"Name a verifier\.model"):
        build(unchecked, Writer())


def test_rows_that_are_written_already_cannot_be_verified(tmp_path: Path) -> None:
    source = SourceSettings(tmp_path, name="x", format="built")
    with pytest.raises(InputError, match=r"verifier\.model"):
        build(BuildSettings("v2", source, tmp_path / "out", verifier=VerifierSettings(model="self")))
