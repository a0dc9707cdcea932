"""The base model and its processor, as a training starts from them."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaProcessor, PreTrainedModel
from trl import get_quantization_config
from trl.chat_template_utils import is_chat_template_stop_token_trained

from cadvi_hub.errors import InputError
from cadvi_hub.training.adapters import is_adapter, projector_name
from cadvi_hub.training.settings import TuningModel

TEMPLATES = Path(__file__).parent / "chat_templates"


def load_base(model_args: TuningModel) -> PreTrainedModel:
    """The model to tune.

    Raises:
        InputError: it is an adapter, it does not load, or it has no projector.
    """
    name = str(model_args.model_name_or_path)
    if is_adapter(name):
        raise InputError(f"model {name!r}", "it is an adapter", "Merge it, or start from its base")
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            name,
            revision=model_args.model_revision,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            quantization_config=get_quantization_config(model_args),
        )
    except (OSError, ValueError) as error:
        fault = f"it does not load as a vision-language model ({error})"
        raise InputError(f"model {name!r}", fault, "Start from a model in LLaVA's layout") from error
    projector_name(model)
    return model


def template_file(name: str) -> Path:
    """The chat template file `name`: a path, or one of those in `training/chat_templates`.

    Raises:
        InputError: neither is there.
    """
    for file in (Path(name), TEMPLATES / name):
        if file.is_file():
            return file
    packaged = ", ".join(sorted(file.name for file in TEMPLATES.glob("*.jinja")))
    raise InputError(f"chat template {name!r}", "no such file", f"The package has {packaged}")


def load_processor(model_args: TuningModel, chat_template: Path | None) -> LlavaProcessor:
    """The base's processor, with the chat template of a file if one is given.

    Raises:
        InputError: the model has no processor, or its template does not teach when to stop: answers with their
            end token stand between `{% generation %}` marks.
    """
    name = str(model_args.model_name_or_path)
    processor = AutoProcessor.from_pretrained(name, revision=model_args.model_revision)
    if not isinstance(processor, LlavaProcessor):
        raise InputError(f"model {name!r}", "it has no LlavaProcessor", "Save one beside it")
    if chat_template is not None:
        processor.chat_template = chat_template.read_text(encoding="utf-8")
    if not processor.chat_template or not is_chat_template_stop_token_trained(processor):
        fault = "its chat template does not mark the answers and an end token that its tokenizer knows"
        raise InputError(f"model {name!r}", fault, "Set chat_template_path to one that fits, such as llava.jinja")
    return processor
