"""LLaVA-1.5's inputs: tokenizer and image processor for `chat_templates/llava.jinja`.

Template, tokenizer and image processor are saved with the model, so that evaluation and vLLM read the same tokens and
pixels as the training did. training/README.md compares them with LLaVA-1.5.
"""

from __future__ import annotations

from tokenizers.models import BPE
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.tokenization_utils_sentencepiece import SentencePieceExtractor

from cadvi_hub.core.errors import InputError


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
