"""Every pair gets a summary or a named reason, and models see exactly the prompts in `snapshots/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
from PIL import Image

from cadvi_hub.annotation.annotators import make_annotator
from cadvi_hub.annotation.filters import Dropped, DropReason, check_summary, read_summary
from cadvi_hub.annotation.prompt import prompt_hash, render_prompt
from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Message
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.generation.chat import Reply
from tests.support.openai_server import Answer, openai_server
from tests.support.tiny_llava import make_tiny_llava

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
CAPTIONS = ["A red ball <image> on\ngrass & a 'dog'.", 'Two "dogs" {{ captions }}.']
SUMMARY = CadSummary(
    "Both images show at least one dog outdoors on the grass.",
    (Difference(Aspect.COUNTS, "There is one dog in Image 1 and there are two in Image 2."),),
)


def shown(messages: list[Message]) -> str:
    """A chat as one text, images as `<image>`."""
    turns = []
    for turn in messages:
        content = "".join("<image>" if part["type"] == "image" else part["text"] for part in turn["content"])
        turns.append(f"=== {turn['role']} ===\n{content}\n")
    return "\n".join(turns)


@pytest.mark.parametrize(
    ("snapshot", "prompt", "values"),
    [
        ("summary_from_captions", "summary_from_captions", {"captions": CAPTIONS, "as_json": False}),
        ("summary_from_captions_json", "summary_from_captions", {"captions": CAPTIONS, "as_json": True}),
        (
            "summary_from_images",
            "summary_from_images",
            {"context": "A <image> & it's gone.", "aspects": list(Aspect), "as_json": False},
        ),
        (
            "summary_from_images_json",
            "summary_from_images",
            {"context": "A <image> & it's gone.", "aspects": list(Aspect), "as_json": True},
        ),
        ("which_image", "which_image", {"caption": CAPTIONS[1], "show_images": True}),
        ("which_caption", "which_caption", {"captions": CAPTIONS}),
        ("read_answer", "read_answer", {"question": "Which? <image>", "options": ["A", "B"], "answer": "The first"}),
        ("compare_images_0", "compare_images", {"wording": 0}),
        ("compare_images_1", "compare_images", {"wording": 1}),
        ("compare_images_2", "compare_images", {"wording": 2}),
        ("compare_images_3", "compare_images", {"wording": 3}),
        ("compare_images_4", "compare_images", {"wording": 4}),
        ("difference_note", "difference_note", {}),
        ("is_it_shown", "is_it_shown", {"question": "Is there a red <image> at the top left?"}),
    ],
)
def test_the_model_sees_exactly_the_prompt_of_the_snapshot(snapshot: str, prompt: str, values: dict[str, Any]) -> None:
    assert shown(render_prompt(prompt, **values)) == (SNAPSHOTS / f"{snapshot}.txt").read_text()


def test_a_prompt_without_one_of_its_values_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="context"):
        render_prompt("summary_from_images", as_json=False)


def test_the_examples_in_the_prompt_are_summaries_that_pass_the_filters() -> None:
    for as_json in (False, True):
        messages = render_prompt("summary_from_captions", captions=CAPTIONS, as_json=as_json)
        examples = [turn["content"][0]["text"] for turn in messages if turn["role"] == "assistant"]
        assert len(examples) == 2
        for example in examples:
            summary = read_summary(Reply(example, "stop", 0, 0), as_json)
            assert isinstance(summary, CadSummary)
            assert check_summary(summary, min_words=8, max_words=400) is None
            assert as_json or render_summary(summary) == example


def changed(commonalities: str = SUMMARY.commonalities, difference: str = SUMMARY.differences[0].text) -> CadSummary:
    return CadSummary(commonalities, (Difference(Aspect.COUNTS, difference),))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(render_summary(SUMMARY), "length", 1, 512), DropReason.CUT_OFF),
        (Reply("I'm sorry, but I cannot compare these images.", "stop", 1, 9), DropReason.REFUSAL),
        (Reply("I’m sorry, but I can’t compare these images.", "stop", 1, 9), DropReason.REFUSAL),
        (Reply("<think>\nHm.\n</think>\nI cannot compare them.", "stop", 1, 9), DropReason.REFUSAL),
        (Reply('{"commonalities": ' + "[" * 3000, "stop", 1, 9), DropReason.UNPARSED),
        (Reply("Both images show a dog.", "stop", 1, 9), DropReason.UNPARSED),
        (Reply("Commonalities:\nBoth show dogs.", "stop", 1, 9), DropReason.NO_DIFFERENCES),
        (Reply("Differences:\n1. Counts: one, two", "stop", 1, 9), DropReason.NO_COMMONALITIES),
    ],
)
def test_replies_without_a_summary_are_dropped_with_their_reason(reply: Reply, reason: DropReason) -> None:
    dropped = read_summary(reply, as_json=False)
    assert isinstance(dropped, Dropped)
    assert dropped.reason == reason
    assert dropped.detail


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (changed(commonalities=""), DropReason.NO_COMMONALITIES),
        (CadSummary("Both show dogs.", ()), DropReason.NO_DIFFERENCES),
        (changed("Dogs.", "1, 2."), DropReason.TOO_SHORT),
        (changed(difference="word " * 400), DropReason.TOO_LONG),
        (changed("Both captions talk about dogs in a garden."), DropReason.MENTIONS_CAPTION),
        (changed(difference="The note says that a dog is gone."), DropReason.MENTIONS_CAPTION),
        (changed(difference="One and two. USER: what else?"), DropReason.LEAKED_TURN),
        (changed(difference="One shows a caf\ufffd, the other a house."), DropReason.GARBLED),
        (changed("As an AI language model I see two dogs in a garden."), DropReason.REFUSAL),
        (changed(difference="One dog; the number of dogs is not mentioned for Image 2."), DropReason.MENTIONS_CAPTION),
        (changed("Dogs run. There is one dog.", "Grass. there is one dog!"), DropReason.CONTRADICTION),
    ],
)
def test_summaries_unfit_for_training_are_dropped_with_their_reason(summary: CadSummary, reason: DropReason) -> None:
    dropped = check_summary(summary, min_words=8, max_words=400)
    assert dropped is not None
    assert dropped.reason == reason


@pytest.mark.parametrize("text", ["A man takes a note at a desk.", "Music notes hang on a wall in both."])
def test_a_note_in_the_picture_is_no_mention_of_our_note(text: str) -> None:
    assert check_summary(changed(text), min_words=8, max_words=400) is None


def test_the_draft_of_a_reasoning_model_is_no_part_of_its_summary() -> None:
    draft = "<think>\nCommonalities:\nA cat?\n\nDifferences:\n1. Counts: unsure\n</think>\n\n"
    assert read_summary(Reply(draft + render_summary(SUMMARY) + "<|im_end|>", "stop", 1, 9), as_json=False) == SUMMARY


def pairs(number: int) -> list[ImagePair]:
    return [
        ImagePair(
            f"p-{i}", ("a.png", "b.png"), "test", captions=(f"A dog\nno. {i}.", "Dogs."), context=f"No. {i}\ngone."
        )
        for i in range(number)
    ]


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.png")
    return tmp_path


def test_a_server_annotates_from_captions_alone_and_a_rerun_asks_nothing(tmp_path: Path) -> None:
    def behaviour(request: dict[str, Any], number: int) -> Answer:
        second = "no. 1." in request["messages"][-1]["content"]
        return Answer("I cannot do that.") if second else Answer(render_summary(SUMMARY))

    with openai_server(behaviour) as server:
        settings = AnnotatorSettings(kind="server", model="mixtral", base_url=server.base_url)
        annotator = make_annotator(settings, tmp_path)
        results = list(annotator.annotate(pairs(3), ImageFolders([tmp_path / "no images needed"])))
        assert [pair for pair, _ in results] == pairs(3)
        assert [summary for _, summary in results][::2] == [SUMMARY, SUMMARY]
        assert isinstance(results[1][1], Dropped)
        assert results[1][1].reason == DropReason.REFUSAL
        asked = sorted(request["messages"][-1]["content"] for request in server.requests)
        assert asked == [f"Image 1: A dog no. {i}.\nImage 2: Dogs." for i in range(3)]
        assert list(make_annotator(settings, tmp_path).annotate(pairs(3), ImageFolders([tmp_path]))) == results
        assert len(server.requests) == 3
    assert annotator.provenance.annotator == "mixtral"
    assert annotator.provenance.prompt_hash == prompt_hash("summary_from_captions")
    assert json.loads(annotator.provenance.decoding)["temperature"] == 0.0
    assert (tmp_path / "replies.sqlite").exists()


def test_json_replies_are_asked_for_by_schema_and_read(tmp_path: Path) -> None:
    differences = [{"aspect": difference.aspect, "text": difference.text} for difference in SUMMARY.differences]
    body = json.dumps({"commonalities": SUMMARY.commonalities, "differences": differences})
    with openai_server(lambda request, number: Answer(body)) as server:
        settings = AnnotatorSettings(kind="server", model="m", base_url=server.base_url, json_schema=True)
        ((_, summary),) = make_annotator(settings, tmp_path).annotate(pairs(1), ImageFolders([tmp_path]))
        assert summary == SUMMARY
        assert server.requests[0]["response_format"]["type"] == "json_schema"


def test_v2_shows_both_images_and_the_note_but_no_caption(image_root: Path) -> None:
    with openai_server(lambda request, number: Answer(render_summary(SUMMARY))) as server:
        settings = AnnotatorSettings(kind="server", model="m", base_url=server.base_url, prompt="summary_from_images")
        ((_, summary),) = make_annotator(settings, image_root / "out").annotate(pairs(1), ImageFolders([image_root]))
        content = server.requests[0]["messages"][0]["content"]
    assert summary == SUMMARY
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert content[1] != content[3]
    assert "No. 0 gone." in content[4]["text"]
    assert "dog" not in json.dumps([part for part in content if part["type"] == "text"])


def test_a_local_model_annotates_from_images(image_root: Path) -> None:
    model = make_tiny_llava(image_root / "v1" / "merged")
    settings = AnnotatorSettings(kind="local", model=str(model), prompt="summary_from_images", max_tokens=8)
    annotator = make_annotator(settings, image_root / "out")
    results = list(annotator.annotate(pairs(3), ImageFolders([image_root])))
    assert [summary.reason for _, summary in results if isinstance(summary, Dropped)] == ["cut_off"] * 3
    assert annotator.provenance.annotator.startswith("v1/merged@")


def test_mentions_annotate_without_a_model(tmp_path: Path) -> None:
    two = ImagePair(
        "p", ("a.png", "b.png"), "test", captions=("A red ball on the grass.", "Two blue balls on the grass.")
    )
    annotator = make_annotator(AnnotatorSettings(), tmp_path)
    ((pair, summary),) = annotator.annotate([two], ImageFolders([tmp_path]))
    assert pair == two
    assert isinstance(summary, CadSummary)
    assert "grass" in summary.commonalities
    assert annotator.provenance.annotator == "mentions"
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_the_endpoint_refuses_is_a_counted_drop(tmp_path: Path) -> None:
    with openai_server(lambda request, number: Answer("too long", status=400)) as server:
        settings = AnnotatorSettings(kind="server", model="m", base_url=server.base_url)
        ((_, dropped),) = make_annotator(settings, tmp_path).annotate(pairs(1), ImageFolders([tmp_path]))
    assert isinstance(dropped, Dropped)
    assert dropped.reason == DropReason.REQUEST_FAILED
    assert "too long" in dropped.detail


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (AnnotatorSettings(kind="mentions", prompt="summary_from_images"), "captions only"),
        (AnnotatorSettings(kind="server"), "no model is named"),
        (AnnotatorSettings(kind="local", model="m", json_schema=True), "cannot be held to JSON"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: AnnotatorSettings, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        make_annotator(settings, tmp_path)


def test_a_pair_without_what_the_prompt_needs_is_named(tmp_path: Path) -> None:
    bare = ImagePair("p-7", ("a.png", "b.png"), "test")
    with openai_server() as server:
        settings = AnnotatorSettings(kind="server", model="m", base_url=server.base_url)
        with pytest.raises(InputError, match="p-7"):
            list(make_annotator(settings, tmp_path).annotate([bare], ImageFolders([tmp_path])))


def test_pairs_without_a_note_are_compared_by_their_images_alone(image_root: Path) -> None:
    bare = ImagePair("p-7", ("a.png", "b.png"), "test", captions=("A dog.", "Dogs."), shared_nouns=("dog",))
    with openai_server(lambda request, number: Answer(render_summary(SUMMARY))) as server:
        settings = AnnotatorSettings(kind="server", model="m", base_url=server.base_url, prompt="summary_from_images")
        ((_, summary),) = make_annotator(settings, image_root / "out").annotate([bare], ImageFolders([image_root]))
        content = server.requests[0]["messages"][0]["content"]
    assert summary == SUMMARY
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert "ote" not in content[4]["text"]
    assert "dog" not in json.dumps([part for part in content if part["type"] == "text"]).lower()
