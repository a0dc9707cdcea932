"""The small base model: a real LLaVA that has learned only from single images and plain text.

It takes the place of LLaVA-1.5 in the paper: it knows single images and has never seen two. The shipped weights are in
`base_model/` beside this file; `base_training.train_base` makes them again from the recipe and its seed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.files import read_json, write_text
from cadvi_hub.demo.base_data import world_digest
from cadvi_hub.demo.base_measures import answers_right, read_where
from cadvi_hub.demo.base_recipe import IMAGE_PIXELS, IMAGE_TOKENS, PATCH_PIXELS, BaseRecipe, base_folder

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

PROBE_QUESTIONS = 300
READ_QUESTIONS = 100  # of each kind, at each place of the picture


def build_processor() -> LlavaProcessor:
    """The shipped tokenizer, an image processor (squares of 96 pixels) and our chat template.

    The tokenizer is a byte-level BPE that was trained on an earlier wording of the world. It can write any text, and
    has a token for each word of the world and of `LEXICON`.
    """
    from transformers import AutoTokenizer, CLIPImageProcessorPil, LlavaProcessor

    template = (resources.files("cadvi_hub.training") / "chat_templates" / "cadvi.jinja").read_text("utf-8")
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    tokenizer.chat_template = template
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_PIXELS},
        crop_size={"height": IMAGE_PIXELS, "width": IMAGE_PIXELS},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH_PIXELS,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
        image_token="<image>",
    )


def build_model(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """The untrained model: CLIP vision tower, MLP projector, Llama."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    width, heads = recipe.hidden_size, recipe.hidden_size // 32
    image_token: Any = tokenizer.convert_tokens_to_ids("<image>")
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=recipe.vision_layers,
        num_attention_heads=heads,
        image_size=IMAGE_PIXELS,
        patch_size=PATCH_PIXELS,
        projection_dim=width,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=recipe.text_layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_index=image_token,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,  # LLaVA-1.5: -2, as CLIP's last layer serves its contrastive loss; here is none
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    torch.manual_seed(recipe.seed)
    model = LlavaForConditionalGeneration(config)
    torch.manual_seed(recipe.seed)  # again: the tower starts from the same weights for any vocabulary
    model.model.vision_tower = CLIPVisionModel(vision)
    return model


def save_base(model: Any, processor: Any, recipe: BaseRecipe, training: dict[str, Any], out: Path) -> None:
    """Save weights in half precision, the processor, and `recipe.json`, which records the recipe and its world.

    Args:
        training: Measurements of the training: loss curve, share of picture parts that the vision tower names.
    """
    import torch

    model.to(torch.float16).save_pretrained(out)
    config = read_json(out / "config.json")
    config["dtype"] = "float32"  # half precision is only for the disk
    write_text(out / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    processor.save_pretrained(out)
    for file in (out / "model.safetensors", out / "tokenizer.json"):
        file.chmod(0o644)
    record = {
        "recipe": asdict(recipe),
        "world": world_digest(recipe),
        "weights": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "answers_right": answers_right(model.float(), processor, PROBE_QUESTIONS),
        "reads": read_where(model, processor, READ_QUESTIONS),
        "training": training,
    }
    write_text(out / "recipe.json", json.dumps(record, indent=1) + "\n")
