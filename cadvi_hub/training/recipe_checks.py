"""Settings that cannot work are refused before anything is read or written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from transformers.integrations import get_reporting_integration_callbacks

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.ranges import MOST, Range, check_range
from cadvi_hub.training.recipe import STRATEGIES, RewardConfig, Tuning, TuningModel
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
    "vision_tower_lr": _OR_ZERO,
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


def check_data(data: DataArguments, args: Tuning) -> None:
    """InputError if there are rows to evaluate on and no time for it, or the other way round, or no such streaming."""
    if data.streaming and data.method != "sft":
        problem = f"{data.method} checks every row before the training"
        raise InputError("settings, streaming", problem, "Leave it unset")
    if data.method != "sft" and any(source.swapped for source in data.sources.values()):
        problem = f"a source is swapped, which {data.method} does not do (grpo shows every row in both orders)"
        raise InputError("mixture", problem, "Leave swapped out")
    if args.eval_strategy == "no" and data.eval_mixture:
        raise InputError("settings, eval_mixture", "eval_strategy is unset", "Set eval_strategy: steps or epoch")
    if args.eval_strategy != "no" and not data.eval_mixture:
        hint = "Name held-out sources in eval_mixture, or leave eval_strategy unset"
        raise InputError("settings, eval_strategy", "there are no rows to evaluate on", hint)


def _check_rewards(args: RewardConfig) -> None:
    """InputError for settings of GRPO that do not fit questions in both orders of their images."""
    if args.use_vllm:
        problem = "vLLM would write all answers of a group to one order of the images"
        raise InputError("settings, use_vllm", problem, "Leave it unset; answers are a few tokens long")
    if args.num_generations is None or args.num_generations % 2:
        problem = f"it is {args.num_generations}, and half of the answers see the images in the other order"
        raise InputError("settings, num_generations", problem, "Give an even number")
    if args.eval_strategy != "no":
        hint = "Leave it unset, and run cadvi evaluate on the result"
        raise InputError("settings, eval_strategy", "grpo has no held-out loss", hint)
    if args.train_sampling_strategy != "random":
        problem = "grpo draws its questions at random"
        raise InputError("settings, train_sampling_strategy", problem, "Leave it unset")
    every = int(args.steps_per_generation or 1) * args.num_iterations
    if args.save_strategy == "steps" and (args.save_steps * args.gradient_accumulation_steps) % every:
        problem = f"answers are written for {every} batches at once, and a checkpoint between them loses some"
        raise InputError("settings, save_steps", problem, "Choose a multiple of that many batches")


def _check_parts(model_args: TuningModel) -> None:
    """InputError if no part of the model trains, or one that does cannot train as it is loaded."""
    if set(model_args.parts) == {"frozen"}:
        keys = "settings, tune_language_model, tune_projector and tune_vision_tower"
        raise InputError(keys, "every part is frozen, so nothing would train", "Leave one of them unset")
    if model_args.tune_language_model == "full" and (model_args.load_in_4bit or model_args.load_in_8bit):
        problem = "weights of 4 or 8 bits cannot train"
        raise InputError("settings, tune_language_model", problem, "Set it to lora, or load the model in bfloat16")


def check_settings(args: Tuning, model_args: TuningModel) -> None:
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
    if getattr(args, "max_length", None) is not None:
        raise InputError(
            "settings, max_length", "it would cut image tokens", "Set max_tokens instead, which only cuts answers"
        )
    if not (getattr(args, "assistant_only_loss", True) and model_args.use_peft):
        problem = "this method trains an adapter on the assistant's answers"
        hint = "Leave both on; tune_language_model: full trains all weights"
        raise InputError("settings, assistant_only_loss and use_peft", problem, hint)
    _check_parts(model_args)
    if args.train_sampling_strategy not in STRATEGIES:
        problem = f"it is {args.train_sampling_strategy!r}"
        raise InputError("setting train_sampling_strategy", problem, f"Choose one of {', '.join(STRATEGIES)}")
    if args.max_steps == 0:
        raise InputError("setting max_steps", "it is 0", "Give a number of steps, or -1 for whole epochs")
    for key in ("packing", "eval_packing", "padding_free", "completion_only_loss"):
        if getattr(args, key, False):
            problem = "TRL cannot do that with images"
            raise InputError(f"settings, {key}", problem, "Leave it unset; train_sampling_strategy saves padding")
    if isinstance(args, RewardConfig):
        _check_rewards(args)
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
