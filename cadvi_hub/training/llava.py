"""LLaVA-1.5 assembled from Vicuna, CLIP and the projector of LLaVA's first stage: the paper's starting point.

As in the models that llava-hf published, `<image>` and `<pad>` are tokens, and the number of embeddings is a multiple
of 64 (32,064 for Vicuna). The processor pads pictures to a square, as LLaVA-1.5's own training did.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import gelu, linear
from transformers import (
    AddedToken,
    AutoTokenizer,
    CLIPVisionModel,
    GenerationConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.utils.hub import cached_file

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.core.output import replacing_output
from cadvi_hub.training.checkpoints import load_complete, probe, prove, save_model
from cadvi_hub.training.inputs import follow_llava
from cadvi_hub.training.models import template_file
from cadvi_hub.training.settings import AssembleSettings

PROJECTOR_FILES = ("mm_projector.safetensors", "mm_projector.bin")
# LLaVA's `mlp2x_gelu` is an nn.Sequential of two linear layers with a GELU between them; transformers names them.
PROJECTOR_KEYS = {
    "model.mm_projector.0.weight": "linear_1.weight",
    "model.mm_projector.0.bias": "linear_1.bias",
    "model.mm_projector.2.weight": "linear_2.weight",
    "model.mm_projector.2.bias": "linear_2.bias",
}
FEATURE_LAYER = -2  # LLaVA-1.5's mm_vision_select_layer
ROWS_MULTIPLE = 64


def projector_file(name: str) -> Path:
    """The projector's file: `name` itself, or a file in the folder or repository `name`.

    Raises:
        InputError: there is none.
    """
    if Path(name).is_file():
        return Path(name)
    hint = f"Name the file, or a folder or repository with {' or '.join(PROJECTOR_FILES)}"
    try:
        for file in PROJECTOR_FILES:
            if found := cached_file(name, file, _raise_exceptions_for_missing_entries=False):
                return Path(found)
    except (OSError, ValueError) as error:
        raise InputError(f"projector {name!r}", f"it is not found ({error})", hint) from error
    raise InputError(f"projector {name!r}", "it has no projector", hint)


def read_projector(file: Path) -> dict[str, torch.Tensor]:
    """The weights in `file`, renamed from LLaVA's names to those of transformers (`PROJECTOR_KEYS`).

    A pickle never runs code: torch only reads tensors from it.

    Raises:
        InputError: no tensors can be read, or they are not the two layers of LLaVA-1.5's projector.
    """
    hint = "Use the mm_projector.bin of LLaVA-1.5's first stage"
    try:
        if file.suffix == ".safetensors":
            stored = load_file(file)
        else:
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, OSError) as error:
        problem = f"it is broken, or holds something other than tensors ({' '.join(str(error).split())[:200]})"
        raise InputError(str(file), problem, hint) from error
    if not isinstance(stored, dict) or not all(isinstance(weight, torch.Tensor) for weight in stored.values()):
        raise InputError(str(file), "it does not map names to tensors", hint)
    if set(stored) != set(PROJECTOR_KEYS):
        found = ", ".join(sorted(map(str, stored))[:8]) or "nothing"
        raise InputError(str(file), f"it holds {found} instead of {', '.join(PROJECTOR_KEYS)}", hint)
    return {PROJECTOR_KEYS[key]: weight for key, weight in stored.items()}


def check_sizes(file: Path, projector: dict[str, torch.Tensor], vision_size: int, text_size: int) -> None:
    """Check that the projector fits the vision tower and the language model.

    Raises:
        InputError: a weight has another shape.
    """
    shapes = {
        "linear_1.weight": (text_size, vision_size),
        "linear_1.bias": (text_size,),
        "linear_2.weight": (text_size, text_size),
        "linear_2.bias": (text_size,),
    }
    for name, shape in shapes.items():
        if (found := tuple(projector[name].shape)) != shape:
            problem = f"its {name} has shape {found}, but these parts need {shape}"
            raise InputError(str(file), problem, "Use the projector of this language model and this vision tower")


def make_processor(language_model: str, vision_tower: str, patch_size: int) -> LlavaProcessor:
    """The tokenizer with `<image>` and `<pad>`, the vision tower's image processor with square padding, our template.

    Raises:
        InputError: one of them does not load, or the tokenizer lacks the template's tokens.
    """
    problem, hint = "it does not load", "Put its files beside the weights"
    with loading(f"tokenizer of {language_model!r}", problem, hint, language_model):
        tokenizer = AutoTokenizer.from_pretrained(language_model, **NO_REMOTE_CODE)
    with loading(f"image processor of {vision_tower!r}", problem, hint, vision_tower):
        image_processor = LlavaImageProcessorPil.from_pretrained(vision_tower)
    if (ends := (tokenizer.bos_token, tokenizer.eos_token)) != ("<s>", "</s>"):
        problem = f"texts begin and end with {ends}, but LLaVA-1.5 needs <s> and </s>"
        raise InputError(f"tokenizer of {language_model!r}", problem, "Use Vicuna-1.5")
    image, pad = (AddedToken(token, special=True, normalized=False) for token in ("<image>", "<pad>"))
    tokenizer.add_tokens(image, special_tokens=True)
    tokenizer.add_special_tokens({"pad_token": pad})
    processor = LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which "default" removes again
        chat_template=template_file("llava.jinja").read_text(encoding="utf-8"),
    )
    follow_llava(processor)  # now, because the saved files no longer have SentencePiece's order
    return processor


def add_rows(language: Any, tokens: int) -> None:
    """Grow the embeddings to at least `tokens` rows, a multiple of 64. Each new row is the mean of the old rows.

    This way no new token gets the largest logit. (llava-hf drew the new rows at random.)
    """
    old = language.get_input_embeddings().weight.shape[0]
    language.resize_token_embeddings(max(old, tokens), pad_to_multiple_of=ROWS_MULTIPLE, mean_resizing=False)
    for embedding in (language.get_input_embeddings(), language.get_output_embeddings()):
        embedding.weight.data[old:] = embedding.weight.data[:old].float().mean(0).to(embedding.weight.dtype)


def join(
    language: LlamaForCausalLM, vision: CLIPVisionModel, projector: dict[str, torch.Tensor], processor: LlavaProcessor
) -> LlavaForConditionalGeneration:
    """A LLaVA that shares the weights of its parts, without copies."""
    tokenizer, picture = processor.tokenizer, cast(Any, vision.config)
    language.config.pad_token_id = tokenizer.pad_token_id
    language.config.name_or_path = vision.config.name_or_path = ""  # keeps local paths out of the saved file
    config = LlavaConfig(
        text_config=language.config,
        vision_config=vision.config,
        image_token_index=processor.image_token_id,
        image_seq_length=(picture.image_size // picture.patch_size) ** 2,
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=language.config.tie_word_embeddings,
    )
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    model.model.language_model, model.lm_head, model.model.vision_tower = language.model, language.lm_head, vision
    model.model.multi_modal_projector.load_state_dict(projector, assign=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def logits_of_parts(
    language: LlamaForCausalLM, vision: CLIPVisionModel, projector: dict[str, torch.Tensor], inputs: Any, image: int
) -> torch.Tensor:
    """Logits (1, tokens, vocabulary) as LLaVA computes them: image features replace the token `image`."""
    states = vision(inputs["pixel_values"].to(vision.dtype), output_hidden_states=True).hidden_states[FEATURE_LAYER]
    patches = states[:, 1:]  # without the class token
    hidden = gelu(linear(patches, projector["linear_1.weight"], projector["linear_1.bias"]))
    features = linear(hidden, projector["linear_2.weight"], projector["linear_2.bias"])
    embedded = language.get_input_embeddings()(inputs["input_ids"])
    embedded[inputs["input_ids"] == image] = features.flatten(0, 1)
    logits: torch.Tensor = language(inputs_embeds=embedded).logits.float()
    return logits


@torch.no_grad()
def assemble(language_model: str, vision_tower: str, projector: str, out: Path) -> float:
    """Save the LLaVA of these parts to `out`, in the language model's dtype, and check that it computes the same.

    Each weight is in memory once: the parts are freed before the saved model is loaded.

    Returns:
        Largest difference between a logit of the model and of its parts, relative to the largest logit.

    Raises:
        InputError: a part is missing, broken or of another size, or `out` is not empty.
        RuntimeError: the saved model gives other logits (`checkpoints.TOLERANCE`).
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(str(out), "it is not empty", "Choose a new folder, or remove it")
    file = projector_file(projector)
    between = read_projector(file)
    language = load_complete(LlamaForCausalLM, language_model, ("llama",), dtype="auto")
    vision = load_complete(CLIPVisionModel, vision_tower, ("clip", "clip_vision_model"), dtype=language.dtype)
    check_sizes(file, between, vision.config.hidden_size, language.config.hidden_size)
    between = {name: weight.to(language.dtype) for name, weight in between.items()}
    processor = make_processor(language_model, vision_tower, cast(int, vision.config.patch_size))
    add_rows(language, len(processor.tokenizer))
    inputs = probe(processor)
    expected = logits_of_parts(language, vision, between, inputs, processor.image_token_id)
    with replacing_output(out, "cadvi assemble") as partial:
        save_model(join(language, vision, between, processor), partial)
        processor.save_pretrained(partial)
        del language, vision, between
        return prove(partial, inputs, expected)


def assemble_model(settings: AssembleSettings) -> str:
    """The command `cadvi assemble`."""
    difference = assemble(settings.language_model, settings.vision_tower, settings.projector, settings.out)
    return f"{settings.out}: largest difference to its parts {difference:.2e}"
