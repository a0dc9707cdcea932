"""Settings of a training: three dataclasses, filled from a YAML recipe and the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import docstring_parser
import torch
from transformers.integrations import get_reporting_integration_callbacks
from trl import ModelConfig, SFTConfig, TrlParser
from yaml import YAMLError

from cadvi_hub.core.errors import InputError


@dataclass
class DataArguments:
    """What to train on.

    Attributes:
        mixture: the sources, `{name: {path, config, revision, repeats, max_rows}}` (JSON on the command line).
        max_tokens: longest row, image tokens included; of longer rows, later turns and the end of an answer are cut
            and counted, and a row whose images and question do not fit is dropped.
        streaming: read parquet files while the training goes on, without a copy of them on the disk.
    """

    mixture: dict[str, Any] | str | None = None
    max_tokens: int = 2048
    streaming: bool = False

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
        max_length: stays unset, since TRL would cut image tokens away; `DataArguments.max_tokens` cuts answers alone.
        remove_unused_columns: off, so that `train_sampling_strategy: group_by_length` sees the column `length`.
        chat_template_path: a file, or the name of one in `training/chat_templates`; the model's own if unset.
        hub_strategy: push once, when all is done; checkpoints hold pickles and are never pushed.

    Raises:
        InputError: no GPU is there, and `use_cpu` is not set.
    """

    projector_lr: float = 2e-5
    learning_rate: float = 1e-4
    assistant_only_loss: bool = True
    max_length: int | None = None
    remove_unused_columns: bool = False
    hub_strategy: str = "end"

    def __post_init__(self) -> None:
        if not self.use_cpu and not torch.accelerator.is_available():
            hint = "Run it where PyTorch sees one, or set use_cpu: true"
            raise InputError("settings, use_cpu", "the training wants a GPU, and none is there", hint)
        super().__post_init__()


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
    """TRL's parser; `--help` tells of our keys what their docstrings tell, and a wrong value raises.

    argparse would print the usage of 200 keys instead.
    """

    def __init__(self, groups: Any, **options: Any):
        super().__init__(groups, **options)
        documented = [docstring_parser.parse(group.__doc__) for group in groups]
        told = {key.arg_name: key.description for documentation in documented for key in documentation.params}
        for action in self._actions:
            if description := told.get(action.dest):
                action.help = description.replace("%", "%%")

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
    except InputError:
        raise
    except (ValueError, TypeError, OSError, ImportError, YAMLError) as error:
        raise InputError("settings", str(error), "See --help for every key") from error
    return data, args, model_args


def check_settings(args: TuningConfig, model_args: TuningModel) -> None:
    """Refuse what this method does not do, instead of overriding it.

    Raises:
        InputError: a setting has a value that cannot work here, or holds a secret.
    """
    if model_args.model_name_or_path is None:
        raise InputError("settings", "model_name_or_path is not set", "Name the base model")
    if args.max_length is not None:
        raise InputError(
            "settings, max_length", "it would cut image tokens away", "Set max_tokens, which cuts answers alone"
        )
    if not (args.assistant_only_loss and model_args.use_peft):
        problem = "this method trains LoRA and projector on the assistant's words"
        raise InputError("settings, assistant_only_loss and use_peft", problem, "Leave both on")
    if args.hub_token is not None:
        raise InputError("settings, hub_token", "a secret does not belong into settings", "Set HF_TOKEN, or log in")
    if (model_args.load_in_4bit or model_args.load_in_8bit) and find_spec("bitsandbytes") is None:
        problem = "bitsandbytes, which quantizes, is not installed"
        raise InputError("settings, load_in_4bit and load_in_8bit", problem, 'pip install "cadvi-hub[train,qlora]"')
    try:
        for callback in get_reporting_integration_callbacks(args.report_to):
            callback()  # says whether what it needs is installed
    except (ValueError, RuntimeError, ImportError) as error:
        raise InputError("settings, report_to", str(error), "Install it, or name another") from error
    if args.push_to_hub:
        if args.hub_strategy != "end" or args.hub_revision is not None:
            problem = "the adapter is published once, at the end, to the main branch"
            raise InputError("settings, hub_strategy and hub_revision", problem, "Leave both unset")
        if not args.hub_model_id:
            raise InputError("settings, hub_model_id", "it is not set", "Name the repository to push to")
        if Path(model_args.model_name_or_path).is_dir():
            hint = "Publish the base, and set model_name_or_path to its repository; or leave push_to_hub off"
            raise InputError("settings, push_to_hub", "an adapter needs its base on the Hub", hint)
