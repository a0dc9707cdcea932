"""A training's recipe: three groups of settings, read from a YAML file and the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import docstring_parser
import torch
from transformers.integrations import get_reporting_integration_callbacks
from trl import ModelConfig, SFTConfig, TrlParser
from yaml import YAMLError

from cadvi_hub.core.ends import wants_traceback
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.ranges import MOST, Range, check_range
from cadvi_hub.core.recipe_file import check_recipes
from cadvi_hub.training.settings import DataArguments

# Of TRL's numbers, which have no range of their own. -1 steps means that the epochs decide.
_ABOVE_ZERO, _OR_ZERO, _SHARE = Range(0, open_below=True), Range(0), Range(0, 1)
RANGES = {
    "per_device_train_batch_size": Range(1, 100_000),
    "per_device_eval_batch_size": Range(1, 100_000),
    "gradient_accumulation_steps": Range(1, 1_000_000),
    "dataset_num_proc": Range(1, 10_000),
    "dataloader_num_workers": Range(0, 10_000),
    "max_steps": Range(-1, MOST),
    "num_train_epochs": _ABOVE_ZERO,
    "logging_steps": _ABOVE_ZERO,
    "save_steps": _ABOVE_ZERO,
    "save_total_limit": Range(1, MOST),
    "learning_rate": _OR_ZERO,
    "projector_lr": _OR_ZERO,
    "weight_decay": _OR_ZERO,
    "max_grad_norm": _OR_ZERO,
    "warmup_steps": _OR_ZERO,
    "adam_beta1": _SHARE,
    "adam_beta2": _SHARE,
    "adam_epsilon": _OR_ZERO,
    "pad_to_multiple_of": Range(1, 100_000),
    "seed": Range(0, 2**32 - 1),
    "data_seed": Range(0, 2**32 - 1),
    "lora_r": Range(1, 100_000),
    "lora_alpha": Range(1, MOST),
    "lora_dropout": Range(0, 1),
}
STRATEGIES = ["random", "sequential", "group_by_length", "llava"]


@dataclass
class TuningConfig(SFTConfig):
    """TRL's settings with this method's defaults.

    Attributes:
        projector_lr: peak learning rate of the projector; `learning_rate` is the rate of LoRA.
        learning_rate: the released recipe's rate for LoRA.
        assistant_only_loss: only the assistant's tokens have a loss, in every turn, end token included.
        max_length: must stay unset: TRL would cut image tokens. `DataArguments.max_tokens` only cuts answers.
        train_sampling_strategy: `random`; `group_by_length` for steps of rows with equally many images and of about
            one length; or `llava` for steps that are drawn at random from the rows with images, or from those
            without, as in LLaVA's and the paper's training.
        remove_unused_columns: off, because `train_sampling_strategy: group_by_length` needs the column `length`.
        chat_template_path: a file, or the name of one in the package's `chat_templates`; the model's own if unset.
        resume_from_checkpoint: `true` goes on from the last complete checkpoint of the output folder, if there is one;
            `false` starts from the beginning; or the folder of a checkpoint.
        hub_strategy: push once, at the end. Checkpoints hold pickles and are never pushed.

    Raises:
        InputError: there is no GPU, and `use_cpu` is not set.
    """

    projector_lr: float = 2e-5
    learning_rate: float = 1e-4
    assistant_only_loss: bool = True
    max_length: int | None = None
    train_sampling_strategy: str = field(default="random", metadata={"choices": STRATEGIES})
    remove_unused_columns: bool = False
    resume_from_checkpoint: str | None = "true"
    hub_strategy: str = "end"

    def __post_init__(self) -> None:
        if not self.use_cpu and not torch.accelerator.is_available():
            hint = "Run it where PyTorch finds one, or set use_cpu: true"
            raise InputError("settings, use_cpu", "the training needs a GPU, and there is none", hint)
        super().__post_init__()  # type: ignore[no-untyped-call]


@dataclass
class TuningModel(ModelConfig):
    """TRL's model settings with this method's defaults.

    Attributes:
        use_peft: train LoRA and the projector; nothing else is supported.
        lora_r: rank of LoRA in the released recipe.
        lora_alpha: scale of LoRA in the released recipe.
    """

    use_peft: bool = True
    lora_r: int = 128
    lora_alpha: int = 256


class RecipeParser(TrlParser):
    """TRL's parser. `--help` describes our keys by their docstrings, and a wrong value raises a ValueError.

    argparse would print the usage of 200 keys instead.
    """

    def __init__(self, groups: Any, **options: Any):
        super().__init__(groups, **options)
        documented = [docstring_parser.parse(group.__doc__) for group in groups]
        descriptions = {key.arg_name: key.description for docstring in documented for key in docstring.params}
        for action in self._actions:
            if description := descriptions.get(action.dest):
                action.help = description.replace("%", "%%")

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(argv: list[str] | None = None) -> tuple[DataArguments, TuningConfig, TuningModel]:
    """Settings from `--config FILE.yaml` and the command line. The command line wins.

    Raises:
        InputError: the file is missing or not YAML, or a key or value is unknown.
    """
    argv = sys.argv[1:] if argv is None else argv
    if wants_traceback(argv):
        argv = [argument for argument in argv if argument != "--debug"]
    check_recipes(argv)
    groups: Any = (DataArguments, TuningConfig, TuningModel)
    parser = RecipeParser(groups, prog="cadvi_hub.training.sft")
    try:
        data, args, model_args = parser.parse_args_and_config(argv)
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, ImportError, YAMLError) as error:
        raise InputError("settings", str(error), "See --help for every key") from error
    return data, args, model_args


def check_evaluation(data: DataArguments, args: TuningConfig) -> None:
    """InputError if there is something to evaluate on and no time for it, or the other way round."""
    if args.eval_strategy == "no" and data.eval_mixture:
        raise InputError("settings, eval_mixture", "eval_strategy is unset", "Set eval_strategy: steps or epoch")
    if args.eval_strategy != "no" and not data.eval_mixture:
        hint = "Name held-out sources in eval_mixture, or leave eval_strategy unset"
        raise InputError("settings, eval_strategy", "there are no rows to evaluate on", hint)


def check_settings(args: TuningConfig, model_args: TuningModel) -> None:
    """Refuse settings that this method does not support, instead of overriding them.

    Raises:
        InputError: a number is out of its range, or a setting cannot work here or holds a secret.
    """
    for key, allowed in RANGES.items():
        value = getattr(args, key, None) if hasattr(args, key) else getattr(model_args, key, None)
        if value is not None:
            check_range(key, value, allowed)
    if model_args.model_name_or_path is None:
        raise InputError("settings", "model_name_or_path is not set", "Name the base model")
    if args.max_length is not None:
        raise InputError(
            "settings, max_length", "it would cut image tokens", "Set max_tokens instead, which only cuts answers"
        )
    if not (args.assistant_only_loss and model_args.use_peft):
        problem = "this method trains LoRA and the projector on the assistant's answers"
        raise InputError("settings, assistant_only_loss and use_peft", problem, "Leave both on")
    if args.train_sampling_strategy not in STRATEGIES:
        problem = f"it is {args.train_sampling_strategy!r}"
        raise InputError("setting train_sampling_strategy", problem, f"Choose one of {', '.join(STRATEGIES)}")
    if args.max_steps == 0:
        raise InputError("setting max_steps", "it is 0", "Give a number of steps, or -1 for whole epochs")
    for key in ("packing", "eval_packing", "padding_free", "completion_only_loss"):
        if getattr(args, key):
            problem = "TRL cannot do that with images"
            raise InputError(f"settings, {key}", problem, "Leave it unset; train_sampling_strategy saves padding")
    if args.use_liger_kernel and find_spec("liger_kernel") is None:
        raise InputError("settings, use_liger_kernel", "it is not installed", "pip install liger-kernel")
    if args.hub_token is not None:
        raise InputError("settings, hub_token", "a secret does not belong in settings", "Set HF_TOKEN, or log in")
    if (model_args.load_in_4bit or model_args.load_in_8bit) and find_spec("bitsandbytes") is None:
        problem = "bitsandbytes, which does the quantization, is not installed"
        raise InputError("settings, load_in_4bit and load_in_8bit", problem, 'pip install "cadvi-hub[train,qlora]"')
    try:
        for callback in get_reporting_integration_callbacks(args.report_to):
            callback()  # raises if its package is not installed
    except (ValueError, RuntimeError, ImportError) as error:
        raise InputError("settings, report_to", str(error), "Install it, or choose another") from error
    if args.push_to_hub:
        if args.hub_strategy != "end" or args.hub_revision is not None:
            problem = "the adapter is published once, at the end, to the main branch"
            raise InputError("settings, hub_strategy and hub_revision", problem, "Leave both unset")
        if not args.hub_model_id:
            raise InputError("settings, hub_model_id", "it is not set", "Name the repository to push to")
        if Path(model_args.model_name_or_path).is_dir():
            hint = "Publish the base and set model_name_or_path to its repository, or leave push_to_hub off"
            raise InputError("settings, push_to_hub", "an adapter needs its base on the Hub", hint)
