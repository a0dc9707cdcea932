"""Tune a LLaVA on images and messages: LoRA on the language model, the projector in full (paper, section 3.1).

    accelerate launch -m cadvi_hub.training.sft --config recipe.yaml [--learning_rate 5e-5 …]

A recipe's keys are the fields of `DataArguments`, `TuningConfig` (TRL's SFTConfig) and `TuningModel` (TRL's
ModelConfig); the command line wins over the file. `output_dir` gets the adapter with its processor, `training.json`
(rows, settings, loss curve) and `merged/`, the model that loads without PEFT. `resume_from_checkpoint: true` goes on
from the last complete checkpoint, if there is one.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from trl import SFTTrainer, get_peft_config

from cadvi_hub.errors import InputError
from cadvi_hub.training.adapters import check_trainable, lora_targets, merge, projector_name
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.models import load_base, load_processor, template_file
from cadvi_hub.training.runs import chosen_settings, claim_folder, last_checkpoint, run_log, write_log
from cadvi_hub.training.sampling import GroupedSampler
from cadvi_hub.training.settings import DataArguments, TuningConfig, TuningModel, check_settings, parse


class TuningTrainer(SFTTrainer):
    """TRL's trainer with the projector at its own learning rate; it leaves no pickle in what it saves."""

    args: TuningConfig

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        # From the stored lists' offsets: a gathered column would hold every picture of the mixture in memory.
        images = pc.list_value_length(rows.data.column("images")).fill_null(0).to_numpy()
        if rows._indices is not None:  # the rows are a shuffled view
            images = images[rows._indices.column(0).to_numpy()]
        rows_per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return GroupedSampler(rows["length"][:], images, rows_per_step, seed)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(model)
        trained: Any = self.model if model is None else model
        projector = {id(weight) for name, weight in trained.named_parameters() if ".modules_to_save." in name}
        groups = []
        for group in optimizer.param_groups:
            for own_rate in (False, True):
                weights = [weight for weight in group["params"] if (id(weight) in projector) == own_rate]
                rate = self.args.projector_lr if own_rate else group["lr"]
                groups += [{**group, "params": weights, "lr": rate}] if weights else []
        optimizer.param_groups[:] = groups
        return optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        Path(output_dir or str(self.args.output_dir), "training_args.bin").unlink(missing_ok=True)


def train(data: DataArguments, args: TuningConfig, model_args: TuningModel) -> Path:
    """Train, save, push if `args.push_to_hub`, and merge; gives the folder of the merged model.

    Raises:
        InputError: settings, model, data or output folder are not fit to train.
    """
    started = time.monotonic()
    check_settings(args, model_args)
    output_dir = Path(str(args.output_dir))
    settings = chosen_settings(data, args, model_args)
    template = template_file(args.chat_template_path) if args.chat_template_path else None
    args.chat_template_path = str(template) if template else None
    model = load_base(model_args)
    processor = load_processor(model_args, template)
    with args.main_process_first(desc="data"):
        claim_folder(output_dir, settings)
        mixture = load_mixture(data.mixture, processor, data.max_tokens, args.seed, args.dataset_num_proc)
    adapter = dataclasses.replace(
        model_args,
        lora_target_modules=model_args.lora_target_modules or lora_targets(model),
        lora_modules_to_save=model_args.lora_modules_to_save or [projector_name(model)],
    )
    trainer = TuningTrainer(
        model=model,
        args=args,
        train_dataset=mixture.dataset,
        processing_class=processor,
        peft_config=get_peft_config(adapter),
    )
    check_trainable(trainer.model)
    resume = args.resume_from_checkpoint
    trainer.train(resume_from_checkpoint=last_checkpoint(output_dir) if str(resume).lower() == "true" else resume)
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()
    merged = output_dir / "merged"
    if trainer.is_world_process_zero():
        merge(output_dir, merged)
        write_log(output_dir, run_log(settings, mixture, trainer.state, time.monotonic() - started))
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
