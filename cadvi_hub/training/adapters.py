"""Adapters (LoRA on the language model, and the whole projector): find, load, and merge them into the base.

A folder holds an adapter if it has an `adapter_config.json` (PEFT's layout).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoProcessor, ProcessorMixin
from transformers.utils import find_adapter_config_file

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.core.output import replacing_output
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.settings import Dtype
from cadvi_hub.hub.model_card import ADAPTER_CONFIG, TRAINING_LOG
from cadvi_hub.training.checkpoints import load_whole, logits, probe, prove, save_model
from cadvi_hub.training.rendering import end_token, end_with
from cadvi_hub.training.revisions import model_digest
from cadvi_hub.training.settings import MergeSettings

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: str | Path) -> bool:
    """Whether `folder` holds an adapter instead of a whole model."""
    return (Path(folder) / ADAPTER_CONFIG).is_file()


def names_adapter(name: str) -> bool:
    """Whether `name`, a folder or a repository on the Hub, holds an adapter instead of a whole model."""
    if Path(name).is_dir():
        return is_adapter(name)
    try:
        return find_adapter_config_file(name) is not None
    except OSError:  # not a valid name on the Hub
        return False


def fetch_adapter(name: str) -> Path:
    """The folder `name`, or a copy of the Hub repository `name`.

    Raises:
        InputError: neither exists.
    """
    if Path(name).is_dir():
        return Path(name)
    try:  # without folders: those hold a training's checkpoints
        return Path(snapshot_download(name, ignore_patterns=["*/*"]))
    except (OSError, ValueError) as error:  # the Hub raises both
        problem = f"no such folder, and no repository on the Hub ({error})"
        raise InputError(f"adapter {name!r}", problem, "Name one that holds an adapter") from error


def load_adapted(adapter: Path, dtype: str = "auto") -> PeftModel:
    """The base model that `adapter` names, with the adapter on it, ready to run.

    Args:
        adapter: folder of the adapter.
        dtype: of the weights; "auto" is the base's.

    Raises:
        InputError: no adapter is there, its base cannot be loaded, or the base does not fit it.
    """
    if not is_adapter(adapter) or not (adapter / ADAPTER_WEIGHTS).is_file():
        raise InputError(str(adapter), "it holds no adapter", f"Name a folder with {ADAPTER_CONFIG} and its weights")
    place, problem = str(adapter / ADAPTER_CONFIG), "it is not the configuration of an adapter"
    with loading(place, problem, "Train it again", adapter):
        config = PeftConfig.from_pretrained(str(adapter))
    base_name, hint = str(config.base_model_name_or_path), "Provide the base that the adapter was trained on"
    trained_on, is_folder = _base_revision(adapter), Path(base_name).is_dir()
    if trained_on.startswith("sha256:") and not is_folder:
        hint = "It was a folder: run this where the adapter was trained, or put the base there"
    try:
        base = load_whole(base_name, revision=config.revision, dtype=dtype)
    except InputError as error:
        raise InputError(str(adapter), f"its base {base_name!r} does not load: {error.problem}", hint) from error
    if trained_on.startswith("sha256:") and is_folder and model_digest(Path(base_name)) != trained_on:
        problem = f"its base {base_name!r} is not the one it was trained on; other weights are there now"
        raise InputError(str(adapter), problem, hint)
    broken = loading(str(adapter / ADAPTER_WEIGHTS), "broken file", "Train it again", adapter)
    misfit = InputError(str(adapter), f"its weights do not fit the base {base_name!r}", hint)
    try:
        with broken, safe_open(str(adapter / ADAPTER_WEIGHTS), framework="pt") as weights:
            stored = set(weights.keys())
        adapted = PeftModel.from_pretrained(base, str(adapter), is_trainable=False)
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:  # sizes differ, or target modules are missing
        raise misfit from error
    if stored != set(get_peft_model_state_dict(adapted)):  # PEFT would only warn
        raise misfit
    adapted.eval()
    return adapted


def _base_revision(adapter: Path) -> str:
    """The revision of the base that the log of the training names; "" if there is no log."""
    log = adapter / TRAINING_LOG
    settings = read_json(log, "Remove it").get("settings") if log.is_file() else None
    return str(settings.get("base_revision") or "") if isinstance(settings, dict) else ""


def load_processor(adapter: Path) -> ProcessorMixin:
    """The processor that the adapter was trained with, from the adapter's own folder.

    Raises:
        InputError: there is none, or it has no chat template.
    """
    hint = "Save the processor of the training beside the adapter"
    with loading(str(adapter), "its processor does not load", hint, adapter):  # not with backend="pil", as
        processor: Any = AutoProcessor.from_pretrained(adapter, **NO_REMOTE_CODE)  # `load_pillow_processor` explains
    if not getattr(processor, "chat_template", None):
        raise InputError(str(adapter), "its processor has no chat template", hint)
    found: ProcessorMixin = processor
    return found


def merge(
    adapter: Path,
    out: Path,
    records: Iterable[Path] = (),
    former: Callable[[Path], Iterable[str]] = lambda _: (),
    dtype: str = "auto",
) -> float:
    """Add the adapter to its base, save model and processor to `out` as safetensors, and check the result.

    The check loads the saved model again: it must give the adapter's logits on two pictures. Only then is `out`
    replaced, in one step. Only one model is in memory: layers are merged in place, and freed before the saved model is
    loaded. The merged model stops at the token that ends the answers of the chat template.

    Args:
        adapter: folder of the adapter.
        out: a new folder, or one that holds nothing but a merged model of this command.
        records: files to copy into `out`.
        former: the files of a merged model in `out` that was written before there were records (`core/output.py`).
        dtype: of the merged model; "auto" is the base's.

    Returns:
        Largest difference of the logits, relative to the largest logit.

    Raises:
        InputError: the adapter or its base is missing, broken, does not fit, or gives no finite numbers; or `out` is
            one of them, has files of others, or is written by another process.
        RuntimeError: the merged model gives other logits (`checkpoints.TOLERANCE`).
    """
    if adapter.resolve().is_relative_to(out.resolve()):
        raise InputError(str(out), f"the merged model would replace {adapter}", "Choose another folder")
    with replacing_output(out, "cadvi merge", former) as partial:
        adapted, processor = load_adapted(adapter, dtype), load_processor(adapter)
        base = Path(str(adapted.peft_config["default"].base_model_name_or_path))
        if base.exists() and base.resolve().is_relative_to(out.resolve()):
            raise InputError(str(out), f"the merged model would replace {base}", "Choose another folder")
        inputs = probe(processor)
        expected = logits(adapted, inputs)
        if not expected.isfinite().all():
            kind = str(next(adapted.parameters()).dtype).removeprefix("torch.")
            hint = "Set dtype: bfloat16 or float32" if kind == "float16" else "Train it again"
            problem = f"with its base in {kind} it gives numbers that are not finite"
            raise InputError(str(adapter), problem + (", which overflow" if kind == "float16" else ""), hint)
        end_with(adapted, end_token(processor))
        save_model(adapted.merge_and_unload(), partial)
        processor.save_pretrained(partial)
        for record in records:
            shutil.copy(record, partial)
        del adapted
        return prove(partial, inputs, expected)


def merge_adapter(settings: MergeSettings) -> str:
    """The command `cadvi merge`. The merged model keeps the record of the training, for its card."""
    adapter = fetch_adapter(settings.adapter)
    record = adapter / TRAINING_LOG
    records = [record] if record.is_file() else []
    difference = merge(adapter, settings.out, records, dtype=settings.dtype)
    return f"{settings.out}: largest difference of a logit {difference:.2e}"


def local_model(model: str, batch_size: int = 16, dtype: Dtype = "auto") -> LocalGenerator:
    """The model of a folder or Hub repo id; an adapter is merged, checked, and loaded from a temporary folder."""
    if not names_adapter(model):
        return LocalGenerator(model, batch_size=batch_size, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder, *Path(model).resolve().parts[-2:])  # the model goes by these names
        merge(fetch_adapter(model), merged, dtype=dtype)
        generator = LocalGenerator(str(merged), batch_size=batch_size)
        generator.load()
    return generator
