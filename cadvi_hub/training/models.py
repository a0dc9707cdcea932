"""The base model and its processor, as a training starts from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.modeling_utils import set_zero3_state
from trl import get_peft_config, get_quantization_config
from trl.chat_template_utils import (
    get_training_chat_template,
    has_generation_markers,
    is_chat_template_stop_token_trained,
)

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.generation.processors import load_pillow_processor
from cadvi_hub.training.adapters import is_adapter
from cadvi_hub.training.checkpoints import load_whole
from cadvi_hub.training.image_texts import ImageTexts
from cadvi_hub.training.inputs import follow_llava, split_user
from cadvi_hub.training.recipe import Tuning, TuningModel
from cadvi_hub.training.revisions import hub_commit, model_digest
from cadvi_hub.training.structure import lora_targets, modules_to_save, outside_decoder, projector_names

TEMPLATES = Path(__file__).parent / "chat_templates"


def base_commit(model_args: TuningModel) -> str | None:
    """The base's commit on the Hub, or None if it is a folder; InputError as `hub_commit` raises it."""
    name = str(model_args.model_name_or_path)
    return None if Path(name).is_dir() else hub_commit(f"model {name!r}", name, "model", model_args.model_revision)


def base_digest(model_args: TuningModel) -> str | None:
    """The digest of the base if it is a folder with weights; one that is replaced in place is another base."""
    folder = Path(str(model_args.model_name_or_path))
    return model_digest(folder) if (folder / "config.json").is_file() else None


def load_base(model_args: TuningModel) -> PreTrainedModel:
    """The model to tune. `load_in_4bit` and `load_in_8bit` quantize the language model's layers and no others.

    Raises:
        InputError: it is an adapter, it does not load, weights are missing, or it has no projector.
    """
    name = str(model_args.model_name_or_path)
    if is_adapter(name):
        raise InputError(f"model {name!r}", "it is an adapter", "Merge it, or start from its base")
    try:
        outline = outline_of(name, model_args.model_revision)
        projector_names(outline)  # before gigabytes are read
        quantization: Any = get_quantization_config(model_args)
        if quantization is not None:
            quantization.llm_int8_skip_modules = outside_decoder(outline)
        return load_whole(
            name,
            revision=model_args.model_revision,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            quantization_config=quantization,
        )
    except ImportError as error:  # an attention or a quantization that is not installed
        hint = "Install what it names, or choose another attn_implementation"
        raise InputError(f"model {name!r}", f"it does not load ({error})", hint) from error


def outline_of(name: str, revision: str | None) -> PreTrainedModel:
    """The model without its weights."""
    problem, hint = "it does not load as a vision-language model", "Start from one that transformers knows"
    with loading(f"model {name!r}", problem, hint, name, revision):
        config = AutoConfig.from_pretrained(name, revision=revision, **NO_REMOTE_CODE)
        with torch.device("meta"), set_zero3_state():  # otherwise ZeRO-3 shards weights that are not there
            outline = AutoModelForImageTextToText.from_config(config, **NO_REMOTE_CODE)
    outline.name_or_path = name
    found: PreTrainedModel = outline
    return found


def check_precision(model: PreTrainedModel, args: Tuning) -> None:
    """InputError if the weights are in half precision and the computations are not in the same kind of it."""
    fitting = {torch.float16: args.fp16, torch.bfloat16: args.bf16}
    if not fitting.get(model.dtype, True):
        kind = str(model.dtype).removeprefix("torch.")
        problem = f"the model's weights are in {kind}, and {'fp16' if model.dtype == torch.float16 else 'bf16'} is off"
        raise InputError("settings, dtype", problem, "Set dtype: bfloat16 and bf16: true, or dtype: float32")


def lora_config(model_args: TuningModel, model: PreTrainedModel, commit: str | None) -> LoraConfig:
    """LoRA and whole modules, as `model_args` has the parts train, unless it names modules.

    Args:
        commit: the base's on the Hub, for the adapter's configuration.
    """
    config: Any = get_peft_config(model_args)
    config.target_modules = config.target_modules or lora_targets(model, model_args.parts)
    config.modules_to_save = config.modules_to_save or modules_to_save(model, model_args.parts) or None
    config.revision = commit
    return cast(LoraConfig, config)


def template_file(name: str) -> Path:
    """The chat template file `name`: a path, or the name of one in `chat_templates`.

    Raises:
        InputError: neither is there.
    """
    for file in (Path(name), TEMPLATES / name):
        if file.is_file():
            return file
    packaged = ", ".join(sorted(file.name for file in TEMPLATES.glob("*.jinja")))
    raise InputError(f"chat template {name!r}", "no such file", f"The package has {packaged}")


def load_processor(model_args: TuningModel, chat_template: Path | None) -> ProcessorMixin:
    """The base's processor, with a chat template that marks the assistant's tokens, the end token included.

    The template is the given file or the model's own. If its own has no marks, TRL has the same template with marks
    for many families. With `llava.jinja`, tokenizer and image processor follow LLaVA-1.5, too (`inputs.follow_llava`).

    Raises:
        InputError: the model has no processor for images and text, one that `ImageTexts` refuses, or a template that
            does not mark the end token.
    """
    name = str(model_args.model_name_or_path)
    place = f"model {name!r}"
    hint = "Save one beside it, or install what it needs"
    with loading(place, "its processor does not load", hint, name, model_args.model_revision):
        processor = load_pillow_processor(name, model_args.model_revision)
    if not all(hasattr(processor, part) for part in ("image_processor", "tokenizer")):
        raise InputError(place, "it has no processor of images and texts", "Save one beside it")
    ImageTexts(processor)  # refuses some families
    if chat_template is not None:
        processor.chat_template = chat_template.read_text(encoding="utf-8")
    hint = "Set chat_template_path to one that fits, such as llava.jinja for LLaVA-1.5"
    if processor.chat_template and not has_generation_markers(processor.chat_template):
        try:
            processor.chat_template = get_training_chat_template(processor)
        except ValueError as error:
            problem = f"its chat template does not mark the answers, and TRL has no other ({error})"
            raise InputError(place, problem, hint) from error
    if not processor.chat_template or not is_chat_template_stop_token_trained(processor):
        problem = "its chat template does not mark the answers and an end token that its tokenizer knows"
        raise InputError(place, problem, hint)
    if processor.tokenizer.pad_token is None:  # padding has no loss, whatever token it is
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    if processor.chat_template == (TEMPLATES / "llava.jinja").read_text(encoding="utf-8"):
        if not isinstance(processor, LlavaProcessor):
            raise InputError(place, "llava.jinja is the template of LLaVA-1.5", "Leave chat_template_path unset")
        follow_llava(processor)
        if model_args.split_user:
            split_user(processor)
    elif model_args.split_user:
        raise InputError(
            "settings, split_user", "only the turns of llava.jinja have USER after </s>", "Leave it unset"
        )
    found: ProcessorMixin = processor
    return found
