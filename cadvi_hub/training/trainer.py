"""TRL's trainers with what this project adds: grouped batches, a rate for the projector, the cost of a step."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints
from trl import SFTTrainer

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.output import OutputFolder
from cadvi_hub.training.collator import IGNORED
from cadvi_hub.training.recipe import Tuning
from cadvi_hub.training.runs import CHECKPOINT_MANIFEST, complete_checkpoint
from cadvi_hub.training.sampling import GroupedSampler, Grouping, StreamingSampler
from cadvi_hub.training.streaming import RowStream
from cadvi_hub.training.structure import TunedParts, parts_of, run_frozen_tower_without_gradient


class EpochOrder(TrainerCallback):
    """Gives the sampler its epoch, and a streaming sampler the steps that a resumed run skips.

    accelerate does not set the epoch when several processes resume inside a later one.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        batches = train_dataloader.batch_sampler
        while hasattr(batches, "batch_sampler"):
            batches = batches.batch_sampler
        if hasattr(batches.sampler, "set_epoch"):
            batches.sampler.set_epoch(int(state.epoch))
        if isinstance(batches.sampler, StreamingSampler):
            steps_per_epoch = -(-len(train_dataloader) // args.gradient_accumulation_steps)
            batches.sampler.skipped_steps = 0 if args.ignore_data_skip else state.global_step % steps_per_epoch


class FreshGradients(TrainerCallback):
    """Clears ZeRO-3's gradients after a step: those of weights that the next step does not use would count again."""

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        gradients = getattr(getattr(optimizer, "optimizer", None), "grad_partitions_flat_buffer", None)
        if gradients is not None:
            gradients.zero_()


class Tuner(Trainer):
    """What the trainers of all methods share. It comes before TRL's trainer of a method in a list of base classes.

    The projector has a learning rate of its own. No `training_args.bin` is saved, which is a pickle.

    Its log adds `tokens_per_second` (over all processes, without padding), `padding_share` (of all places in the
    batches) and `peak_memory_gib` (of the fullest GPU, or of the largest process where there is no GPU).
    """

    args: Tuning

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing at a checkpoint: `training.sft` writes the card at the end. TRL's names the base "None"."""

    def __init__(self, model: PreTrainedModel, output: OutputFolder | None = None, **kwargs: Any):
        self.output = output  # records the checkpoints
        # FSDP shards these layers one by one. For a CLIP tower, transformers also names absent text layers.
        present = {type(module).__name__ for module in model.modules()}
        model._no_split_modules = present & set(model._no_split_modules or ())
        rows = kwargs.pop("train_dataset")
        # TRL only takes data sets of `datasets`, and checks whether the first row has images.
        first = Dataset.from_list([rows.spare]) if isinstance(rows, RowStream) else rows
        super().__init__(model=model, train_dataset=first, **kwargs)
        self.train_dataset = rows
        run_frozen_tower_without_gradient(cast(PeftModel, self.model))
        self.add_callback(EpochOrder())
        self.add_callback(FreshGradients())
        if not self.is_deepspeed_enabled:  # DeepSpeed keeps float32 copies itself
            # PEFT copies the projector in the base's dtype. In bfloat16 most steps of 2e-5 would be rounded away.
            trained: Any = self.model
            for name, weight in trained.named_parameters():
                if ".modules_to_save." in name:
                    weight.data = weight.data.float()
        self._tokens: Any = 0
        self._places, self._since = 0, 0.0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        is_stream, images = isinstance(rows, RowStream), _images_per_row(rows)
        strategy = self.args.train_sampling_strategy
        is_grouped = strategy in ("group_by_length", "llava")
        if not is_grouped:
            if (self.is_fsdp_enabled or self.is_deepspeed_enabled) and 0 < np.count_nonzero(images) < len(images):
                problem = "rows with and without images are mixed, so that processes would wait for each other forever"
                hint = "Set train_sampling_strategy: group_by_length or llava, or train with DDP"
                raise InputError("settings, train_sampling_strategy", problem, hint)
            if not is_stream:
                return super()._get_train_sampler(train_dataset)
        rows_per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        grouping = Grouping(strategy, rows_per_step, self.args.train_batch_size)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        whole_steps = self.args.world_size > 1
        if is_stream:
            return StreamingSampler(rows, grouping, seed, whole_steps)
        return GroupedSampler(rows["length"][:], images, grouping, seed, whole_steps)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(model)
        trained: Any = self.model if model is None else model
        named = dict(trained.named_parameters())
        parts = parts_of(cast(Any, self.model).get_base_model(), named)
        owner = {id(weight): parts[name] for name, weight in named.items()}
        rates = {"projector": self.args.projector_lr, "vision_tower": self.args.vision_tower_lr}
        groups = []
        for group in optimizer.param_groups:
            for part in TunedParts._fields:
                weights = [weight for weight in group["params"] if owner[id(weight)] == part]
                groups += [{**group, "params": weights, "lr": rates.get(part, group["lr"])}] if weights else []
        optimizer.param_groups[:] = groups
        return optimizer

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            self._since = self._since or time.monotonic()
            whole = "attention_mask" in inputs  # otherwise a prompt and what the model wrote after it
            for name in ("attention_mask",) if whole else ("prompt_mask", "completion_mask"):
                self._tokens += inputs[name].sum()
                self._places += inputs[name].numel()
        trainer: Any = super()
        return trainer.compute_loss(model, inputs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As transformers', but the training goes on with the random numbers that it would have without."""
        device = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        trainer: Any = super()
        with torch.random.fork_rng(device):
            metrics: dict[str, float] = trainer.evaluate(*args, **kwargs)
        return metrics

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        trainer: Any = super()
        loss: torch.Tensor = trainer.training_step(*args, **kwargs)
        self._check_finite("loss", loss.item())
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        trainer: Any = super()
        norm = trainer._get_grad_norm(*args, **kwargs)
        if norm is not None and not self.args.fp16:  # with float16, steps that overflow are skipped
            self._check_finite("norm of its gradient", float(norm))
        return norm

    def _check_finite(self, name: str, value: float) -> None:
        """Stop before a step spoils the weights; transformers would log 0 and go on."""
        if not math.isfinite(value):
            hint = (
                "Lower learning_rate or projector_lr, or set bf16: true instead of fp16; checkpoints are from before"
            )
            raise InputError(f"step {self.state.global_step + 1}", f"the {name} is {value}", hint)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            counts = torch.tensor([[self._tokens, self._places, _peak_memory()]], device=self.args.device)
            counts = self.accelerator.gather(counts).cpu()
            tokens, places = counts[:, :2].sum(dim=0).tolist()
            now = time.monotonic()
            logs["tokens_per_second"] = tokens / (now - self._since)
            logs["padding_share"] = 1 - tokens / places
            logs["peak_memory_gib"] = counts[:, 2].max().item()
            self._tokens, self._places, self._since = 0, 0, now
        super().log(logs, start_time)

    def _init_training_state(self, max_steps: int, *args: Any) -> tuple[int, int]:
        done: tuple[int, int] = super()._init_training_state(max_steps, *args)
        self.state.compute_steps(self.args, max_steps)  # a resumed run may save and log at other steps
        if self.state.global_step >= max_steps:  # transformers would take one more step
            return sys.maxsize, 0
        return done

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.output:
            self.output.claim([folder.name])
        if self.args.should_save:
            (folder / CHECKPOINT_MANIFEST).unlink(missing_ok=True)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        trainer: Any = super()
        try:
            trainer._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()  # until every process has written its files
        if self.args.should_save:
            complete_checkpoint(folder)
            # Only now: older checkpoints must stay until this one is complete.
            best = self.state.best_model_checkpoint
            rotate_checkpoints(str(self.args.output_dir), limit, best_model_checkpoint=best, use_mtime=True)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        Path(output_dir or str(self.args.output_dir), "training_args.bin").unlink(missing_ok=True)

    def close(self) -> None:
        """Let the processes part, so that the first one can merge alone."""
        trainer: Any = self
        trainer.end()
        # Gloo's threads need the GIL to release their last work. Deleting the model holds it and waits for them,
        # sometimes forever (pytorch/pytorch#56297).
        time.sleep(0.5 if self.args.world_size > 1 else 0)
        unset_hf_deepspeed_config()  # otherwise ZeRO-3 shards the merged model among processes that have ended


class TuningTrainer(Tuner, SFTTrainer):
    """Supervised fine-tuning.

    Where there is no GPU, TRL projects every position to the vocabulary. Here only positions with a label are, as TRL
    does on a GPU; most positions of a prompt about two images have none.
    """

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        needs_all = self.compute_loss_func or self.label_smoother or self.args.torch_compile or not model.training
        if needs_all or inputs["labels"].device.type != "cpu":
            return super().compute_loss(model, inputs, *args, **kwargs)
        labels = inputs["labels"][:, 1:]
        scored = labels != IGNORED  # somewhere: the collator refuses a batch without a label
        inputs = {**inputs, "shift_labels": labels[scored][None]}

        def select(_: Any, __: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, :-1][scored][None]
            return output

        backbone: torch.nn.Module = cast(Any, self.model).get_base_model().base_model
        hook = backbone.register_forward_hook(select)
        try:
            return super().compute_loss(model, inputs, *args, **kwargs)
        finally:
            hook.remove()


def _images_per_row(rows: Any) -> np.ndarray:
    """How many images every row of a mixture has, (rows,)."""
    if isinstance(rows, RowStream):
        return rows.images
    # From the lists' offsets: reading the column would hold every picture of the mixture in memory.
    images: np.ndarray = pc.list_value_length(rows.data.column("images")).fill_null(0).to_numpy()
    if rows._indices is not None:  # `datasets` shuffles by a table of indices
        images = images[rows._indices.column(0).to_numpy()]
    return images


def _peak_memory() -> float:
    """Most GiB used so far, by this process's GPU, or by the process itself where there is no GPU."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
