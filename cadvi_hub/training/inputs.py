"""LLaVA-1.5's inputs: tokenizer and image processor for `chat_templates/llava.jinja`.

Template, tokenizer and image processor are saved with the model, so that evaluation and vLLM read the same tokens and
pixels as the training did. docs/guides/tune.md compares them with LLaVA-1.5.

For the training, `to_square` and `normalize` make the same pixels in a third of the time of `LlavaImageProcessorPil`,
which converts between NumPy and Pillow several times and normalizes each picture.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from tokenizers import Regex
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Sequence, Split
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.image_transforms import convert_to_rgb
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.tokenization_utils_sentencepiece import SentencePieceExtractor

from cadvi_hub.core.errors import InputError

STEPS = ("do_resize", "do_center_crop", "do_pad", "do_rescale", "do_normalize")
PREPARED = dict.fromkeys(STEPS, False)  # the image processor skips what this module does


def restore_merges(tokenizer: PreTrainedTokenizerFast) -> None:
    """Make a tokenizer from `tokenizer.model` merge pieces in SentencePiece's order, by their scores.

    transformers uses the order of the vocabulary instead. It differs for runs of spaces, which SentencePiece merges
    last: `a  b` becomes `▁a ▁ ▁b` here, and `▁a ▁▁ b` there. Vicuna has no `tokenizer.json`, which would be right.
    """
    file = getattr(tokenizer, "vocab_file", None)
    if isinstance(tokenizer.backend_tokenizer.model, BPE) and str(file).endswith(".model"):
        vocab, _, merges = SentencePieceExtractor(str(file)).extract()
        tokenizer.backend_tokenizer.model = BPE(vocab, merges, fuse_unk=True, byte_fallback=True)


def follow_llava(processor: LlavaProcessor) -> None:
    """Make the tokenizer merge as SentencePiece does, and pad pictures to a square with CLIP's mean colour.

    The processor of the published checkpoints cuts off the sides of a picture instead. Pillow resizes, as it did for
    LLaVA-1.5; torchvision rounds differently.

    Raises:
        InputError: the tokenizer is not a Llama tokenizer.
    """
    tokenizer = processor.tokenizer
    restore_merges(tokenizer)
    if "".join(tokenizer.tokenize("<s> a")) != "<s>▁a":
        problem = "its tokenizer does not add one space at the start of a text, as SentencePiece does"
        raise InputError(f"model {tokenizer.name_or_path!r}", problem, "Choose a chat template that fits the model")
    tokenizer.init_kwargs["legacy"] = getattr(tokenizer, "legacy", False)  # otherwise lost when it is saved
    processor.image_processor = LlavaImageProcessorPil.from_dict(processor.image_processor.to_dict(), do_pad=True)


def split_user(processor: LlavaProcessor) -> None:
    """Make the tokenizer read `USER` after `</s>` as `US` `ER`, as transformers before 4.34 did.

    It then put a space before the text after `</s>`, and removed it from the tokens again. A tokenizer with
    `legacy: true` still reads it so, with the space.

    The saved tokenizer is of the class TokenizersBackend: Llama's own would make its pre-tokenizer anew.

    Raises:
        InputError: the tokenizer has no such pieces.
    """
    tokenizer = processor.tokenizer
    if tokenizer.tokenize("</s>USER: ")[2] == "ER":
        return
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([Split(Regex("^US(?=ER: )"), "isolated"), backend.pre_tokenizer])
    if tokenizer.tokenize("</s>USER: ")[1:3] != ["US", "ER"]:
        problem = "it has no pieces US and ER, as Llama's have"
        raise InputError(f"model {tokenizer.name_or_path!r}", problem, "Leave split_user unset")
    kept = {name: tokenizer.init_kwargs[name] for name in ("legacy", "clean_up_tokenization_spaces")}
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
        **tokenizer.special_tokens_map,
        **kept,
    )
    processor.tokenizer.name_or_path = tokenizer.name_or_path


def pads_to_square(image_processor: Any) -> bool:
    """Whether `to_square` and `normalize` do what `image_processor` would do."""
    if not isinstance(image_processor, LlavaImageProcessorPil) or not all(getattr(image_processor, s) for s in STEPS):
        return False
    side, crop = image_processor.size["shortest_edge"], image_processor.crop_size
    return side == crop["height"] == crop["width"]


def to_square(image: Image.Image, image_processor: Any) -> Image.Image:
    """A picture in RGB, centred on a square of the mean colour, resized to the model's size."""
    if image.mode != "RGB" or "transparency" in image.info:
        colours: Any = convert_to_rgb(image, return_numpy=True)
        image = Image.fromarray(colours)
    side, resample = image_processor.size["shortest_edge"], image_processor.resample
    longest = max(image.size)
    width = longest
    if image.width > image.height:  # Pillow also starts with the rows; this skips the rows of padding
        image, width = image.resize((side, image.height), resample), side
    square = Image.new("RGB", (width, longest), tuple(int(mean * 255) for mean in image_processor.image_mean))
    square.paste(image, ((width - image.width) // 2, (longest - image.height) // 2))
    return square.resize((side, side), resample)


def normalize(pixels: torch.Tensor, image_processor: Any) -> torch.Tensor:
    """Pixels (images, 3, side, side) of 0 to 255, as float32: rescaled to 1, minus mean, divided by deviation."""
    mean, deviation = torch.tensor([image_processor.image_mean, image_processor.image_std])[..., None, None]
    return pixels.float().mul_(image_processor.rescale_factor).sub_(mean).div_(deviation)
