"""Tune a LLaVA on images and messages: LoRA on the language model, the projector in full (paper, section 3.1).

    accelerate launch -m cadvi_hub.training.sft --config recipe.yaml [--learning_rate 5e-5 …]

The recipe's keys are the fields of `DataArguments`, `TuningConfig` (TRL's SFTConfig) and `TuningModel` (TRL's
ModelConfig); the command line wins over the file. `output_dir` gets the adapter with its processor, `training.json`
(rows, settings, loss curve) and `merged/`, the model that loads without PEFT.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin
from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config, get_quantization_config

from cadvi_hub.errors import InputError
from cadvi_hub.training.adapters import check_trainable, is_adapter, lora_targets, merge, projector_name
from cadvi_hub.training.mixture import Mixture, load_mixture

TEMPLATES = Path(__file__).parent / "chat_templates"


@dataclass
class DataArguments:
    """What to train on.

    Attributes:
        mixture: the sources, `{name: {path, config, revision, repeats, max_rows}}` (JSON on the command line).
        max_tokens: longest row, image tokens included; longer rows are dropped and counted, never cut.
    """

    mixture: dict[str, Any] | str = field(default_factory=dict)
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if isinstance(self.mixture, str):
            self.mixture = json.loads(self.mixture)


@dataclass
class TuningConfig(SFTConfig):
    """TRL's settings with this method's defaults.

    Attributes:
        projector_lr: peak learning rate of the projector; `learning_rate` is LoRA's.
        learning_rate: the released recipe's rate for LoRA.
        assistant_only_loss: loss on what the assistant says, in every turn, end token included.
        max_length: must stay unset, since TRL would cut image tokens away; `DataArguments.max_tokens` drops instead.
        chat_template_path: a file, or the name of one in `cadvi_hub/training/chat_templates`; the model's own if unset.
    """

    projector_lr: float = 2e-5
    learning_rate: float = 1e-4
    assistant_only_loss: bool = True
    max_length: int | None = None


@dataclass
class TuningModel(ModelConfig):
    """TRL's model settings with this method's defaults.

    Attributes:
        use_peft: LoRA and projector; this script has no other way to train.
        lora_r: rank of LoRA in the released recipe.
        lora_alpha: scale of LoRA in the released recipe.
    """

    use_peft: bool = True
    lora_r: int = 128
    lora_alpha: int = 256


class TuningTrainer(SFTTrainer):
    """TRL's trainer, with the projector in optimizer groups at its own rate."""

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(model)
        named = (model or self.model).named_parameters()
        projector = {id(weight) for name, weight in named if ".modules_to_save." in name}
        groups = []
        for group in optimizer.param_groups:
            for own_rate in (False, True):
                weights = [weight for weight in group["params"] if (id(weight) in projector) == own_rate]
                rate = self.args.projector_lr if own_rate else group["lr"]
                groups += [{**group, "params": weights, "lr": rate}] if weights else []
        optimizer.param_groups[:] = groups
        return optimizer


def parse(argv: list[str] | None = None) -> tuple[DataArguments, TuningConfig, TuningModel]:
    """Settings from `--config FILE.yaml` and the command line, which wins.

    Raises:
        InputError: the file is missing or no mapping, or a key or value in it is unknown.
    """
    parser = TrlParser((DataArguments, TuningConfig, TuningModel), prog="cadvi_hub.training.sft")
    try:
        return parser.parse_args_and_config(argv)
    except (ValueError, TypeError, OSError) as error:
        raise InputError("settings", str(error), "See --help for every key") from error


def load_base(model_args: TuningModel) -> PreTrainedModel:
    """The model to tune.

    Raises:
        InputError: none is named, it is an adapter, it does not load, or it has no projector.
    """
    name = model_args.model_name_or_path
    if name is None:
        raise InputError("settings", "model_name_or_path is not set", "Name the base model")
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
        raise InputError(
            f"model {name!r}", f"it does not load as a vision-language model ({error})", "Start from a LLaVA"
        ) from error
    projector_name(model)
    return model


def load_processor(model_args: TuningModel, args: TuningConfig) -> ProcessorMixin:
    """The base's processor, with the chat template that `args` names; `args` then holds the template's full path."""
    processor = AutoProcessor.from_pretrained(model_args.model_name_or_path, revision=model_args.model_revision)
    if args.chat_template_path is not None:
        files = [Path(args.chat_template_path), TEMPLATES / args.chat_template_path]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            packaged = sorted(file.name for file in TEMPLATES.glob("*.jinja"))
            raise InputError(f"chat template {args.chat_template_path!r}", "no such file", f"Packaged are {packaged}")
        args.chat_template_path = str(found)
        processor.chat_template = found.read_text(encoding="utf-8")
    return processor


def last_checkpoint(output_dir: Path) -> str | None:
    """The newest checkpoint that was written to its end: the trainer's state comes last. None if there is none."""
    states = output_dir.glob("checkpoint-*/trainer_state.json")
    newest = max(states, key=lambda state: int(state.parent.name.rpartition("-")[2]), default=None)
    return str(newest.parent) if newest else None


def chosen_settings(*settings: Any) -> dict[str, Any]:
    """The fields that were set to other values than their defaults, without secrets."""
    chosen: dict[str, Any] = {}
    for group in settings:
        values = group.to_dict() if hasattr(group, "to_dict") else dataclasses.asdict(group)
        for entry in dataclasses.fields(group):
            value = values.get(entry.name)
            if entry.init and value != entry.default and "token" not in entry.name.split("_"):
                chosen[entry.name] = value
    return chosen


def write_log(args: TuningConfig, mixture: Mixture, settings: dict[str, Any], trainer: SFTTrainer, wall: float) -> None:
    """Write `training.json`: settings, rows and drops per source, seconds of this run, and the loss curve."""
    log = {
        "settings": settings,
        "rows": mixture.rows,
        "dropped": mixture.dropped,
        "steps": trainer.state.global_step,
        "wall_seconds": round(wall, 1),
        "curve": [entry for entry in trainer.state.log_history if "loss" in entry],
    }
    partial = Path(args.output_dir, ".training.json.partial")
    partial.write_text(json.dumps(log, indent=1), encoding="utf-8")
    os.replace(partial, Path(args.output_dir, "training.json"))


def train(data: DataArguments, args: TuningConfig, model_args: TuningModel) -> Path:
    """Train, save, merge, and push if `args.push_to_hub`; gives the folder of the merged model.

    Raises:
        InputError: settings, model or data are not fit to train.
    """
    if args.max_length is not None or not args.assistant_only_loss or not model_args.use_peft:
        fault = "max_length, assistant_only_loss and use_peft have one value each in this method"
        raise InputError("settings", fault, "Leave them unset; max_tokens limits the length")
    started = time.monotonic()
    settings = chosen_settings(data, args, model_args)
    model = load_base(model_args)
    processor = load_processor(model_args, args)
    mixture = load_mixture(data.mixture, processor, data.max_tokens, args.seed, args.dataset_num_proc)
    peft = dataclasses.replace(
        model_args,
        lora_target_modules=model_args.lora_target_modules or lora_targets(model),
        lora_modules_to_save=model_args.lora_modules_to_save or [projector_name(model)],
    )
    trainer = TuningTrainer(
        model=model,
        args=args,
        train_dataset=mixture.dataset,
        processing_class=processor,
        peft_config=get_peft_config(peft),
    )
    check_trainable(trainer.model)
    checkpoint = args.resume_from_checkpoint
    if str(checkpoint).lower() == "true":
        checkpoint = last_checkpoint(Path(args.output_dir))
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    merged = Path(args.output_dir, "merged")
    if trainer.is_world_process_zero():
        write_log(args, mixture, settings, trainer, time.monotonic() - started)
        merge(Path(args.output_dir), merged)
    if args.push_to_hub:
        trainer.push_to_hub()
    trainer.end()
    return merged


def main(argv: list[str] | None = None) -> None:
    """The command: bad input ends it with a message and no traceback."""
    try:
        train(*parse(argv))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
