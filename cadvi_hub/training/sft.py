"""Tune a vision-language model on images and messages: LoRA, and the whole projector (paper, section 3.1).

    cadvi train --config recipe.yaml [--learning_rate 5e-5 …]
    accelerate launch -m cadvi_hub.training.sft --config recipe.yaml

Supervised fine-tuning, or `--method dpo` on preference pairs, or `--method grpo` on which-image questions
(`methods.py`). A recipe's keys are the fields of `DataArguments`, of the method's settings (`recipe.CONFIGS`, on TRL's
SFTConfig, DPOConfig and GRPOConfig) and of `TuningModel` (TRL's ModelConfig); the command line wins over the file.

`output_dir` gets the adapter with its processor, `training.json` (rows, settings, loss curve) and `merged/`, the model
that loads without PEFT. A run that was stopped continues from its last complete checkpoint and ends with the same
weights as a run without a stop; a finished run is left alone. `resume_from_checkpoint: false` starts an unfinished one
from the beginning. `push_to_hub: true` publishes the adapter as `cadvi publish` does.

Checkpoints hold weights as safetensors. Optimizer, scheduler and random states are pickles of torch.save; transformers
loads them with `weights_only`, so that they cannot run code. DeepSpeed loads its own without it: resume only from
checkpoints that you wrote. No checkpoint is published.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from cadvi_hub.core.ends import end_imports_in_one_line, ending_in_one_line, wants_traceback

if __name__ == "__main__":
    end_imports_in_one_line("training")

import torch
from peft import PeftModel
from transformers import set_seed

from cadvi_hub.core.files import write_json, write_text
from cadvi_hub.core.output import NEW, OutputFolder
from cadvi_hub.core.processes import die_with_launcher, free_cores
from cadvi_hub.core.quiet import without_known_warnings
from cadvi_hub.hub.model_card import TRAINING_LOG, model_card
from cadvi_hub.hub.publish import publish_model
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.hub.upload import CARD
from cadvi_hub.training.adapters import merge
from cadvi_hub.training.dry_run import dry_run
from cadvi_hub.training.methods import PARTS
from cadvi_hub.training.mixture import load_mixture, pin
from cadvi_hub.training.models import (
    base_commit,
    base_digest,
    check_precision,
    load_base,
    load_processor,
    lora_config,
    template_file,
)
from cadvi_hub.training.recipe import Tuning, TuningModel, parse, settings_that_trl_refuses
from cadvi_hub.training.recipe_checks import check_data, check_settings
from cadvi_hub.training.runs import (
    MERGED,
    checkpoint_to_resume,
    chosen_settings,
    claim_folder,
    is_finished,
    model_files,
    model_names,
    run_log,
    training_folder,
)
from cadvi_hub.training.settings import DataArguments, Source
from cadvi_hub.training.streaming import stream_mixture
from cadvi_hub.training.structure import check_trainable

logger = logging.getLogger(__name__)


def train(data: DataArguments, args: Tuning, model_args: TuningModel) -> Path:
    """Train, save, merge, and push if `args.push_to_hub`. Returns the folder of the merged model.

    A run that is finished in the output folder stays as it is; it is only pushed.

    Raises:
        InputError: settings, model, data or output folder cannot be used, or the folder has a finished run of other
            settings or a damaged one.
    """
    die_with_launcher()
    check_settings(args, model_args)
    check_data(data, args)
    without_known_warnings()
    if data.dry_run:
        print(dry_run(data, args, model_args))
        return Path(str(args.output_dir))
    with training_folder(args) as output:
        return _train(data, args, model_args, output)


def _train(data: DataArguments, args: Tuning, model_args: TuningModel, output: OutputFolder | None) -> Path:
    started, output_dir = time.monotonic(), Path(str(args.output_dir))
    settings = chosen_settings(data, args, model_args)

    # What else decides the losses: it must be the same when a run is resumed.
    sources, commit = pin(data.sources), base_commit(model_args)
    settings |= {"base_revision": commit or base_digest(model_args)}
    settings |= {"data_revisions": {name: of.revision for name, of in sources.items()}}
    settings |= {"processes": args.world_size} if args.world_size > 1 else {}
    if is_finished(output_dir, settings):
        logger.warning("%s: this run is already finished; nothing is changed", output_dir)
        if args.push_to_hub and args.process_index == 0:
            push(args, model_args, sources)
        return output_dir / MERGED
    checkpoint = checkpoint_to_resume(args)

    # Model
    model_args = dataclasses.replace(model_args, model_revision=commit or model_args.model_revision)
    template = template_file(args.chat_template_path) if args.chat_template_path else None
    args.chat_template_path = str(template) if template else None
    model = load_base(model_args)
    check_precision(model, args)
    processor = load_processor(model_args, template)

    # Data
    with args.main_process_first(desc="data"):
        if output:
            output.claim([TRAINING_LOG, CARD])
        claim_folder(output_dir, settings)
        parts = PARTS[data.method]
        load = partial(load_mixture, num_proc=args.dataset_num_proc, counting=parts.counter)
        form: dict[str, Any] = {"processor": processor, "max_tokens": data.max_tokens, "seed": args.seed}
        form["budget"] = data.budget
        mixture = (stream_mixture if data.streaming else load)(sources, **form)
        held_out = load(data.eval_sources, **form) if data.eval_sources else None

    # Trainer
    set_seed(args.seed)  # before LoRA's first weights are drawn; the trainer sets it later
    padding: int | None = getattr(args, "pad_to_multiple_of", None)
    with settings_that_trl_refuses():
        trainer = parts.trainer(
            model=model,
            args=args,
            data_collator=parts.counter.collator(processor, data.max_tokens, padding, data.budget),
            train_dataset=mixture.dataset,
            eval_dataset=held_out.dataset if held_out else None,
            processing_class=processor,
            output=output,
            peft_config=lora_config(model_args, model, commit),
        )
    check_trainable(cast(PeftModel, trainer.model), model_args.parts)
    take_free_cores(args)
    trainer.train(resume_from_checkpoint=checkpoint)

    # Save, merge, push
    with output.replacing(keep_others=True) if output else nullcontext(output_dir / NEW) as folder:
        trainer.save_model(str(folder), _internal_call=True)  # without transformers' own push of every file
        trainer.accelerator.wait_for_everyone()
    state = trainer.state
    trainer.close()
    del trainer, model  # the merge loads the base again
    merged = output_dir / MERGED
    if output:
        log = run_log(settings, mixture, state, time.monotonic() - started)
        write_json(output_dir / TRAINING_LOG, log | {"finished": False})  # kept if the check of the merge fails
        output.claim([MERGED])
        with TemporaryDirectory() as cards:
            write_text(card := Path(cards, CARD), card_of(merged, model_args, sources))
            merge(output_dir, merged, [card], former=model_names)
        write_text(output_dir / CARD, card_of(output_dir, model_args, sources))  # PEFT's does not know the training
        write_json(output_dir / TRAINING_LOG, log | {"files": model_files(output_dir)})
        if args.push_to_hub:
            push(args, model_args, sources)
    return merged


def take_free_cores(args: Tuning) -> None:
    """Without a GPU, take no more threads than there are free cores, unless OMP_NUM_THREADS says how many.

    A thread that waits for a busy core holds up all others: a step of two threads took thirty times as long as of one.
    """
    if args.device.type != "cpu" or args.world_size > 1 or "OMP_NUM_THREADS" in os.environ:
        return
    wanted, free = torch.get_num_threads(), free_cores()
    if free < wanted:
        logger.warning("other programs are busy: training with %d of %d threads (OMP_NUM_THREADS)", free, wanted)
        torch.set_num_threads(free)


def card_of(folder: Path, model_args: TuningModel, sources: Mapping[str, Source]) -> str:
    """The card of the adapter or merged model in `folder`, by the name of the folder until it is published."""
    base = str(model_args.model_name_or_path)
    return model_card(PublishSettings(folder, str(folder), "model", base_model=base, datasets=_on_the_hub(sources)))


def _on_the_hub(sources: Mapping[str, Source]) -> list[str]:
    return sorted({of.path for of in sources.values() if not Path(of.path).is_dir()})


def push(args: Tuning, model_args: TuningModel, sources: Mapping[str, Source]) -> None:
    """Publish the adapter, as `cadvi publish` does."""
    publish_model(
        PublishSettings(
            folder=Path(str(args.output_dir)),
            repo_id=str(args.hub_model_id),
            kind="model",
            private=bool(args.hub_private_repo),
            base_model=model_args.model_name_or_path,
            datasets=_on_the_hub(sources),
        )
    )


def main(argv: list[str] | None = None) -> None:
    """The command. An error or Ctrl-C ends it with one line; `--debug` shows the traceback."""
    with ending_in_one_line("training", wants_traceback(sys.argv if argv is None else argv)):
        data, args, model_args = parse(argv)
        merged = train(data, args, model_args)
        if not data.dry_run and args.process_index == 0:
            print(f"The adapter, its card and training.json are in {merged.parent}, the whole model in {merged}.")
            print(f"Next: cadvi ask LEFT.jpg RIGHT.jpg --model {merged}")


if __name__ == "__main__":
    main()
