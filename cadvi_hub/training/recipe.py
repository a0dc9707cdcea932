"""A training's recipe: three groups of settings, read from a YAML file and the command line."""

from __future__ import annotations

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentError, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import docstring_parser
import torch
from transformers import TrainingArguments
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig, TrlParser
from yaml import YAMLError

from cadvi_hub.core.ends import wants_traceback
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json
from cadvi_hub.core.models import named
from cadvi_hub.core.quiet import without_known_warnings
from cadvi_hub.core.recipe_file import read_recipes
from cadvi_hub.training.arguments import check_keys, packaged_recipes, written_out
from cadvi_hub.training.settings import DataArguments, Method
from cadvi_hub.training.structure import Tuned, TunedParts

HELP = """usage: cadvi train --config RECIPE [--key value …]

Tune a vision-language model to compare images.

examples:
  cadvi train --config llava-1.5-7b/v1 --dry_run
  cadvi train --model demo-base --dataset_name out/data --dataset_config v1 --output_dir out/v1 --use_cpu --bf16 false
  accelerate launch -m cadvi_hub.training.sft --config recipe.yaml --learning_rate 5e-5

required, in the recipe or here: --model_name_or_path, --output_dir, and --mixture or --dataset_name
(with --dataset_config). RECIPE is a YAML file with these keys, or the name of a packaged one:
{recipes}"""
STRATEGIES = ["random", "sequential", "group_by_length", "llava"]


if TYPE_CHECKING:
    _Arguments = TrainingArguments
else:  # the fields of TrainingArguments would come again, with defaults that TRL has changed
    _Arguments = object


@dataclass
class Tuning(_Arguments):
    """What all methods share. It comes before TRL's settings of a method in a list of base classes.

    Attributes:
        projector_lr: peak learning rate of the projector; `learning_rate` is the rate of the language model.
        vision_tower_lr: peak learning rate of the vision tower, if it trains.
        train_sampling_strategy: `random`; `group_by_length` for steps of rows with equally many images and of about
            one length; or `llava` for steps that are drawn at random from the rows with images, or from those
            without, as in LLaVA's and the paper's training.
        remove_unused_columns: off, because `train_sampling_strategy: group_by_length` needs the column `length`.
        chat_template_path: a file, or the name of one in the package's `chat_templates`; the model's own if unset.
        dataset_num_proc: processes that count tokens.
        resume_from_checkpoint: `true` goes on from the last complete checkpoint of the output folder, if there is one;
            `false` starts from the beginning; or the folder of a checkpoint.
        hub_strategy: push once, at the end. Checkpoints hold pickles and are never pushed.

    Raises:
        InputError: there is no GPU, and `use_cpu` is not set.
    """

    projector_lr: float = 2e-5
    vision_tower_lr: float = 2e-6
    train_sampling_strategy: str = field(default="random", metadata={"choices": STRATEGIES})
    remove_unused_columns: bool = False
    chat_template_path: str | None = None
    dataset_num_proc: int | None = None
    resume_from_checkpoint: str | None = "true"
    hub_strategy: str = "end"

    def __post_init__(self) -> None:
        if not self.use_cpu and not torch.accelerator.is_available():
            hint = "Run it where PyTorch finds one, or set use_cpu: true"
            raise InputError("settings, use_cpu", "the training needs a GPU, and there is none", hint)
        super().__post_init__()  # type: ignore[no-untyped-call]


@dataclass
class TuningConfig(Tuning, SFTConfig):
    """Supervised fine-tuning: TRL's settings with this method's defaults.

    Attributes:
        learning_rate: the released recipe's rate for LoRA.
        assistant_only_loss: only the assistant's tokens have a loss, in every turn, end token included.
        max_length: must stay unset: TRL would cut image tokens. `DataArguments.max_tokens` only cuts answers.
    """

    learning_rate: float = 1e-4
    assistant_only_loss: bool = True
    max_length: int | None = None


@dataclass
class PreferenceConfig(Tuning, DPOConfig):
    """Preference tuning: TRL's settings of DPO with other defaults.

    Attributes:
        learning_rate: rate of LoRA.
        projector_lr: 0, so that the projector stays as the model to start from has it.
        max_length: must stay unset; `DataArguments.max_tokens` drops pairs that are too long.
    """

    learning_rate: float = 5e-6
    projector_lr: float = 0.0
    max_length: int | None = None


@dataclass
class RewardConfig(Tuning, GRPOConfig):
    """Reward tuning: TRL's settings of GRPO with other defaults.

    Attributes:
        learning_rate: rate of LoRA.
        projector_lr: 0, so that the projector stays as the model to start from has it.
        num_generations: answers to a question; half of them see its images in the other order.
        max_completion_length: most tokens of an answer, which is the letter of an image.
    """

    learning_rate: float = 5e-6
    projector_lr: float = 0.0
    remove_unused_columns: bool = False  # again, since TRL declares its own
    max_completion_length: int | None = 16


CONFIGS: dict[Method, type[Tuning]] = {"sft": TuningConfig, "dpo": PreferenceConfig, "grpo": RewardConfig}


@dataclass
class TuningModel(ModelConfig):
    """TRL's model settings with this method's defaults.

    Attributes:
        model_name_or_path: the model to start from: a folder, a Hub repo id, or demo-base, which the package ships.
        use_peft: must stay on: what is trained is saved as an adapter.
        tune_language_model: `lora`; `full` for all its weights, in a copy that the adapter holds; or `frozen`.
        tune_projector: `full` or `frozen`.
        tune_vision_tower: `frozen`, `lora` or `full`.
        split_user: with `llava.jinja`, read `USER` after `</s>` as the tokens `US` and `ER`. The paper's training did,
            with transformers 4.31; later versions read one token.
        lora_r: rank of LoRA in the released recipe.
        lora_alpha: scale of LoRA in the released recipe.
    """

    use_peft: bool = True
    tune_language_model: Tuned = "lora"
    tune_projector: Literal["frozen", "full"] = "full"
    tune_vision_tower: Tuned = "frozen"
    split_user: bool = False
    lora_r: int = 128
    lora_alpha: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        if self.model_name_or_path:
            self.model_name_or_path = named(self.model_name_or_path)

    @property
    def parts(self) -> TunedParts:
        """How each part trains."""
        return TunedParts(self.tune_language_model, self.tune_projector, self.tune_vision_tower)


class _Help(RawDescriptionHelpFormatter, ArgumentDefaultsHelpFormatter):
    """Keeps the lines of texts, and shows defaults."""


def _described(group: type) -> dict[str, str]:
    """Key → description of a group of settings, from the docstrings of this package's classes alone."""
    ours = [one for one in reversed(group.__mro__) if one.__module__.startswith("cadvi_hub")]
    return {
        key.arg_name: key.description or "" for one in ours for key in docstring_parser.parse(one.__doc__ or "").params
    }


class RecipeParser(TrlParser):
    """TRL's parser. `--help` describes our keys by their docstrings, and a wrong value raises a ValueError.

    argparse would print the usage of 200 keys instead.
    """

    def __init__(self, groups: Any, **options: Any):
        super().__init__(groups, formatter_class=_Help, **options)
        self._described = {group: _described(group) for group in groups}
        descriptions = {name: about for described in self._described.values() for name, about in described.items()}
        for action in self._actions:
            if description := descriptions.get(action.dest):
                action.help = description.replace("%", "%%")

    def format_help(self) -> str:
        """Examples and the required keys, then the keys by group: ours first, then TRL's and transformers'."""
        shown = self._get_formatter()
        shown.add_text(HELP.format(recipes=", ".join(packaged_recipes())))
        actions = {action.dest: action for action in reversed(self._actions)}  # not --no_KEY, which come later
        for group, described in self._described.items():
            names = [field.name for field in fields(group) if field.name in actions]
            for title, chosen in (("", described.keys()), (", the library's keys", set(names) - described.keys())):
                shown.start_section(f"{group.__name__}{title}")
                shown.add_arguments([actions[name] for name in names if name in chosen])
                shown.end_section()
        return shown.format_help()

    @property
    def keys(self) -> set[str]:
        """The keys of the command line and of recipes."""
        options = {option[2:] for action in self._actions for option in action.option_strings if option[:2] == "--"}
        return options | {"config", "env"}

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(argv: list[str] | None = None) -> tuple[DataArguments, Tuning, TuningModel]:
    """Settings from `--config FILE.yaml` and the command line. The command line wins. The method decides the keys.

    Raises:
        InputError: the file is missing or not YAML, or a key or value is unknown.
    """
    argv = sys.argv[1:] if argv is None else argv
    if wants_traceback(argv):
        argv = [argument for argument in argv if argument != "--debug"]
    without_known_warnings()
    argv = written_out(argv)
    recipes = read_recipes(argv)
    groups: Any = (DataArguments, CONFIGS[_method(argv, recipes)], TuningModel)
    parser = RecipeParser(groups, prog="cadvi train")
    check_keys(argv, recipes, parser.keys)
    if {"--dry_run", "--dry_run=true"} & set(argv):
        argv += ["--use_cpu", "true"]  # it trains nothing, so it needs no GPU
    with settings_that_trl_refuses():
        data, args, model_args = parser.parse_args_and_config(argv)
    return data, args, model_args


@contextmanager
def settings_that_trl_refuses() -> Iterator[None]:
    """What TRL and transformers raise on settings that do not fit becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, ImportError, NotImplementedError, YAMLError) as error:
        raise InputError("settings", str(error), "See --help for every key") from error


def _method(argv: Sequence[str], recipes: Sequence[tuple[Path, Json]]) -> Method:
    """The method that the command line or else the recipe names; sft if neither does."""
    first = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--method")
    try:
        given = first.parse_known_args(argv)[0].method
    except ArgumentError:  # the parser of all keys says what is wrong
        return "sft"
    named = given or (recipes[-1][1].get("method") if recipes else None) or "sft"
    if named not in list(CONFIGS):
        raise InputError("setting method", f"it is {named!r}", f"Choose one of {', '.join(CONFIGS)}")
    return cast(Method, named)
