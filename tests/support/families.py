"""A tiny random model of each family in the table of docs/guides/tune.md, beside those of `tiny_vlms`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
import trl
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.video_processing_auto import AutoVideoProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.support.tiny_vlms import TEMPLATES, TEXT, NoVideos, make_qwen, make_tiny_vlm, make_tokenizer, save_random
from tests.support.tunings import tiny_processor

library: Any = transformers  # its many classes are looked up by name
video_processors: dict[str, type] = {"torchvision": NoVideos}
for config_name in ("Qwen3_5Config", "InternVLConfig", "LlavaOnevisionConfig", "Glm4vConfig"):
    config_class = getattr(library, config_name)
    AutoVideoProcessor.register(config_class, video_processor_classes=video_processors, exist_ok=True)

MARKS = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "<|end|>"}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE, PINPOINTS = {"height": 32, "width": 32}, [[32, 64], [64, 32], [64, 64]]
CLIP = {"model_type": "clip_vision_model", **VISION, "image_size": 32, "patch_size": 8, "projection_dim": 32}
SIGLIP = {"model_type": "siglip_vision_model", **VISION, "image_size": 32, "patch_size": 8}
TURNS = """\
{{- '<s>' -}}
{%- for message in messages -%}
  {{- '<|' ~ message.role ~ '|>' -}}
  {%- set content -%}
    {%- for part in message.content -%}{{- 'IMAGE' if part.type == 'image' else part.text -}}{%- endfor -%}
  {%- endset -%}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}{{- content ~ '<|end|>' -}}{%- endgeneration -%}
  {%- else -%}{{- content -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""
Made = tuple[Any, Any]  # configuration and processor


def turns(image: str) -> str:
    """A chat template that marks the answers."""
    return TURNS.replace("IMAGE", image)


def with_roles(tokenizer: PreTrainedTokenizerFast, **marks: str) -> PreTrainedTokenizerFast:
    """The tokenizer with attributes for its marks, such as `image_token`."""
    names = {name: tokenizer.special_tokens_map[name] for name in ROLES}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, **names, model_max_length=1024, extra_special_tokens=marks
    )


def text(tokenizer: PreTrainedTokenizerFast, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """The configuration of a language model."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    return {**TEXT, "vocab_size": len(tokenizer), **ids, **more} | ({"model_type": kind} if kind else {})


def like_llava(processor: str, images: Any, tokenizer: Any, strategy: str = "default") -> Any:
    extra = {"patch_size": 8, "vision_feature_select_strategy": strategy, "chat_template": turns("<image>")}
    return getattr(library, processor)(
        images, tokenizer, num_additional_image_tokens=int(strategy == "default"), **extra
    )


def llava_next() -> Made:
    tokenizer = make_tokenizer([*MARKS, "<image>"], **ROLES)
    images = LlavaNextImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE, image_grid_pinpoints=PINPOINTS)
    config = library.LlavaNextConfig(
        text_config=text(tokenizer, "llama"),
        vision_config=CLIP,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        image_seq_length=16,
    )
    return config, like_llava("LlavaNextProcessor", images, tokenizer)


def vipllava() -> Made:
    tokenizer = make_tokenizer([*MARKS, "<image>"], **ROLES)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    config = library.VipLlavaConfig(
        text_config=text(tokenizer, "llama"),
        vision_config=CLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layers=[-1, -2],
        image_seq_length=16,
    )
    return config, like_llava("LlavaProcessor", images, tokenizer)


def llava_interleave() -> Made:
    tokenizer = make_tokenizer([*MARKS, "<image>"], **ROLES)
    config = library.LlavaConfig(
        text_config=text(tokenizer, "qwen2"),
        vision_config=SIGLIP,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        image_seq_length=16,
    )
    return config, like_llava("LlavaProcessor", SiglipImageProcessorPil(size=SQUARE), tokenizer, "full")


def llava_onevision() -> Made:
    tokenizer = make_tokenizer([*MARKS, "<image>", "<video>"], **ROLES)
    images = LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=PINPOINTS)
    processor = library.LlavaOnevisionProcessor(
        images,
        tokenizer,
        NoVideos(),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=turns("<image>"),
    )
    config = library.LlavaOnevisionConfig(
        text_config=text(tokenizer, "qwen2"),
        vision_config=SIGLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )
    return config, processor


def qwen3_5() -> Made:
    config, processor = make_qwen("qwen3_vl")
    tokenizer: Any = processor.tokenizer
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0, "mrope_interleaved": True}
    language = {**TEXT, "vocab_size": len(tokenizer), "head_dim": 32, "pad_token_id": tokenizer.pad_token_id}
    language |= {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "eos_token_id": tokenizer.eos_token_id}
    language |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
    language |= {"layer_types": ["linear_attention", "full_attention"]}
    language |= {"rope_parameters": rope | {"partial_rotary_factor": 0.25}}
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "patch_size": 16}
    made = library.Qwen3_5Config(
        text_config=language,
        vision_config=vision | {"out_hidden_size": TEXT["hidden_size"], "num_position_embeddings": 64},
        **{name: getattr(config, name) for name in ("image_token_id", "video_token_id")},
        **{name: getattr(config, name) for name in ("vision_start_token_id", "vision_end_token_id")},
    )
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3_5_nothink.jinja"
    images = processor.image_processor
    return made, library.Qwen3VLProcessor(images, tokenizer, NoVideos(), chat_template=template.read_text())


def internvl() -> Made:
    marks = {"start_image_token": "<img>", "end_image_token": "</img>"}
    marks |= {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    tokenizer = with_roles(make_tokenizer([*MARKS, *marks.values()], **ROLES), **marks)
    images = GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4)
    template = turns("<IMG_CONTEXT>")
    processor = library.InternVLProcessor(images, tokenizer, NoVideos(), image_seq_length=4, chat_template=template)
    config = library.InternVLConfig(
        text_config=text(tokenizer, "qwen2"),
        vision_config={**VISION, "image_size": [32, 32], "patch_size": [8, 8]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    return config, processor


def glm4v() -> Made:
    kinds = ("image", "video")
    marks = [*MARKS, *(f"<|{kind}|>" for kind in kinds)]
    marks += [f"<|{end}_of_{kind}|>" for kind in kinds for end in ("begin", "end")]
    tokenizer = make_tokenizer(marks, **ROLES)
    size = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    images = Glm4vImageProcessorPil(patch_size=8, size=size)  # type: ignore[call-arg]
    template = turns("<|begin_of_image|><|image|><|end_of_image|>")
    names = ["image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id"]
    names += ["video_start_token_id", "video_end_token_id"]
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5}
    config = library.Glm4vConfig(
        text_config=text(tokenizer, head_dim=32, rope_parameters=rope),
        vision_config={"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48}
        | {"out_hidden_size": TEXT["hidden_size"], "patch_size": 8, "image_size": 64},
        **dict(zip(names, map(tokenizer.convert_tokens_to_ids, marks[-6:]), strict=True)),
    )
    return config, library.Glm4vProcessor(images, tokenizer, NoVideos(), chat_template=template)


def gemma3() -> Made:
    roles = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    turn_marks = ["<start_of_turn>", "<end_of_turn>"]
    tokenizer = with_roles(make_tokenizer([*roles.values(), *turn_marks, *marks.values()], **roles), **marks)
    images = Gemma3ImageProcessorPil(size=SQUARE, image_seq_length=4)
    template = (Path(trl.__file__).parent / "chat_templates" / "gemma3.jinja").read_text()
    begin, end, image = map(tokenizer.convert_tokens_to_ids, marks.values())
    config = library.Gemma3Config(
        text_config=text(tokenizer, head_dim=32, sliding_window=64, sliding_window_pattern=2),
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        mm_tokens_per_image=4,
        boi_token_index=begin,
        eoi_token_index=end,
        image_token_index=image,
    )
    return config, library.Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=4)


def aya_vision() -> Made:
    marks = ["<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"]
    tokenizer = make_tokenizer([*MARKS, *marks, "TILE", "TILE_GLOBAL"], **ROLES)
    images = GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, max_patches=4)
    processor = library.AyaVisionProcessor(
        images, tokenizer, patch_size=8, img_size=32, downsample_factor=2, chat_template=turns("<image>")
    )
    config = library.AyaVisionConfig(
        text_config=text(tokenizer, "cohere2", head_dim=32),
        vision_config=SIGLIP,
        image_token_id=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        adapter_layer_norm_eps=1e-6,
    )
    return config, processor


def paligemma() -> Made:
    tokenizer = make_tokenizer([*MARKS, "<image>"], **ROLES)
    images: Any = SiglipImageProcessorPil(size=SQUARE)
    images.image_seq_length = 16
    config = library.PaliGemmaConfig(
        text_config=text(tokenizer, "gemma", head_dim=32),
        vision_config={**SIGLIP, "projection_dim": 64, "vocab_size": 10},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=64,
    )
    return config, library.PaliGemmaProcessor(images, tokenizer, chat_template=turns("<image>"))


MAKERS: dict[str, Callable[[], Made]] = {
    "LLaVA-NeXT": llava_next,
    "VipLLaVA": vipllava,
    "LLaVA-Interleave": llava_interleave,
    "LLaVA-OneVision": llava_onevision,
    "Qwen3.5": qwen3_5,
    "InternVL": internvl,
    "GLM-4V": glm4v,
    "Gemma 3": gemma3,
    "Aya Vision": aya_vision,
    "PaliGemma": paligemma,
}
BY_TYPE = {"Qwen2.5-VL": "qwen2_5_vl", "Qwen3-VL": "qwen3_vl", "SmolVLM2": "smolvlm", "Idefics3": "idefics3"}
FAMILIES = ["LLaVA-1.5", *MAKERS, *BY_TYPE]
assert set(BY_TYPE.values()) == set(TEMPLATES)


def make_family(folder: Path, family: str) -> Path:
    """Save a random model of a family with its processor and a chat template that marks the answers."""
    if family in BY_TYPE:
        return make_tiny_vlm(folder, BY_TYPE[family])
    if family == "LLaVA-1.5":
        tiny_processor(folder).save_pretrained(folder)
        return folder
    return save_random(folder, *MAKERS[family]())
