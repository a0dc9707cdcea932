"""LoRA on the language model, the projector in full: where they go in a model, and how they merge into it.

A folder holds an adapter when it has `adapter_config.json` (PEFT's layout), whatever its name is.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from PIL import Image
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from cadvi_hub.errors import InputError
from cadvi_hub.schema import message

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Largest difference of the logits after a merge, relative to the largest logit: rounding, and no more.
MERGE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds an adapter and no whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def _name_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def projector_name(model: PreTrainedModel) -> str:
    """Name of the module between vision tower and language model (`multi_modal_projector` in LLaVA).

    It is the one child of the multimodal body that has weights and is neither of the two.

    Raises:
        InputError: the model has no such child, or several.
    """
    towers = {id(model.get_decoder()), id(model.get_encoder("image"))}
    between = [
        name
        for name, child in model.base_model.named_children()
        if id(child) not in towers and next(child.parameters(), None) is not None
    ]
    if len(between) != 1 or id(model) in towers:
        raise InputError(
            f"model {model.name_or_path!r} ({type(model).__name__})",
            f"it needs one projector between vision tower and language model, and has {between or 'none'}",
            "Start from a model in LLaVA's layout",
        )
    return between[0]


def lora_targets(model: PreTrainedModel) -> str:
    """Regular expression that matches every linear layer of the language model and none of the vision tower."""
    decoder = model.get_decoder()
    leaves = {
        name.rpartition(".")[2] for name, module in decoder.named_modules() if isinstance(module, torch.nn.Linear)
    }
    return rf"{re.escape(_name_of(model, decoder))}\..*\.({'|'.join(sorted(leaves))})"


def check_trainable(model: PeftModel) -> None:
    """Check what an adapter trains: layers of the language model by LoRA, the whole projector, nothing else.

    Raises:
        InputError: weights of the vision tower would train, or the projector would not.
    """
    base: PreTrainedModel = cast(Any, model).get_base_model()
    decoder, projector = _name_of(base, base.get_decoder()), projector_name(base)
    trainable = {name for name, weight in base.named_parameters() if weight.requires_grad}
    lora = {name for name in trainable if name.startswith(f"{decoder}.") and ".lora_" in name}
    projection = {name for name in trainable if f"{projector}.modules_to_save." in name}
    place = f"adapter on {base.name_or_path!r}"
    mend = "Leave lora_target_modules and lora_modules_to_save unset"
    if stray := sorted(trainable - lora - projection):
        raise InputError(place, f"{len(stray)} weights would train that must not, among them {stray[0]!r}", mend)
    if not lora or not projection:
        missing = "the language model" if not lora else f"the projector {projector!r}"
        raise InputError(place, f"{missing} would not train", mend)


def load_adapted(adapter: Path) -> PeftModel:
    """The base model that `adapter` names, with the adapter on it, in the base's dtype, ready to run.

    Raises:
        InputError: no adapter is there, its base cannot be loaded, or the base does not fit it.
    """
    if not is_adapter(adapter) or not (adapter / ADAPTER_WEIGHTS).is_file():
        raise InputError(str(adapter), "no adapter is there", f"Name a folder with {ADAPTER_CONFIG} and its weights")
    config = PeftConfig.from_pretrained(str(adapter))
    base_name, mend = str(config.base_model_name_or_path), "Put the base there that the adapter was trained on"
    try:
        base = AutoModelForImageTextToText.from_pretrained(base_name, revision=config.revision, dtype="auto")
    except (OSError, ValueError) as error:
        raise InputError(str(adapter), f"its base {base_name!r} does not load ({error})", mend) from error
    misfit = InputError(str(adapter), f"its weights do not fit the base {base_name!r}", mend)
    try:
        adapted = PeftModel.from_pretrained(base, str(adapter), is_trainable=False)
        with safe_open(str(adapter / ADAPTER_WEIGHTS), framework="pt") as weights:
            stored = set(weights.keys())
    except (RuntimeError, ValueError) as error:  # sizes differ, or the target modules are not there
        raise misfit from error
    except SafetensorError as error:
        raise InputError(str(adapter / ADAPTER_WEIGHTS), f"broken file ({error})", "Train it again") from error
    if stored != set(get_peft_model_state_dict(adapted)):  # PEFT only warns
        raise misfit
    return adapted.eval()


def _probe(processor: ProcessorMixin) -> Any:
    """Model inputs of a short question about two pictures."""
    pictures = [Image.linear_gradient("L").convert("RGB"), Image.new("RGB", (64, 48), "red")]
    prompt = processor.apply_chat_template(
        [message("user", "<image> and <image>: what differs?"), message("assistant", "The colour.")]
    )
    return processor(text=prompt, images=pictures, return_tensors="pt", add_special_tokens=False)


def _logits(model: torch.nn.Module, inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs.to(next(model.parameters()).dtype)).logits.float()


def merge(adapter: Path, out: Path) -> float:
    """Add the adapter to its base, save model and processor to `out` (safetensors), and prove that both agree.

    `out` is replaced at once, after the saved model was loaded again and gave the adapter's logits on two pictures.

    Returns:
        Largest difference of the logits, relative to the largest logit.

    Raises:
        InputError: the adapter or its base is missing, broken, or does not fit.
        RuntimeError: the merged model answers differently (`MERGE_TOLERANCE`).
    """
    adapted = load_adapted(adapter)
    processor = AutoProcessor.from_pretrained(adapter)
    inputs = _probe(processor)
    expected = _logits(adapted, inputs)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    merged = adapted.merge_and_unload()
    merged.save_pretrained(partial)
    processor.save_pretrained(partial)
    del adapted, merged
    reloaded = AutoModelForImageTextToText.from_pretrained(partial, dtype="auto").eval()
    difference = float((_logits(reloaded, inputs) - expected).abs().max() / expected.abs().max())
    if not difference <= MERGE_TOLERANCE[reloaded.dtype]:  # also refuses NaN
        raise RuntimeError(f"merged model differs from its adapter by {difference:.1e}; it stays in {partial}")
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
    return difference
