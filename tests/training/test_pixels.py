"""Budgets of pixels make large pictures smaller, in the count and in the batches alike."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.lengths import fit_rows
from cadvi_hub.training.models import load_processor
from cadvi_hub.training.pixels import UNLIMITED, PixelBudget
from cadvi_hub.training.recipe import TuningModel
from cadvi_hub.training.settings import DataArguments
from tests.support.tiny_vlms import make_tiny_vlm

SIZES = [(90, 300), (40, 40), (7, 1000), (1, 1)]  # height, width


@pytest.mark.parametrize("image", [None, 1, 500, 1600])
@pytest.mark.parametrize("row", [None, 4, 700, 5000])
def test_no_picture_and_no_row_is_above_its_budget_and_shapes_stay(image: int | None, row: int | None) -> None:
    sizes = PixelBudget(image, row).sizes(SIZES)
    assert all(height * width <= (image or height * width) for height, width in sizes)
    assert sum(height * width for height, width in sizes) <= (row or 10**9) + len(SIZES)  # each has at least one
    for (height, width), (before_height, before_width) in zip(sizes, SIZES, strict=True):
        assert height <= before_height
        assert width <= before_width
        if min(height, width) > 20:
            assert height / width == pytest.approx(before_height / before_width, rel=0.1)
    assert UNLIMITED.sizes(SIZES) == PixelBudget(10**6, 10**6).sizes(SIZES) == SIZES


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "1"])
def test_pictures_are_resized_to_these_sizes(mode: str) -> None:
    images = [Image.new("RGB", (width, height), "red").convert(mode) for height, width in SIZES]
    budget = PixelBudget(500, 900)
    assert [(image.height, image.width) for image in budget.fit(images)] == budget.sizes(SIZES)
    assert UNLIMITED.fit(images) == images


def test_budget_lowers_the_counted_tokens_to_what_the_model_reads(tmp_path: Path) -> None:
    qwen: Any = load_processor(TuningModel(model_name_or_path=str(make_tiny_vlm(tmp_path, "qwen3_vl"))), None)
    images = [Image.new("RGB", (120, 100), "red"), Image.new("RGB", (100, 120), "red")]
    turns = [message("user", "<image><image>What differs?"), message("assistant", "Nothing.")]
    stored = [{"bytes": encode_png(image), "path": None} for image in images]
    rows = Dataset.from_list(
        [{"id": "0", "images": stored, "messages": turns, "source": "drawn"}], features=instruct_features()
    )
    lengths = []
    for budget in (UNLIMITED, PixelBudget(image=8000), PixelBudget(row=9000)):
        fitted = fit_rows(rows, "v1", qwen, 1000, budget=budget).dataset
        batch = Collator(qwen, budget=budget)([{"images": images, "messages": turns}])
        assert fitted["length"][:] == [batch["input_ids"].shape[1]]
        lengths += fitted["length"][:]
    assert lengths[0] > lengths[1] > lengths[2]


@pytest.mark.parametrize("key", ["max_pixels", "max_row_pixels"])
def test_a_budget_that_no_picture_fits_is_refused(key: str) -> None:
    least: dict[str, Any] = {key: 28 * 28}
    assert DataArguments(mixture={}, **least)
    less: dict[str, Any] = {key: 783}
    with pytest.raises(InputError, match=f"setting {key}: it is 783. Give a number, 784 to"):
        DataArguments(mixture={}, **less)
