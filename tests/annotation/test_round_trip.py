"""What a summary says of one image has to tell the images apart, in both orders; the rest is removed and counted."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cadvi_hub.annotation.filters import Dropped, DropReason
from cadvi_hub.annotation.preferences import confuse_images
from cadvi_hub.annotation.settings import VerifierSettings
from cadvi_hub.annotation.statements import Statements
from cadvi_hub.annotation.verify import Verified, Verifier, chosen_letter
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Ranking, Reply
from tests.support.builds import FakeAnnotator, report, similar_source
from tests.support.openai_server import Answer, openai_server, said

SUMMARY = CadSummary(
    "Both images show a cat.",
    (
        Difference(Aspect.ATTRIBUTES, "Image 1 shows a red cat, while image 2 shows a striped cat."),
        Difference(Aspect.LOCATIONS, "Image 1 shows a cat at the top. Only image 2 is on the street."),
    ),
)
PAIR = ImagePair("p", ("a.png", "b.png"), "test")

Place = Callable[[str, tuple[str, str]], str]  # the statement and the colours of both images, to the letter


class Reader:
    """Says yes where it is asked about one image of `true`, and of two images what `place` says."""

    name = "reader"
    request_changes: Mapping[str, Any] = {}

    def __init__(self, place: Place):
        self.place = place
        self.asked: list[ChatRequest] = []

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        for request in requests:
            self.asked.append(request)
            colours = tuple("red" if b"red" in picture else "blue" for picture in request.images)
            text = "".join(part["text"] or "" for part in request.messages[0]["content"])
            if len(colours) == 2:
                yield Reply(self.place(text, (colours[0], colours[1])), "stop", 10, 1)
            else:
                other = {"red": ("striped", "street"), "blue": ("red", "top")}[colours[0]]
                yield Reply("No." if any(word in text for word in other) else "Yes.", "stop", 10, 1)


def right(text: str, colours: tuple[str, str]) -> str:
    """The letter of the image that the statement is about."""
    about = "red" if "red cat" in text or "at the top" in text else "blue"
    return "AB"[colours.index(about)]


@pytest.fixture
def images(tmp_path: Path) -> ImageFolders:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        picture = Image.new("RGB", (32, 32), colour)
        picture.save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + colour.encode())
    return ImageFolders([tmp_path])


def verified(reader: Reader, images: ImageFolders, round_trip: bool = True) -> Verified:
    settings = VerifierSettings(model="x", round_trip=round_trip)
    (one,) = Verifier(reader, settings, min_words=1, max_words=100).verify(iter([(PAIR, SUMMARY)]), images)
    return one


def test_each_statement_about_one_image_is_asked_in_both_orders_and_stays_if_both_are_right(
    images: ImageFolders,
) -> None:
    reader = Reader(right)
    one = verified(reader, images)
    assert one.summary == SUMMARY
    assert one.placements == Counter({("Attributes", True): 2, ("Locations", True): 2})
    assert one.questions == len(reader.asked) == verified(Reader(right), images, round_trip=False).questions + 8
    placing = [request for request in reader.asked if len(request.images) == 2]
    assert [[b"red" in picture for picture in request.images] for request in placing] == [
        [True, False],
        [False, True],
    ] * 4
    assert {request.options for request in placing} == {("A", "B")}
    assert '"There is a red cat."' in str(placing[0].messages)
    assert isinstance(one.summary, CadSummary)
    assert sorted(Statements(one.summary).to_place()) == [
        *((0, "There is a cat at the top."), (0, "There is a red cat.")),
        *((1, "It is all on the street."), (1, "There is a striped cat.")),
    ]


def test_what_is_placed_right_in_one_order_alone_is_removed_and_counted(images: ImageFolders) -> None:
    one = verified(Reader(lambda text, colours: "A" if "striped" in text else right(text, colours)), images)
    assert isinstance(one.summary, CadSummary)
    assert one.summary.differences[0].text == "Image 1 shows a red cat."
    assert one.summary.differences[1] == SUMMARY.differences[1]
    assert one.summary.commonalities == SUMMARY.commonalities
    assert one.placements == Counter({("Attributes", True): 1, ("Attributes", False): 1, ("Locations", True): 2})
    assert (1, "There is a striped cat.") not in Statements(one.summary).to_place()


@pytest.mark.parametrize("says", ["A", "B", "neither of them", ""])
def test_a_reader_that_always_says_the_same_leaves_no_difference(images: ImageFolders, says: str) -> None:
    one = verified(Reader(lambda text, colours: says), images)
    assert one.summary == Dropped(DropReason.UNVERIFIED, "no difference is left")


@pytest.mark.parametrize(
    ("outcome", "letter"),
    [
        (Reply("B", "stop", 1, 1), "B"),
        (Reply("<think>A?</think>The second image.", "stop", 1, 1), "B"),
        (Reply("Both.", "stop", 1, 1), None),
        (Reply("", "stop", 1, 0, Ranking((-2.0, -0.1), (False, True), ((1,), (2,)))), "B"),
        (Reply("", "stop", 1, 0, Ranking((-1.0, -1.0), (False, False), ((1,), (2,)))), None),
        (Reply("A", "stop", 1, 0, Ranking((-math.inf, -math.inf), (False, False), ((1,), (2,)))), "A"),
        (Failed("too long"), None),
    ],
)
def test_the_letter_is_read_from_ranking_or_text(outcome: Reply | Failed, letter: str | None) -> None:
    assert chosen_letter(outcome) == letter


def test_a_sentence_that_loses_a_statement_says_the_rest_in_plain_words() -> None:
    written = CadSummary(
        "A cat.", (Difference(Aspect.COUNTS, "Image 1 shows two red cats and a dog, image 2 a bird."),)
    )
    statements = Statements(written)
    assert statements.to_place() == [(0, "There are two red cats."), (0, "There is a dog."), (1, "There is a bird.")]
    placed = statements.placed([(0, "There is a dog.")])
    assert placed.summary.differences == (Difference(Aspect.COUNTS, "Image 1 shows a dog."),)
    assert placed.counts == Counter({("Counts", False): 2, ("Counts", True): 1})


CAPTIONED = replace(PAIR, captions=("A red cat sits at the top.", "A striped cat\nis on the street."))


class Listener:
    """Reads a summary and a caption, and says what `place` says of which image the summary gives the caption to."""

    name = "listener"
    request_changes: Mapping[str, Any] = {}

    def __init__(self, place: Callable[[str], str] = lambda letter: letter):
        self.place = place
        self.asked: list[str] = []

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        for request in requests:
            assert not request.images
            (part,) = request.messages[0]["content"]
            self.asked.append(part["text"] or "")
            summary, _, caption = self.asked[-1].partition("One of the two images has the caption")
            word = "red" if '"A red cat sits at the top."' in caption else "striped"
            first = summary.lower().partition("image 1 shows")[2].partition("image 2")[0]
            yield Reply(self.place("A" if word in first else "B"), "stop", 10, 1)


def read(listener: Listener, pair: ImagePair = CAPTIONED, summary: CadSummary = SUMMARY) -> Verified:
    settings = VerifierSettings(model="x", statements=False, caption_round_trip=True)
    verifier = Verifier(listener, settings, min_words=1, max_words=100)
    (one,) = verifier.verify(iter([(pair, summary)]), ImageFolders([Path("nowhere")]))
    return one


def test_a_reader_without_pictures_places_each_caption_by_the_summary_in_both_orders() -> None:
    listener = Listener()
    one = read(listener)
    assert one.summary == SUMMARY
    assert one.placements == Counter({("Captions", True): 2})
    assert one.questions == len(listener.asked) == 4
    assert "Image 1 shows a red cat, while image 2 shows a striped cat." in listener.asked[0]
    assert "Image 2 shows a red cat, while image 1 shows a striped cat." in listener.asked[1]
    assert '"A striped cat is on the street."' in listener.asked[2]


@pytest.mark.parametrize("says", ["A", "B", "both", ""])
def test_a_reader_that_always_says_the_same_of_captions_leaves_no_summary(says: str) -> None:
    one = read(Listener(lambda letter: says))
    assert one.summary == Dropped(DropReason.UNVERIFIED, "its captions cannot be told apart by it")
    assert one.placements == Counter({("Captions", False): 2})


def test_a_summary_with_its_sides_swapped_is_dropped() -> None:
    assert isinstance(read(Listener(), summary=confuse_images(SUMMARY)).summary, Dropped)


def test_a_pair_without_captions_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pair p: it has no captions"):
        read(Listener(), PAIR)
    settings = BuildSettings(
        "v2",
        similar_source(tmp_path / "source"),
        tmp_path / "data",
        verifier=VerifierSettings(model="x", base_url="http://127.0.0.1:9/v1", caption_round_trip=True),
    )
    with pytest.raises(InputError, match=r"caption_round_trip: these pairs have no captions"):
        build(settings, Writer())


def test_a_verifier_that_checks_nothing_is_refused(tmp_path: Path) -> None:
    nothing = VerifierSettings(model="x", base_url="http://127.0.0.1:9/v1", statements=False)
    settings = BuildSettings("v2", similar_source(tmp_path / "source"), tmp_path / "data", verifier=nothing)
    with pytest.raises(InputError, match=r"verifier\.statements: no other check is on"):
        build(settings, Writer())
    turns = replace(settings, turns="which_image", verifier=replace(nothing, round_trip=True))
    with pytest.raises(InputError, match="nobody checks which differences hold of one image alone"):
        build(turns, Writer())


class Writer(FakeAnnotator):
    def annotate(self, pairs: Any, images: Any) -> Any:
        for pair in pairs:
            yield pair, CadSummary("Both images show a cat.", (SUMMARY.differences[0],))


def test_a_build_counts_what_was_placed_and_asks_nothing_twice(tmp_path: Path) -> None:
    def is_red(part: dict[str, Any]) -> bool:
        data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
        return Image.open(io.BytesIO(data)).tobytes()[0] // 30 % 2 == 0

    def behaviour(request: dict[str, Any], number: int) -> Answer:
        """Every second picture has a red cat, none a striped one."""
        red = [is_red(part) for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
        if len(red) == 2:
            return Answer("AB"[red.index(True)])
        return Answer("No." if "striped" in said(request) or ("red" in said(request) and not red[0]) else "Yes.")

    with openai_server(behaviour) as server:
        verifier = VerifierSettings(model="eyes", base_url=server.base_url, round_trip=True)
        settings = BuildSettings("v2", similar_source(tmp_path / "source"), tmp_path / "data", verifier=verifier)
        folder = build(settings, Writer())
        asked = len(server.requests)
        build(replace(settings, overwrite=True, seed=1), Writer())
        assert len(server.requests) == asked
    found = report(folder)
    assert found["rows"] == 4
    assert found["verification"]["round_trip"]["Attributes"] == {"placed": 4, "removed": 0}
    assert found["verification"]["questions"] == 7 * 6 + 4 * 2
    assert len(found["recipe"]["verifier"]["round_trip"]) == 64
