"""A LLaVA merged by our command answers evaluation's questions alike in this process and served by vLLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.models.load import load_model
from cadvi_hub.generation.settings import EndpointSettings
from tests.slow.vllm_server import PYTHON, VllmServer

QUERY = "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption {} better?"
CAPTIONS = ("a dog on the left", "two cats and a dog on a very long sofa")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no server environment; `make vllm` makes it"),
]


def picture(number: int) -> Image.Image:
    noise = torch.Generator().manual_seed(number)
    return Image.fromarray(torch.randint(0, 256, (48, 40, 3), generator=noise, dtype=torch.uint8).numpy())


def question(group: str, query: str, images: list[Image.Image], task: str = "cola|0") -> Doc:
    return Doc(
        query=query,
        choices=["A", "B"],
        gold_index=0,
        images=images,
        specific={"id": group, "group": group, "category": "", "options": ["A", "B"]},
        generation_size=12,
        task_name=task,
    )


def questions() -> list[Doc]:
    """Two questions about each of four pairs of pictures, in both orders."""
    pairs = [[picture(2 * number), picture(2 * number + 1)] for number in range(4)]
    return [
        question(str(group), QUERY.format(caption), images, task)
        for group, pair in enumerate(pairs)
        for task, images in (("cola|0", pair), ("cola_swapped|0", pair[::-1]))
        for caption in CAPTIONS
    ]


def make_merged(folder: Path) -> Path:
    """A tuned LLaVA merged by our command, that writes no halves of characters: vLLM leaves those out of its texts."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from cadvi_hub.training.adapters import merge
    from tests.support.tiny_llava import make_tiny_llava
    from tests.training.test_adapters import save_adapter

    base = make_tiny_llava(folder / "base")
    model, tokenizer = AutoModelForImageTextToText.from_pretrained(base), AutoProcessor.from_pretrained(base).tokenizer
    halves = [token for token in range(len(tokenizer)) if "\ufffd" in tokenizer.decode([token])]
    with torch.no_grad():
        model.lm_head.weight[halves] = 0  # never the likeliest
    model.save_pretrained(base)
    save_adapter(base, folder / "adapter")
    merge(folder / "adapter", folder / "llava")
    return folder / "llava"


def test_the_same_questions_get_the_same_answers_from_transformers_and_from_vllm(tmp_path: Path) -> None:
    model = make_merged(tmp_path)
    local = load_model(str(model), tmp_path / "local", batch_size=8)
    expected = [response.text for response in local.greedy_until(questions())]
    assert len({text for (text,) in expected}) > 4

    limits = {"max_model_len": 512, "max_num_seqs": 4, "limit_mm_per_prompt": json.dumps({"image": 2})}
    server = VllmServer(model, tmp_path / "vllm.log", served_model_name="llava", dtype="float32", **limits)
    endpoint = EndpointSettings(f"{server.address}/v1", concurrency=4, max_retries=1)
    try:
        server.start()
        served = load_model("llava", tmp_path / "served", endpoint=endpoint)
        assert [response.text for response in served.greedy_until(questions())] == expected
        three = question("third", f"<image>{QUERY}", [picture(number) for number in range(3)])
        with pytest.raises(InputError, match=r"question third.*At most 2 image"):
            served.greedy_until([three])
    finally:
        server.kill()
    again = load_model("llava", tmp_path / "served", endpoint=endpoint)  # the server is gone, the replies are not
    assert [response.text for response in again.greedy_until(questions())] == expected
