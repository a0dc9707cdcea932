"""The records that cross rooms, the messages that TRL reads, and the columns of every published config."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Image, List, Value
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from cadvi_hub.core import schema
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, content_parts, message

IMAGE = {"type": "image", "text": None}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("Hello", [text("Hello")]),
        ("<image>", [IMAGE]),
        ("", [text("")]),
        ("<image>\nWhat is it?", [IMAGE, text("\nWhat is it?")]),
        ("Image 1: <image>\nImage 2: <image>\nCompare.",
         [text("Image 1: "), IMAGE, text("\nImage 2: "), IMAGE, text("\nCompare.")]),
        ("<image><image>", [IMAGE, IMAGE]),
        ("Now <Image> <image", [text("Now <Image> <image")]),
    ],
)  # fmt: skip
def test_a_prompt_is_split_at_its_placeholders(prompt: str, parts: list[dict[str, Any]]) -> None:
    assert content_parts(prompt) == parts
    assert message("user", prompt) == {"role": "user", "content": parts}


@given(st.lists(st.sampled_from(["<image>", "a cat", "\n", " ", "<", ">"])).map("".join))
def test_the_parts_of_a_prompt_put_together_are_the_prompt(prompt: str) -> None:
    parts = content_parts(prompt)
    assert "".join("<image>" if part["type"] == "image" else part["text"] for part in parts) == prompt
    assert parts == [text("")] or all(part["text"] for part in parts if part["type"] == "text")


def test_the_six_aspects_are_the_papers_in_its_order() -> None:
    names = ["Object types", "Attributes", "Counts", "Actions", "Locations", "Relative positions"]
    assert [str(aspect) for aspect in Aspect] == names


def test_records_cannot_be_changed() -> None:
    summary = CadSummary("Both show a cat.", (Difference(Aspect.COUNTS, "One more."),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.commonalities = "Nothing."  # type: ignore[misc]
    assert summary == CadSummary("Both show a cat.", (Difference(Aspect.COUNTS, "One more."),))


STRING, STRINGS = Value("string"), List(Value("string"))
BASIC = {"id": STRING, "images": List(Image()), "source": STRING}
MESSAGES = {"messages": List({"role": STRING, "content": List({"type": STRING, "text": STRING})})}
SUMMARY = {
    "commonalities": STRING,
    "differences": List({"aspect": STRING, "text": STRING}),
    "shared_nouns": STRINGS,
    "annotator": STRING,
    "prompt_hash": STRING,
    "decoding": STRING,
}
ASKED = {"question": STRING, "answer": STRING}
CONFIGS = {
    "instruct": BASIC | MESSAGES,
    "v1": BASIC | MESSAGES | SUMMARY | {"captions": STRINGS, "clip_sim_score": Value("float32")},
    "v2": BASIC | MESSAGES | SUMMARY | {"context": STRING},
    "cad_qa": BASIC | SUMMARY | ASKED | {"captions": STRINGS},
    "question": BASIC
    | ASKED
    | {"options": STRINGS, "task": STRING, "category": STRING, "group": STRING, "swap_words": STRINGS},
}


def features(config: str) -> Features:
    return getattr(schema, f"{config}_features")()


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_has_these_columns_of_these_types(config: str) -> None:
    assert dict(features(config)) == CONFIGS[config]


def example(feature: Any) -> Any:
    """A value of a feature."""
    if isinstance(feature, Image):
        buffer = io.BytesIO()
        Picture.new("RGB", (2, 2), "red").save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": "a.png"}
    if isinstance(feature, List):
        return [example(feature.feature)] * 2
    if feature == Value("float32"):
        return 0.5
    return {name: example(kind) for name, kind in feature.items()} if isinstance(feature, dict) else "words"


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_of_a_config_survive_parquet_with_their_images(config: str, tmp_path: Path) -> None:
    columns = features(config)
    row = {name: example(kind) for name, kind in columns.items()}
    Dataset.from_list([row], features=columns).to_parquet(str(tmp_path / "a.parquet"))
    read = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert read.features == columns
    found = read[0]
    assert [image.getpixel((0, 0)) for image in found.pop("images")] == [(255, 0, 0)] * 2
    assert found == {name: value for name, value in row.items() if name != "images"}


def test_image_parts_keep_their_empty_text_in_a_dataset() -> None:
    columns = Features({"messages": schema.instruct_features()["messages"]})
    talk = [message("user", "<image>\nWhat is it?"), message("assistant", "A cat.")]
    assert Dataset.from_list([{"messages": talk}], features=columns)[0]["messages"] == talk
