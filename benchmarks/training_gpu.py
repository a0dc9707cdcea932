"""One GPU on two-image rows: tokens a second, model FLOP utilisation and peak memory, as a Markdown table.

    python benchmarks/training_gpu.py --batch-sizes 8 16 32
    python benchmarks/training_gpu.py --tiny

The model has LLaVA-1.5 7B's shape and random weights, made on the spot in bfloat16; LoRA of rank 128 and the projector
train, with activation checkpointing, by the trainer and the collator of `training/sft.py` on drawn rows. Variants are
the attention (eager, SDPA, flash-attn where it is installed), Liger's fused kernels (where they are installed) and the
rows of a step. Each runs in a process of its own; the first two steps warm up, and the median of the others counts.
Utilisation is `training_input.flops_per_row` by the peak of an H100, or of `--peak-tflops`. `--tiny` runs it all on
the CPU with a tiny shape: its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, cast

from training_input import (
    PEAK_FLOPS,
    flops_per_row,
    llava_config,
    mixture_rows,
    our_processor,
    save_processor,
    save_rows,
)

RANK, WARM_UP = 128, 2
ATTENTION = {"eager": None, "sdpa": None, "flash_attention_2": "flash_attn"}  # what each needs to be installed
KERNELS = {"none": None, "liger": "liger_kernel"}


def tiny_config() -> Any:
    """A LLaVA's, four image tokens to a picture."""
    config = llava_config()
    vision, text = config.vision_config, config.text_config
    vision.image_size, config.image_seq_length = 28, 4
    vision.hidden_size, vision.intermediate_size = 32, 64
    text.hidden_size, text.intermediate_size = 64, 128
    vision.num_hidden_layers = vision.num_attention_heads = text.num_hidden_layers = 2
    text.num_attention_heads = text.num_key_value_heads = 2
    text.head_dim = 32
    return config


def measure(tiny: bool, attention: str, kernels: str, batch_size: int, steps: int) -> dict[str, float]:
    """Tokens a second, TFLOP/s and peak GiB of a training of some steps."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText
    from trl import get_peft_config

    from cadvi_hub.training.collator import Collator
    from cadvi_hub.training.recipe import TuningConfig, TuningModel
    from cadvi_hub.training.structure import check_trainable, lora_targets, projector_names
    from cadvi_hub.training.trainer import TuningTrainer

    config = tiny_config() if tiny else llava_config()
    dtype = torch.float32 if tiny else torch.bfloat16
    with torch.device("cpu" if tiny else "cuda"):
        model = AutoModelForImageTextToText.from_config(config, attn_implementation=attention, dtype=dtype)
    adapter = TuningModel(
        lora_r=RANK,
        lora_alpha=2 * RANK,
        lora_dropout=0.05,
        lora_target_modules=cast(Any, lora_targets(model)),  # PEFT takes a regular expression, too
        lora_modules_to_save=projector_names(model),
    )
    with tempfile.TemporaryDirectory() as name:
        processor = our_processor(save_processor(Path(name, "base"), config.vision_config.image_size))
        rows = mixture_rows(save_rows(Path(name, "rows"), batch_size * steps), processor)
        args = TuningConfig(
            output_dir=str(Path(name, "out")),
            use_cpu=tiny,
            bf16=not tiny,
            per_device_train_batch_size=batch_size,
            max_steps=steps,
            logging_steps=1,
            activation_checkpointing=True,
            use_liger_kernel=kernels == "liger",
            dataloader_num_workers=0 if tiny else 4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = TuningTrainer(
            model=model,
            args=args,
            data_collator=Collator(processor),
            train_dataset=rows,
            processing_class=processor,
            peft_config=get_peft_config(adapter),
        )
        check_trainable(cast(PeftModel, trainer.model))
        trainer.train()
        tokens = sum(rows["length"][:]) / len(rows)
    curve = [entry for entry in trainer.state.log_history if "tokens_per_second" in entry]
    speed = median(entry["tokens_per_second"] for entry in curve[WARM_UP:])
    return {
        "tokens_per_second": speed,
        "tflops": speed / tokens * flops_per_row(config, round(tokens), images=2, rank=RANK) / 1e12,
        "peak_gib": max(entry["peak_memory_gib"] for entry in curve),
    }


def installed(kind: str, variants: dict[str, str | None], wanted: list[str]) -> list[str]:
    """The variants that can run; the others are named."""
    missing = [name for name in wanted if (package := variants[name]) and find_spec(package) is None]
    for name in missing:
        print(f"{kind} {name}: {variants[name]} is not installed, so it is left out")
    return [name for name in wanted if name not in missing]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--attention", nargs="+", choices=list(ATTENTION), default=list(ATTENTION))
    parser.add_argument("--kernels", nargs="+", choices=list(KERNELS), default=list(KERNELS))
    parser.add_argument("--batch-sizes", type=int, nargs="+", help="8, 16 and 32; 2 with --tiny")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--peak-tflops", type=float, default=PEAK_FLOPS / 1e12, help="of the GPU, dense bfloat16")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one variant, this process
    given = parser.parse_args(argv)
    if given.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}: those warm up")
    sizes = given.batch_sizes or ([2] if given.tiny else [8, 16, 32])
    if given.here:
        print(json.dumps(measure(given.tiny, given.attention[0], given.kernels[0], sizes[0], given.steps)))
        return

    import torch

    if not given.tiny and not torch.cuda.is_available():
        print("no GPU is here; --tiny runs on the CPU")
        return
    machine = "tiny shape, CPU" if given.tiny else f"LLaVA-1.5 7B, {torch.cuda.get_device_name()}"
    print(f"{machine}, torch {torch.__version__}")
    attentions = installed("attention", ATTENTION, given.attention)
    kernels = installed("kernels", KERNELS, given.kernels)
    print("\n| attention | fused kernels | rows a step | tokens/s | MFU | peak GiB |\n|---|---|---|---|---|---|")
    for attention, fused, size in [(a, k, s) for a in attentions for k in kernels for s in sizes]:
        options = [
            "--attention",
            attention,
            "--kernels",
            fused,
            "--batch-sizes",
            str(size),
            "--steps",
            str(given.steps),
        ]
        command = [sys.executable, __file__, "--here", *(["--tiny"] if given.tiny else []), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode and "OutOfMemoryError" not in done.stderr:
            sys.exit(done.stderr)
        cells = "out of memory | | "
        if not done.returncode:
            found = json.loads(done.stdout.splitlines()[-1])
            share = "" if given.tiny else f"{found['tflops'] / given.peak_tflops:.1%}"
            cells = f"{found['tokens_per_second']:,.0f} | {share} | {found['peak_gib']:.1f}"
        print(f"| {attention} | {fused} | {size} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
