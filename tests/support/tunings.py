"""Tiny trainings: a base model, a mixture of rows with two, one and no images, and the script on both."""

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image
from transformers import AutoProcessor, LlavaProcessor

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message, preferences_features
from cadvi_hub.training import sft
from cadvi_hub.training.models import TEMPLATES
from cadvi_hub.training.recipe import CONFIGS, TuningModel
from cadvi_hub.training.settings import DataArguments, Method
from tests.support.tiny_llava import make_tiny_llava

COLOURS = ("red", "green", "blue", "white")


def row(index: int) -> dict[str, Any]:
    """Text only, one image or two images, by `index`; rows with two have two turns."""
    images, colour = index % 3, COLOURS[index % 4]
    turns = [
        message("user", "<image>" * images + f"What is {colour}?"),
        message("assistant", f"Differences: {colour}."),
    ]
    if images == 2:
        turns += [message("user", "Which image suits the caption better?"), message("assistant", "Image 1")]
    picture = {"bytes": encode_png(Image.new("RGB", (40, 32), colour)), "path": None}
    return {"id": str(index), "images": [picture] * images, "messages": turns, "source": "drawn"}


def tiny_processor(folder: Path) -> LlavaProcessor:
    """The processor of a tiny LLaVA that is made in `folder`, with the template that marks the answers."""
    processor: LlavaProcessor = AutoProcessor.from_pretrained(make_tiny_llava(folder))
    processor.chat_template = (TEMPLATES / "cadvi.jinja").read_text()
    return processor


def make_room(folder: Path, rows: int = 24, images: Container[int] = range(3)) -> Path:
    """`folder` with a base model and a data set of one configuration: the first rows, those of so many images."""
    tiny_processor(folder / "base").save_pretrained(folder / "base")
    (folder / "v1").mkdir()
    chosen = [row(index) for index in range(rows) if index % 3 in images]
    data = Dataset.from_list(chosen, features=instruct_features())
    data.to_parquet(str(folder / "v1" / "train-00000-of-00001.parquet"))
    return folder


def pair(index: int) -> dict[str, Any]:
    """A preference pair on two images; the colours of the answers change places in the worse one."""
    first, second = COLOURS[index % 4], COLOURS[(index + 1) % 4]
    pictures = [encode_png(Image.new("RGB", (40, 32), colour)) for colour in (first, second)]
    return {
        "id": str(index),
        "images": [{"bytes": picture, "path": None} for picture in pictures],
        "prompt": [message("user", "<image><image>What is different?")],
        "chosen": [message("assistant", f"Image 1 is {first}, Image 2 is {second}.")],
        "rejected": [message("assistant", f"Image 1 is {second}, Image 2 is {first}.")],
        "source": "drawn",
        "rejection": "swapped_sides",
        "annotator": "drawn",
        "prompt_hash": "",
        "decoding": "{}",
    }


def make_pairs(folder: Path, pairs: Sequence[Mapping[str, Any]]) -> Path:
    """`folder` with a base model and a data set of preference pairs."""
    tiny_processor(folder / "base").save_pretrained(folder / "base")
    (folder / "v1").mkdir()
    data = Dataset.from_list([dict(pair) for pair in pairs], features=preferences_features())
    data.to_parquet(str(folder / "v1" / "train-00000-of-00001.parquet"))
    return folder


def run(
    room: Path,
    out: Path,
    model: Mapping[str, Any] | None = None,
    mixture: Mapping[str, Any] | None = None,
    streaming: bool = False,
    method: Method = "sft",
    eval_mixture: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Path:
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "projector_lr": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 7,
    } | changed
    model_args = {"model_name_or_path": str(room / "base"), "lora_r": 4, "lora_alpha": 8, **(model or {})}
    mixture = dict(mixture or {"v1": {"path": str(room), "config": "v1"}})
    data = DataArguments(mixture, dict(eval_mixture or {}), max_tokens=200, streaming=streaming, method=method)
    return sft.train(data, CONFIGS[method](**settings), TuningModel(**model_args))


def curve(out: Path) -> list[tuple[int, float]]:
    log = json.loads((out / "training.json").read_text())
    return [(entry["step"], entry["loss"]) for entry in log["curve"]]
