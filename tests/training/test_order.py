"""A swapped source of a mixture shows its two images in the other order, with texts that are true of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.order import NO_ORDER
from cadvi_hub.training.streaming import stream_mixture
from tests.support.tunings import make_pairs, pair, run, tiny_processor

ASKED = "Image 1: <image>\nImage 2: <image>\nWhat differs?"


def row(number: int, answer: str, images: int = 2) -> dict[str, Any]:
    sizes = [(40 + number, 32), (32, 50)]
    drawn = [Image.new("RGB", size, colour) for size, colour in zip(sizes, ("red", "blue"), strict=True)]
    pictures = [encode_png(picture) for picture in drawn[:images]]
    asked = ASKED if images == 2 else "<image>What is in Image 1?"
    return {
        "id": str(number),
        "images": [{"bytes": picture, "path": None} for picture in pictures],
        "messages": [message("user", asked), message("assistant", answer)],
        "source": "drawn",
    }


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Any]:
    """A source of which two rows can be shown in the other order."""
    answers = ["Image 1 is wide.", "It is larger.", "The second image is tall.", "Image 1 is red."]
    made = [row(number, answer, 1 if number == 3 else 2) for number, answer in enumerate(answers)]
    (tmp_path / "v1").mkdir()
    Dataset.from_list(made, features=instruct_features()).to_parquet(str(tmp_path / "v1/train.parquet"))
    return {"path": str(tmp_path), "config": "v1"}


@pytest.mark.parametrize("streams", [False, True])
def test_texts_and_images_come_in_the_other_order(rows: dict[str, Any], tmp_path: Path, streams: bool) -> None:
    processor = tiny_processor(tmp_path / "base")
    sources = {"v1": rows, "other": {**rows, "swapped": True}}
    mixture = (stream_mixture if streams else load_mixture)(sources, processor, 200, seed=0)
    if streams:
        read = mixture.dataset.read(mixture.dataset.numbers(1))
        found = [mixture.dataset[one] for one in read.values() if one]
    else:
        found = [one for one in mixture.dataset if one["swapped"]]
        assert mixture.rows == {"v1": 4, "other": 2}
    assert mixture.dropped["other"][NO_ORDER] == 2
    assert sorted(one["messages"][1]["content"][0]["text"] for one in found) == [
        "Image 2 is wide.",
        "The first image is tall.",
    ]
    assert all(one["messages"][0] == message("user", ASKED) for one in found)
    batch = Collator(processor)([{**one, "swapped": swapped} for one in found[:1] for swapped in (False, True)])
    as_stored, swapped = batch["pixel_values"].reshape(2, 2, *batch["pixel_values"].shape[1:])
    assert torch.equal(as_stored, swapped.flip(0))
    assert not torch.equal(as_stored, swapped)


def test_other_methods_refuse_swapped_sources(tmp_path: Path) -> None:
    room = make_pairs(tmp_path / "room", [pair(index) for index in range(4)])
    source = {"v1": {"path": str(room), "config": "v1", "swapped": True}}
    with pytest.raises(InputError, match="a source is swapped, which dpo does not do"):
        run(room, tmp_path / "out", method="dpo", mixture=source)
