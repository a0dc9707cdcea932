"""Vision-language models of other families than LLaVA, small enough for a test: random weights, real classes."""
# ruff: noqa: S106  (tokens of a vocabulary, no passwords)

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    Idefics3Config,
    Idefics3Processor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    SmolVLMConfig,
    SmolVLMProcessor,
    processing_utils,
)
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from tests.support.tiny_llava import CORPUS, MAX_LENGTH

TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": MAX_LENGTH}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1}
# Files of the originals' chat templates, which TRL has as they were published.
TEMPLATES = {"qwen2_5_vl": "qwen2_5_vl.jinja", "qwen3_vl": "qwen3_vl.jinja", "idefics3": "smolvlm.jinja"}
TEMPLATES["smolvlm"] = TEMPLATES["idefics3"]


class NoVideos(VideoProcessorMixin):
    """Stands for a family's video processor, which needs torchvision; nothing here shows it a video."""

    num_frames, fps = 8, 1


named_with_torchvision: Any = processing_utils.transformers_module  # it has the name only where torchvision is
named_with_torchvision.VideoProcessorMixin = VideoProcessorMixin
words_of_numbers: Any = processing_smolvlm  # of a video's frames, too
words_of_numbers.num2words = str
for config_class in (Qwen2_5_VLConfig, Qwen3VLConfig, SmolVLMConfig):
    AutoVideoProcessor.register(config_class, video_processor_classes={"torchvision": NoVideos}, exist_ok=True)


def original_template(family: str) -> str:
    return (Path(trl.__file__).parent / "chat_templates" / TEMPLATES[family]).read_text(encoding="utf-8")


def make_tokenizer(marks: list[str], **roles: str) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, extra_special_tokens=marks, model_max_length=MAX_LENGTH, **roles
    )


def make_qwen(family: str) -> tuple[PreTrainedConfig, Qwen2_5_VLProcessor | Qwen3VLProcessor]:
    """Qwen2.5-VL or Qwen3-VL: a picture of 40 × 32 pixels takes four tokens."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    marks += ["<|image_pad|>", "<|video_pad|>"]
    tokenizer = make_tokenizer(marks, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    ids: dict[str, Any] = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in marks}
    is_newer = family == "qwen3_vl"
    patch = 16 if is_newer else 14
    images = Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": (4 * patch) ** 2, "longest_edge": (8 * patch) ** 2}
    )
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "patch_size": patch,
    }
    vision |= {"out_hidden_size": TEXT["hidden_size"]}
    vision |= (
        {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        if is_newer
        else {"fullatt_block_indexes": [1], "window_size": 4 * patch}
    )
    rope = {"rope_type": "default", "mrope_section": [8, 4, 4], "rope_theta": 10_000.0}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope, "pad_token_id": ids["<|endoftext|>"]}
    text |= {"eos_token_id": ids["<|im_end|>"], "bos_token_id": None} | ({"head_dim": 32} if is_newer else {})
    config_class, processor_class = (
        (Qwen3VLConfig, Qwen3VLProcessor) if is_newer else (Qwen2_5_VLConfig, Qwen2_5_VLProcessor)
    )
    config = config_class(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return config, processor_class(images, tokenizer, NoVideos(), chat_template=original_template(family))


def make_smolvlm(family: str) -> tuple[PreTrainedConfig, Idefics3Processor | SmolVLMProcessor]:
    """SmolVLM (an Idefics3) or SmolVLM2: a picture is cut into tiles, each of four tokens beside its marks."""
    marks = [
        "<|im_start|>",
        "<end_of_utterance>",
        "<|im_end|>",
        "<image>",
        "<fake_token_around_image>",
        "<global-img>",
    ]
    marks += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer(marks, bos_token="<|im_start|>", eos_token="<end_of_utterance>", pad_token="<|im_end|>")
    ids: dict[str, Any] = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in marks}
    is_newer = family == "smolvlm"
    image_class = SmolVLMImageProcessorPil if is_newer else Idefics3ImageProcessorPil
    images = image_class(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    text = {"model_type": "llama", "vocab_size": len(tokenizer), "pad_token_id": ids["<|im_end|>"], **TEXT}
    text |= {"bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"]}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = (SmolVLMConfig if is_newer else Idefics3Config)(
        text_config=text,
        vision_config={**vision, "image_size": 32, "patch_size": 8},
        image_token_id=ids["<image>"],
        scale_factor=2,
    )
    settings: dict[str, Any] = {"image_seq_len": 4, "chat_template": original_template(family)}
    if is_newer:
        return config, SmolVLMProcessor(images, tokenizer, NoVideos(), **settings)
    return config, Idefics3Processor(images, tokenizer, **settings)


def make_tiny_vlm(folder: Path, family: str) -> Path:
    """Save a random model of a family (a key of `TEMPLATES`) with its processor and its own chat template."""
    config, processor = make_qwen(family) if family.startswith("qwen") else make_smolvlm(family)
    return save_random(folder, config, processor)


def save_random(folder: Path, config: Any, processor: Any) -> Path:
    """Save a model of random weights with its processor; equal weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
