"""A training's output folder: which run it belongs to, its last checkpoint, and its log (`training.json`)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, write_json
from cadvi_hub.hub.model_card import TRAINING_LOG
from cadvi_hub.training.mixture import Mixture
from cadvi_hub.training.recipe import TuningConfig

# These do not change what a run computes. accelerate fills in accelerator_config.
UNRECORDED = {"output_dir", "resume_from_checkpoint", "hub_token", "disable_tqdm", "accelerator_config"}
UNRECORDED |= {"dataloader_num_workers", "dataloader_persistent_workers", "dataset_num_proc"}
UNRECORDED |= {"report_to", "run_name", "project", "trackio_space_id"}


def chosen_settings(*groups: Any) -> Json:
    """Every field of the settings that differs from its default, without secrets."""
    chosen: Json = {}
    for group in groups:
        values = group.to_dict() if hasattr(group, "to_dict") else dataclasses.asdict(group)
        for field in dataclasses.fields(group):
            if not field.init or field.name in UNRECORDED or getattr(group, field.name) in (None, [], {}):
                continue
            if (value := values[field.name]) != field.default:
                chosen[field.name] = value
    as_in_file: Json = json.loads(json.dumps(chosen))  # tuples become lists
    return as_in_file


def checkpoint_to_resume(args: TuningConfig) -> str | bool | None:
    """What `resume_from_checkpoint` means: for `true` the last complete checkpoint, or None if there is none."""
    chosen = args.resume_from_checkpoint
    return last_checkpoint(Path(str(args.output_dir))) if str(chosen).lower() == "true" else chosen


def last_checkpoint(output_dir: Path) -> str | None:
    """The newest complete checkpoint (the trainer's state is written last), or None.

    A checkpoint that a kill or a full disk cut off is skipped. The resumed run writes it again.
    """
    states = output_dir.glob("checkpoint-*/trainer_state.json")
    newest_first = sorted(states, key=lambda state: int(state.parent.name.rpartition("-")[2]), reverse=True)
    return next((str(state.parent) for state in newest_first if _is_whole(state)), None)


def _is_whole(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_text(encoding="utf-8")))
    except ValueError:  # cut off
        return False


def claim_folder(output_dir: Path, settings: Json) -> None:
    """Record in `output_dir` which settings train there, before anything else is written.

    Raises:
        InputError: it cannot be written, or it holds a model or a checkpoint of other settings.
    """
    file = output_dir / TRAINING_LOG
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if held and (held["finished"] or last_checkpoint(output_dir)):
            earlier = held["settings"]
            if differing := sorted(key for key in earlier | settings if earlier.get(key) != settings.get(key)):
                problem = f"the folder holds a run with other settings ({', '.join(differing)})"
                raise InputError(str(output_dir), problem, "Choose another output_dir, or remove the folder")
        elif held is None or held["settings"] != settings:  # every process calls this, the first one writes
            write_json(file, {"finished": False, "settings": settings})
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(str(file), f"cannot be used ({error})", "Choose another output_dir") from error


def run_log(settings: Json, mixture: Mixture, state: Any, wall_seconds: float) -> Json:
    """The content of `training.json` after a run.

    Keys:
        finished: whether the run, its merge included, is complete.
        settings: those that differ from their defaults, and the revisions of base and data.
        rows, dropped, cut: per source, the latter two by reason; of a stream, only what this process run has read.
        steps: optimizer steps.
        wall_seconds: duration of this run, without the time before a resume.
        curve: a list of {step, epoch, loss, grad_norm, learning_rate (LoRA's), entropy, mean_token_accuracy,
            num_tokens (since the start or a resume), tokens_per_second, padding_share, peak_memory_gib}, over all
            processes, since the entry before.
    """
    return {
        "finished": True,
        "settings": settings,
        "rows": mixture.rows,
        "dropped": mixture.dropped,
        "cut": mixture.cut,
        "steps": state.global_step,
        "wall_seconds": round(wall_seconds, 1),
        "curve": [entry for entry in state.log_history if "loss" in entry],
    }
