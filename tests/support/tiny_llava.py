"""A LLaVA small enough for a test: random weights, real classes, made from configs without any download."""
# ruff: noqa: S106  (tokens of a vocabulary, no passwords)

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE_SIZE, PATCH_SIZE = 32, 16  # four image tokens per picture
MAX_LENGTH = 1024

CORPUS = (
    "Which image suits the caption better? A. Image 1 B. Image 2 Answer with the option's letter.",
    "Commonalities: Both images show a red square. Differences: 1. Object types: a circle and a triangle.",
    "Image 1: a dog on the left. Image 2: two cats on the right. What is different? True or false, yes or no.",
)

# Image parts stay where the turn has them; `{% generation %}` marks what an assistant says, its end token included.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- macro render(content) -%}
  {%- if content is string -%}{{- content -}}
  {%- else -%}
    {%- for part in content -%}{{- '<image>' if part.type == 'image' else part.text -}}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
  {{- '<|' + message.role + '|>' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}{{- render(message.content) + '<|end|>' -}}{%- endgeneration -%}
  {%- else -%}
    {{- render(message.content) + '<|end|>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def make_tiny_llava(folder: Path, seed: int = 0) -> Path:
    """Save a random `LlavaForConditionalGeneration` with its processor to `folder`, and return `folder`.

    About 0.5 M parameters: CLIP tower and Llama of two layers each, 32-pixel pictures, head_dim 32 (vLLM's least),
    a byte-level tokenizer that encodes any text, and the chat template above.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    turn_marks = ["<|system|>", "<|user|>", "<|assistant|>"]
    specials = ["<pad>", "<s>", "<|end|>", "<unk>", "<image>", *turn_marks]
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|end|>",
        unk_token="<unk>",
        extra_special_tokens=["<image>", *turn_marks],
        model_max_length=MAX_LENGTH,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,  # the class token, which "default" drops again
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config_class: Any = LlavaConfig  # it also takes the names of its own attribute map
    config = config_class(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.get_vocab()["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
