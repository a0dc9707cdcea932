"""Settings of a training: three dataclasses, filled from a YAML recipe and the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from trl import ModelConfig, SFTConfig, TrlParser
from yaml import YAMLError

from cadvi_hub.errors import InputError


@dataclass
class DataArguments:
    """What to train on.

    Attributes:
        mixture: the sources, `{name: {path, config, revision, repeats, max_rows}}` (JSON on the command line).
        max_tokens: longest row, image tokens included; longer rows are dropped and counted, never cut.
    """

    mixture: dict[str, Any] | str | None = None
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        self.mixture = json.loads(self.mixture) if isinstance(self.mixture, str) else self.mixture or {}
        if not isinstance(self.mixture, dict):
            raise ValueError("mixture must map the name of each source to its settings")


@dataclass
class TuningConfig(SFTConfig):
    """TRL's settings with this method's defaults.

    Attributes:
        projector_lr: peak learning rate of the projector; `learning_rate` is LoRA's.
        learning_rate: the released recipe's rate for LoRA.
        assistant_only_loss: loss on what the assistant says, in every turn, end token included.
        max_length: stays unset, since TRL would cut image tokens away; `DataArguments.max_tokens` drops instead.
        remove_unused_columns: off, so that `train_sampling_strategy: group_by_length` sees the column `length`.
        chat_template_path: a file, or the name of one in `training/chat_templates`; the model's own if unset.
        hub_strategy: push once, when all is done.
    """

    projector_lr: float = 2e-5
    learning_rate: float = 1e-4
    assistant_only_loss: bool = True
    max_length: int | None = None
    remove_unused_columns: bool = False
    hub_strategy: str = "end"


@dataclass
class TuningModel(ModelConfig):
    """TRL's model settings with this method's defaults.

    Attributes:
        use_peft: LoRA and projector; there is no other way to train here.
        lora_r: rank of LoRA in the released recipe.
        lora_alpha: scale of LoRA in the released recipe.
    """

    use_peft: bool = True
    lora_r: int = 128
    lora_alpha: int = 256


class RecipeParser(TrlParser):
    """TRL's parser; a value of the wrong kind raises instead of printing the usage of 200 keys."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(argv: list[str] | None = None) -> tuple[DataArguments, TuningConfig, TuningModel]:
    """Settings from `--config FILE.yaml` and the command line, which wins.

    Raises:
        InputError: the file is missing or not YAML, or a key or value is unknown.
    """
    groups: Any = (DataArguments, TuningConfig, TuningModel)
    parser = RecipeParser(groups, prog="cadvi_hub.training.sft")
    try:
        data, args, model_args = parser.parse_args_and_config(argv)
    except (ValueError, TypeError, OSError, YAMLError) as error:
        raise InputError("settings", str(error), "See --help for every key") from error
    return data, args, model_args


def check_settings(args: TuningConfig, model_args: TuningModel) -> None:
    """Refuse what this method does not do, instead of overriding it.

    Raises:
        InputError: a setting has a value that cannot work, or holds a secret.
    """
    if model_args.model_name_or_path is None:
        raise InputError("settings", "model_name_or_path is not set", "Name the base model")
    if args.max_length is not None:
        raise InputError("settings, max_length", "it would cut image tokens away", "Set max_tokens, which drops rows")
    if not (args.assistant_only_loss and model_args.use_peft):
        fault = "this method trains LoRA and projector on the assistant's words"
        raise InputError("settings, assistant_only_loss and use_peft", fault, "Leave both on")
    if args.hub_token is not None:
        raise InputError("settings, hub_token", "a secret does not belong into settings", "Set HF_TOKEN, or log in")
