"""`--dry_run`: the rows, steps, tokens and memory of a training, without its weights and without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from peft import get_peft_model
from transformers import PreTrainedModel

from cadvi_hub.training.methods import PARTS
from cadvi_hub.training.mixture import Mixture, load_mixture, pin
from cadvi_hub.training.models import load_processor, lora_config, outline_of, template_file
from cadvi_hub.training.recipe import Tuning, TuningModel
from cadvi_hub.training.settings import DataArguments
from cadvi_hub.training.streaming import stream_mixture

# Bytes for a trained number in float32: itself, its gradient, and Adam's two moments.
_TRAINED = 16
# Numbers that one layer of a language model keeps for its gradient, per token: about 16 hidden states (norms, query,
# key, value, attention's output, residuals) and three of the width of the feed-forward layer, LoRA's inputs included.
_STATES, _INNER = 16, 3
_LOGITS = 10  # bytes per token and entry of the vocabulary: bfloat16 logits, a float32 copy, and its gradient


class Size(NamedTuple):
    """Numbers of a model: all of them, and those that are trained."""

    weights: int
    trained: int


class Memory(NamedTuple):
    """An estimate of the bytes that a training holds on one GPU, without the vision tower's short-lived states."""

    weights: float
    trained: float
    activations: float

    @property
    def total(self) -> float:
        return sum(self)


def dry_run(data: DataArguments, args: Tuning, model_args: TuningModel) -> str:
    """What the training would do, as lines of text. Model and rows are read, but no weights; nothing is written.

    Raises:
        InputError: as the training raises it for settings, model and data.
    """
    base = outline_of(str(model_args.model_name_or_path), model_args.model_revision)
    template = template_file(args.chat_template_path) if args.chat_template_path else None
    processor = load_processor(model_args, template)
    size = measure(base, model_args)
    form: dict[str, Any] = {"processor": processor, "max_tokens": data.max_tokens, "seed": args.seed}
    form["budget"] = data.budget
    counting = PARTS[data.method].counter
    load = partial(load_mixture, num_proc=args.dataset_num_proc, counting=counting)
    mixture: Mixture = (stream_mixture if data.streaming else load)(pin(data.sources), **form)
    lengths = [] if data.streaming else mixture.dataset["length"][:]
    longest = max(lengths, default=data.max_tokens)
    rows = sum(mixture.rows.values())
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * -(-rows // per_step))
    memory = estimate(base, size, model_args, args, longest)
    kind = type(base).__name__
    counted = f"not counted, because the rows are streamed; at most {longest:,} a row"
    if lengths:
        counted = (
            f"{sum(lengths):,} an epoch, image tokens included; {sum(lengths) / rows:.0f} a row, at most {longest:,}"
        )
    lines = {
        "model": f"{model_args.model_name_or_path} ({kind}): {_short(size.weights)} weights, "
        f"{_short(size.trained)} trained",
        "rows": f"{rows:,}: {', '.join(f'{number:,} of {name}' for name, number in mixture.rows.items())}",
        "left out": _counts(mixture.dropped),
        "cut": _counts(mixture.cut),
        "tokens": counted,
        "steps": f"{steps:,} of {per_step:,} rows ({args.per_device_train_batch_size} a process × "
        f"{args.world_size} processes × {args.gradient_accumulation_steps}): {steps * per_step / rows:.3g} epochs",
        "memory": f"about {_gib(memory.total)} on each GPU if nothing is sharded: {_gib(memory.weights)} for weights, "
        f"{_gib(memory.trained)} for what is trained, {_gib(memory.activations)} for a batch",
        "output": f"{args.output_dir}: adapter, training.json and merged/",
    }
    width = max(map(len, lines))
    shown = [f"{name:<{width}}  {text}" for name, text in lines.items()]
    return "\n".join([*shown, "Nothing was trained or written. Next: the same command without --dry_run"])


def measure(base: PreTrainedModel, model_args: TuningModel) -> Size:
    """The numbers of a model without weights, as `training.sft` trains it. PEFT changes `base`."""
    weights = sum(weight.numel() for weight in base.parameters())
    with torch.device("meta"):
        adapted = get_peft_model(base, lora_config(model_args, base, None))
    return Size(weights, sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad))


def estimate(base: PreTrainedModel, size: Size, model_args: TuningModel, args: Tuning, longest: int) -> Memory:
    """The memory of a batch of the `longest` rows."""
    config: Any = base.config.get_text_config()
    is_half = args.bf16 or args.fp16
    stored = 2 if "16" in str(model_args.dtype) or (model_args.dtype in (None, "auto") and is_half) else 4
    if model_args.load_in_4bit or model_args.load_in_8bit:
        stored_bytes = size.weights * (0.55 if model_args.load_in_4bit else 1.05)  # with the scales of the blocks
    else:
        stored_bytes = float(size.weights * stored)
    computed = 2 if is_half else 4
    tokens = args.per_device_train_batch_size * longest
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = tokens * (_STATES * hidden + _INNER * inner) * computed
    layers = config.num_hidden_layers
    is_recomputed = bool(args.gradient_checkpointing or getattr(args, "activation_checkpointing", False))
    kept = layer + layers * tokens * hidden * computed if is_recomputed else layer * layers
    return Memory(stored_bytes, float(size.trained * _TRAINED), float(kept + tokens * config.vocab_size * _LOGITS))


def _gib(number: float) -> str:
    return f"{number / 2**30:.2g} GiB"


def _short(number: int) -> str:
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,}"


def _counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Source → reason → rows, in words."""
    found = [
        f"{rows:,} of {name} ({why})" for name, reasons in counts.items() for why, rows in reasons.items() if rows
    ]
    return ", ".join(found) or "nothing"
