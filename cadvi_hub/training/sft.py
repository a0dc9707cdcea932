"""Tune a vision-language model on images and messages: LoRA, and the projector in full (paper, section 3.1).

    accelerate launch -m cadvi_hub.training.sft --config recipe.yaml [--learning_rate 5e-5 …]

A recipe's keys are the fields of `DataArguments`, `TuningConfig` (TRL's SFTConfig) and `TuningModel` (TRL's
ModelConfig); the command line wins over the file. `output_dir` gets the adapter with its processor, `training.json`
(rows, settings, loss curve) and `merged/`, the model that loads without PEFT. `resume_from_checkpoint: true` goes on
from the last complete checkpoint, if there is one, exactly as if nothing had happened. `push_to_hub: true` publishes
the adapter as `cadvi publish` does.

Checkpoints hold weights as safetensors, and optimizer, scheduler and random states as torch.save writes them: pickles,
which transformers loads with `weights_only`, so that they cannot run code. (DeepSpeed loads its own without: resume
from your own alone.) None of them is published.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from transformers import set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from trl import get_peft_config

from cadvi_hub.core.errors import InputError
from cadvi_hub.hub.publish import PublishSettings, publish_model
from cadvi_hub.training.adapters import merge
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.mixture import load_mixture, parse_sources, pin
from cadvi_hub.training.models import load_base, load_processor, template_file
from cadvi_hub.training.revisions import hub_commit
from cadvi_hub.training.runs import chosen_settings, claim_folder, last_checkpoint, run_log, write_log
from cadvi_hub.training.settings import DataArguments, TuningConfig, TuningModel, check_settings, parse
from cadvi_hub.training.streaming import stream_mixture
from cadvi_hub.training.structure import check_trainable, lora_targets, projector_names
from cadvi_hub.training.trainer import TuningTrainer


def train(data: DataArguments, args: TuningConfig, model_args: TuningModel) -> Path:
    """Train, save, push if `args.push_to_hub`, and merge; gives the folder of the merged model.

    Raises:
        InputError: settings, model, data or output folder are not fit to train.
    """
    started = time.monotonic()
    check_settings(args, model_args)
    output_dir = Path(str(args.output_dir))
    settings = chosen_settings(data, args, model_args)
    sources = pin(parse_sources(data.mixture))
    base, base_revision = str(model_args.model_name_or_path), None
    if not Path(base).is_dir():
        base_revision = hub_commit(f"model {base!r}", base, "model", model_args.model_revision)
        model_args = dataclasses.replace(model_args, model_revision=base_revision)
    template = template_file(args.chat_template_path) if args.chat_template_path else None
    args.chat_template_path = str(template) if template else None
    model = load_base(model_args)
    processor = load_processor(model_args, template)
    revisions = {"base_revision": base_revision, "data_revisions": {name: of.revision for name, of in sources.items()}}
    processes = {"processes": args.world_size} if args.world_size > 1 else {}
    settings |= revisions | processes  # what else decides the losses, and must be the same when a run is resumed
    with args.main_process_first(desc="data"):
        claim_folder(output_dir, settings)
        if data.streaming:
            mixture = stream_mixture(sources, processor, data.max_tokens, args.seed)
        else:
            mixture = load_mixture(sources, processor, data.max_tokens, args.seed, args.dataset_num_proc)
    adapter = dataclasses.replace(
        model_args,
        lora_target_modules=model_args.lora_target_modules or lora_targets(model),
        lora_modules_to_save=model_args.lora_modules_to_save or projector_names(model),
    )
    set_seed(args.seed)  # LoRA's first weights are drawn before the trainer sets it
    peft_config: Any = get_peft_config(adapter)
    peft_config.revision = base_revision
    trainer = TuningTrainer(
        model=model,
        args=args,
        data_collator=Collator(processor, max_tokens=data.max_tokens, pad_to_multiple_of=args.pad_to_multiple_of),
        train_dataset=mixture.dataset,
        processing_class=processor,
        peft_config=peft_config,
    )
    check_trainable(trainer.model)
    resume = args.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=last_checkpoint(output_dir) if str(resume).lower() == "true" else resume)
    trainer.save_model(_internal_call=True)  # without transformers' push, which takes all files but ours
    first, state = trainer.is_world_process_zero(), trainer.state
    trainer.end()
    # Gloo's threads need the GIL to let go of their last work; deleting the model holds it and waits for them, at
    # times for ever (pytorch/pytorch#56297).
    time.sleep(0.5 if args.world_size > 1 else 0)
    unset_hf_deepspeed_config()  # else ZeRO-3 would share the merged model out among processes that are done
    del trainer, model  # the merge loads the base once more
    merged = output_dir / "merged"
    if first:
        log = run_log(settings, mixture, state, time.monotonic() - started)
        write_log(output_dir, log | {"finished": False})  # the curve stays where the merged model fails its proof
        merge(output_dir, merged)
        write_log(output_dir, log)
        if args.push_to_hub:
            publish_adapter(args, model_args, [source.path for source in sources.values()])
    return merged


def publish_adapter(args: TuningConfig, model_args: TuningModel, data: list[str]) -> None:
    """Publish the adapter in `args.output_dir` with its card.

    Args:
        args: names folder and repository.
        model_args: names the base.
        data: folders and repositories of the mixture; the card's metadata names the latter.

    Raises:
        InputError: the Hub refuses.
    """
    publish_model(
        PublishSettings(
            folder=Path(str(args.output_dir)),
            repo_id=str(args.hub_model_id),
            kind="model",
            private=bool(args.hub_private_repo),
            base_model=str(model_args.model_name_or_path),
            datasets=sorted({path for path in data if not Path(path).is_dir()}),
        )
    )


def main(argv: list[str] | None = None) -> None:
    """The command: bad input ends it with a message and no traceback."""
    try:
        train(*parse(argv))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
