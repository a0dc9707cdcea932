"""LLaVA-1.5's inputs: what `chat_templates/llava.jinja` needs of a tokenizer and an image processor.

Template, tokenizer and image processor are saved with the model, so that evaluation and vLLM read the same tokens and
pixels as the training did. See README.md for what LLaVA-1.5 did.
"""

from __future__ import annotations

from tokenizers.models import BPE
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.tokenization_utils_sentencepiece import SentencePieceExtractor

from cadvi_hub.core.errors import InputError


def restore_merges(tokenizer: PreTrainedTokenizerFast) -> None:
    """Merge pieces in SentencePiece's order, by their scores, in a tokenizer that was read from `tokenizer.model`.

    transformers takes the order of the vocabulary instead. It differs for runs of spaces, which SentencePiece merges
    last: `a  b` is `▁a ▁ ▁b`, and would be `▁a ▁▁ b`. Vicuna comes without the `tokenizer.json` that has it right.
    """
    file = getattr(tokenizer, "vocab_file", None)
    if isinstance(tokenizer.backend_tokenizer.model, BPE) and str(file).endswith(".model"):
        vocab, _, merges = SentencePieceExtractor(str(file)).extract()
        tokenizer.backend_tokenizer.model = BPE(vocab, merges, fuse_unk=True, byte_fallback=True)


def follow_llava(processor: LlavaProcessor) -> None:
    """Make the tokenizer merge as SentencePiece does, and pad pictures to a square of CLIP's mean colour.

    The processor of the published checkpoints cuts the sides of a picture off instead. Pillow resizes, as it did for
    LLaVA-1.5; torchvision rounds otherwise.

    Raises:
        InputError: the tokenizer is not a Llama tokenizer.
    """
    tokenizer = processor.tokenizer
    restore_merges(tokenizer)
    if "".join(tokenizer.tokenize("<s> a")) != "<s>▁a":
        problem = "its tokenizer does not read texts as SentencePiece does, one space at the start"
        raise InputError(f"model {tokenizer.name_or_path!r}", problem, "Choose a chat template that fits the model")
    tokenizer.init_kwargs["legacy"] = getattr(tokenizer, "legacy", False)  # would get lost when it is saved
    processor.image_processor = LlavaImageProcessorPil.from_dict(processor.image_processor.to_dict(), do_pad=True)
