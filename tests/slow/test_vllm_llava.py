"""vLLM serves a merged LLaVA, and answers questions about two images token for token as transformers does."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from PIL import Image

from tests.slow.vllm_server import PYTHON, VllmServer

TOKENS = 12
QUESTIONS = (
    "<image> and <image>: what differs?",
    "Look at <image>. Now at <image>. Which is red?",
    "What do <image><image> have in common?",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no server environment; `make vllm` makes it"),
]


def picture(number: int) -> Image.Image:
    noise = torch.Generator().manual_seed(number)
    return Image.fromarray(torch.randint(0, 256, (32, 32, 3), generator=noise, dtype=torch.uint8).numpy())


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base as transformers 5 saves it, tuned a little, merged by our command.

    Its weights are larger than fresh ones, whose answers repeat a token whatever is in the pictures.
    """
    from transformers import AutoModelForImageTextToText

    from cadvi_hub.cli import main
    from tests.support.tiny_llava import make_tiny_llava
    from tests.training.test_adapters import save_adapter

    folder = tmp_path_factory.mktemp("merged")
    model = AutoModelForImageTextToText.from_pretrained(make_tiny_llava(folder / "base"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "vision_tower" not in name and weight.ndim == 2:
                weight.mul_(4)
    model.save_pretrained(folder / "base")
    save_adapter(folder / "base", folder / "adapter")
    main(["merge", "--adapter", str(folder / "adapter"), "--out", str(folder / "llava")])
    return folder / "llava"


@pytest.fixture(scope="module")
def server(merged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    limits = {"max_model_len": 512, "max_num_seqs": 2, "limit_mm_per_prompt": json.dumps({"image": 2})}
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    server = VllmServer(merged, log, served_model_name="llava", dtype="float32", **limits)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def by_vllm(server: VllmServer, question: str, pictures: list[Image.Image]) -> list[int]:
    from cadvi_hub.core.schema import message

    urls = iter(pictures)
    content: list[Any] = []
    for part in message("user", question)["content"]:
        if part["type"] == "text":
            content.append({"type": "text", "text": part["text"]})
            continue
        buffer = io.BytesIO()
        next(urls).save(buffer, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", timeout=600)
    reply = client.chat.completions.create(
        model="llava",
        messages=[{"role": "user", "content": content}],
        max_tokens=TOKENS,
        temperature=0,
        extra_body={"return_token_ids": True, "ignore_eos": True},
    )
    return list(reply.choices[0].token_ids)  # type: ignore[attr-defined]


def by_transformers(folder: Path, question: str, pictures: list[Image.Image]) -> list[int]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from cadvi_hub.core.schema import message

    processor = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    prompt = processor.apply_chat_template([message("user", question)], add_generation_prompt=True)
    inputs = processor(text=prompt, images=pictures, return_tensors="pt", add_special_tokens=False)
    # `ignore_eos`: the end token is one like any other, as in the request to the server.
    tokens = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False, eos_token_id=-1)
    answered: list[int] = tokens[0, inputs["input_ids"].shape[1] :].tolist()
    return answered


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_those_of_transformers_and_depend_on_the_order(
    server: VllmServer, merged: Path, question: str
) -> None:
    pictures = [picture(1), picture(2)]
    answers = [by_vllm(server, question, order) for order in (pictures, pictures[::-1])]
    expected = [by_transformers(merged, question, order) for order in (pictures, pictures[::-1])]
    assert answers == expected
    assert len(answers[0]) == TOKENS
    assert answers[0] != answers[1]


def test_a_third_image_is_refused(server: VllmServer) -> None:
    with pytest.raises(openai.BadRequestError, match="At most 2 image"):
        by_vllm(server, "<image><image><image>", [picture(number) for number in range(3)])
