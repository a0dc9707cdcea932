"""Whole models: loaded with every weight from the checkpoint, saved in the layout that all readers know."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message

# Names in published LLaVA checkpoints (llava-hf/llava-1.5-7b-hf). transformers 5 has others in memory, and saves them
# where the model did not come from such a checkpoint; vLLM does not find the vision tower under those.
PUBLISHED_LAYOUT = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
# Largest difference between two runs of the same weights, relative to the largest value: rounding, and no more.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def load_complete(model_class: Any, name: str, kinds: tuple[str, ...] = (), **options: Any) -> PreTrainedModel:
    """`model_class.from_pretrained(name)` on the CPU; pickles are read by torch's weights-only load.

    Args:
        model_class: a model or auto class of transformers.
        name: folder or Hub repository.
        kinds: the `model_type` has to be one of these; transformers would try any other, too.
        options: for `from_pretrained`.

    Raises:
        InputError: nothing is there, it does not load, or weights are missing: transformers makes those up at random.
    """
    place, hint = f"model {name!r}", f"Name a folder or repository that {model_class.__name__} loads"
    try:
        if kinds and (kind := AutoConfig.from_pretrained(name).model_type) not in kinds:
            raise InputError(place, f"it is of the type {kind}, not {' or '.join(kinds)}", hint)
        model, found = model_class.from_pretrained(name, output_loading_info=True, **options)
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, EOFError, UnpicklingError, SafetensorError) as error:
        raise InputError(place, f"it does not load as {model_class.__name__} ({error})", hint) from error
    if missing := sorted(found["missing_keys"]):
        raise InputError(place, f"{len(missing)} weights are missing, among them {missing[0]!r}", hint)
    return model


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Save to `folder` as safetensors: a LLaVA in its published layout, other models in the one they came in."""
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
        return model(**inputs.to(next(model.parameters()).dtype)).logits.float()


def prove(folder: Path, inputs: Any, expected: torch.Tensor) -> float:
    """Load the model that was saved to `folder`, and compare its logits with `expected`.

    Returns:
        Largest difference, relative to the largest logit.

    Raises:
        RuntimeError: it is above `TOLERANCE`.
    """
    gc.collect()  # the model that was saved: two are not held at once
    model = load_complete(AutoModelForImageTextToText, str(folder), dtype="auto")
    difference = float((logits(model, inputs) - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE[model.dtype]:  # also refuses NaN
        raise RuntimeError(
            f"the saved model differs from what it was made of by {difference:.1e}; it stays in {folder}"
        )
    return difference


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A folder beside `out` to fill, which takes its place in the end; after an error it stays, and `out` too."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
