"""Whole models: loaded with every weight from the checkpoint, saved in the layout that all readers know."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.core.schema import message

Model = TypeVar("Model", bound=PreTrainedModel)
# Names in published LLaVA checkpoints (llava-hf/llava-1.5-7b-hf). transformers 5 uses other names in memory, and also
# saves them if the model did not come from such a checkpoint. vLLM then does not find the vision tower.
PUBLISHED_LAYOUT = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
# Largest difference that rounding explains between two runs of the same weights, relative to the largest value.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def load_complete(model_class: type[Model], name: str, kinds: tuple[str, ...] = (), **options: Any) -> Model:
    """`model_class.from_pretrained(name)` on the CPU. Pickles are read by torch's weights-only load.

    Args:
        model_class: a model class of transformers; `load_whole` takes the class from the configuration.
        name: folder or Hub repository.
        kinds: the allowed values of `model_type`; transformers would try any other, too.
        options: for `from_pretrained`.

    Raises:
        InputError: it is not found, it does not load, or weights are missing (transformers draws those at random).
    """
    place, hint = f"model {name!r}", f"Name a folder or repository that {model_class.__name__} loads"
    with loading(place, f"it does not load as {model_class.__name__}", hint, name, options.get("revision")):
        if kinds and (kind := AutoConfig.from_pretrained(name, **NO_REMOTE_CODE).model_type) not in kinds:
            raise InputError(place, f"it is of the type {kind}, not {' or '.join(kinds)}", hint)
        options |= NO_REMOTE_CODE
        loaded: Any = model_class.from_pretrained(name, output_loading_info=True, **options)
    model: Model = loaded[0]
    if missing := sorted(loaded[1]["missing_keys"]):
        raise InputError(place, f"{len(missing)} weights are missing, among them {missing[0]!r}", hint)
    return model


def load_whole(name: str, **options: Any) -> PreTrainedModel:
    """The vision-language model `name`, of the class that its configuration names; errors as `load_complete`."""
    auto_class: Any = AutoModelForImageTextToText
    model: PreTrainedModel = load_complete(auto_class, name, **options)
    return model


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Save to `folder` as safetensors: a LLaVA in its published layout, any other model in the layout it came in."""
    config = model.config
    if config.model_type != "llava" or config.vision_config.model_type != "clip_vision_model":
        model.save_pretrained(folder)
        return
    weights = {}
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        prefix = next(prefix for prefix in PUBLISHED_LAYOUT if name.startswith(prefix))
        weights[PUBLISHED_LAYOUT[prefix] + name.removeprefix(prefix)] = weight
    model.save_pretrained(folder, state_dict=weights, save_original_format=False)


def probe(processor: ProcessorMixin) -> Any:
    """Model inputs of a short question about two pictures."""
    pictures = [Image.linear_gradient("L").convert("RGB"), Image.new("RGB", (64, 48), "red")]
    prompt = processor.apply_chat_template(
        [message("user", "<image> and <image>: what differs?"), message("assistant", "The colour.")]
    )
    return processor(text=prompt, images=pictures, return_tensors="pt", add_special_tokens=False)


def logits(model: torch.nn.Module, inputs: Any) -> torch.Tensor:
    """Logits in float32 (1, tokens, vocabulary)."""
    with torch.no_grad():
        found: torch.Tensor = model(**inputs.to(next(model.parameters()).dtype)).logits.float()
    return found


def prove(folder: Path, inputs: Any, expected: torch.Tensor) -> float:
    """Load the model in `folder`, and compare its logits with `expected`.

    Returns:
        Largest difference, relative to the largest logit.

    Raises:
        RuntimeError: it is above `TOLERANCE`.
    """
    gc.collect()  # frees the model that was saved, so that only one is in memory
    model = load_whole(str(folder), dtype="auto")
    difference = float((logits(model, inputs) - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE[model.dtype]:  # also refuses NaN
        raise RuntimeError(
            f"the saved model differs from its parts by {difference:.1e}. It stays in {folder} for inspection"
        )
    return difference
