"""Adapters, LoRA on the language model and the whole projector: how they are found, loaded and merged into the base.

A folder holds an adapter when it has `adapter_config.json` (PEFT's layout), whatever its name is.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, ProcessorMixin
from transformers.utils import find_adapter_config_file

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.checkpoints import load_complete, logits, probe, prove, replacing, save_model

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds an adapter and no whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def names_adapter(name: str) -> bool:
    """Whether `name`, a folder or a repository on the Hub, holds an adapter and no whole model."""
    if Path(name).is_dir():
        return is_adapter(name)
    try:
        return find_adapter_config_file(name) is not None
    except OSError:  # no name that the Hub could have
        return False


def fetch_adapter(name: str) -> Path:
    """The folder `name`, or a copy of the Hub repository `name`.

    Raises:
        InputError: neither is there.
    """
    if Path(name).is_dir():
        return Path(name)
    try:  # the model's files alone: a training's checkpoints lie in folders of their own
        return Path(snapshot_download(name, ignore_patterns=["*/*"]))
    except (OSError, ValueError) as error:  # the Hub's errors are of both kinds
        problem = f"no such folder, and no repository on the Hub ({error})"
        raise InputError(f"adapter {name!r}", problem, "Name one that holds an adapter") from error


def load_adapted(adapter: Path) -> PeftModel:
    """The base model that `adapter` names, with the adapter on it, in the base's dtype, ready to run.

    Raises:
        InputError: no adapter is there, its base cannot be loaded, or the base does not fit it.
    """
    if not is_adapter(adapter) or not (adapter / ADAPTER_WEIGHTS).is_file():
        raise InputError(str(adapter), "no adapter is there", f"Name a folder with {ADAPTER_CONFIG} and its weights")
    try:
        config = PeftConfig.from_pretrained(str(adapter))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(str(adapter / ADAPTER_CONFIG), f"it is no adapter's ({error})", "Train it again") from error
    base_name, hint = str(config.base_model_name_or_path), "Put the base there that the adapter was trained on"
    try:
        base = load_complete(AutoModelForImageTextToText, base_name, revision=config.revision, dtype="auto")
    except InputError as error:
        raise InputError(str(adapter), f"its base {base_name!r} is not there: {error.problem}", hint) from error
    misfit = InputError(str(adapter), f"its weights do not fit the base {base_name!r}", hint)
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


def load_processor(adapter: Path) -> ProcessorMixin:
    """The processor that the adapter was trained with, from the adapter's own folder.

    Raises:
        InputError: none is there, or it has no chat template.
    """
    hint = "Save the processor beside the adapter that it was trained with"
    try:
        processor = AutoProcessor.from_pretrained(adapter)  # not with backend="pil": see `load_pillow_processor`
    except (OSError, ValueError) as error:
        raise InputError(str(adapter), f"no processor is there ({error})", hint) from error
    if not getattr(processor, "chat_template", None):
        raise InputError(str(adapter), "its processor has no chat template", hint)
    return processor


def merge(adapter: Path, out: Path) -> float:
    """Add the adapter to its base, save model and processor to `out` (safetensors), and prove that both agree.

    `out` is replaced at once, after the saved model was loaded again and gave the adapter's logits on two pictures.
    Memory holds one model: layers are merged where they are, and given up before the saved model is loaded.

    Returns:
        Largest difference of the logits, relative to the largest logit.

    Raises:
        InputError: the adapter or its base is missing, broken, or does not fit, or `out` is one of them.
        RuntimeError: the merged model answers differently (`checkpoints.TOLERANCE`).
    """
    adapted, processor = load_adapted(adapter), load_processor(adapter)
    base = Path(str(adapted.peft_config["default"].base_model_name_or_path))
    for part in (adapter, base):
        if part.exists() and part.resolve().is_relative_to(out.resolve()):
            raise InputError(str(out), f"the merged model would replace {part}", "Name another folder")
    inputs = probe(processor)
    expected = logits(adapted, inputs)
    with replacing(out) as partial:
        save_model(adapted.merge_and_unload(), partial)
        processor.save_pretrained(partial)
        del adapted
        return prove(partial, inputs, expected)
