"""Batches equal those that TRL's collator and LLaVA's own image processor make."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from cadvi_hub.core.schema import message
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.inputs import pads_to_square
from cadvi_hub.training.models import load_processor
from cadvi_hub.training.recipe import TuningModel
from tests.support.tiny_llava import make_tiny_llava
from tests.support.tiny_vlms import TEMPLATES, make_tiny_vlm

SIZES = [(64, 48), (48, 64), (32, 32), (7, 90), (91, 8), (33, 20), (1, 1), (640, 480), (100, 99)]


def picture(rng: random.Random, mode: str, sizes: list[tuple[int, int]]) -> Image.Image:
    size = rng.choice(sizes)
    return Image.frombytes("RGBA", size, rng.randbytes(4 * size[0] * size[1])).convert(mode)


def row(rng: random.Random, images: int, sizes: list[tuple[int, int]] = SIZES) -> dict[str, Any]:
    turns = [f"{'Image: <image> ' * images}What is different? é 中"]
    turns += [" ".join(["two", "red", "dogs", "🙂"][: rng.randint(1, 4)]) for _ in range(rng.choice((1, 3)))]
    messages = [message("assistant" if number % 2 else "user", text) for number, text in enumerate(turns)]
    modes = ("RGB", "RGB", "RGBA", "L", "P", "LA")
    return {"images": [picture(rng, rng.choice(modes), sizes) for _ in range(images)], "messages": messages}


@pytest.fixture
def processor(tmp_path: Path) -> Any:
    return AutoProcessor.from_pretrained(make_tiny_llava(tmp_path))


def follow(processor: Any, **changes: Any) -> None:
    settings = processor.image_processor.to_dict()
    processor.image_processor = LlavaImageProcessorPil.from_dict(settings, do_pad=True, **changes)


def assert_trl_makes_the_same(processor: Any, rows: list[dict[str, Any]], multiple: int | None = None) -> None:
    trl = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True, pad_to_multiple_of=multiple)
    expected, batch = trl(rows), Collator(processor, pad_to_multiple_of=multiple)(rows)
    assert set(batch) == set(expected)
    for name, values in expected.items():
        assert batch[name].dtype == values.dtype
        torch.testing.assert_close(batch[name], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("multiple", [None, 64])
def test_a_batch_is_what_trl_makes_of_the_rows(processor: Any, squares: bool, multiple: int | None) -> None:
    if squares:
        follow(processor)
    assert pads_to_square(processor.image_processor) == squares
    rng = random.Random(0)
    for _ in range(12):
        assert_trl_makes_the_same(processor, [row(rng, rng.randrange(4)) for _ in range(4)], multiple)


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_batch_of_another_family_is_what_trl_makes_of_the_rows(tmp_path: Path, family: str) -> None:
    model = TuningModel(model_name_or_path=str(make_tiny_vlm(tmp_path, family)))
    processor = load_processor(model, None)
    rng = random.Random(1)
    for images in ((2, 1, 0), (0, 0), (1, 3)):
        assert_trl_makes_the_same(processor, [row(rng, count, SIZES[:2]) for count in images])


def test_a_transparent_colour_becomes_white_as_in_the_image_processor(processor: Any) -> None:
    follow(processor)
    image = Image.new("RGB", (40, 30), "red")
    image.info["transparency"] = (255, 0, 0)
    rows = [{"images": [image], "messages": [message("user", "<image>"), message("assistant", "Red.")]}]
    assert_trl_makes_the_same(processor, rows)


def test_an_image_processor_with_other_settings_does_its_own_work(processor: Any) -> None:
    follow(processor, crop_size={"height": 16, "width": 16})
    assert not pads_to_square(processor.image_processor)
