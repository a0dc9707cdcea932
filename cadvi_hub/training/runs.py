"""A training's output folder: which run it belongs to, its checkpoints, its result, and its log (`training.json`).

OUT/checkpoint-20/manifest.json     size and digest of each file of the checkpoint, written last
OUT/training.json                   settings and curve; of a finished run also the manifest of its model files
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, read_file, read_json, sync_folder, write_json
from cadvi_hub.core.manifest import Manifest, damage, manifest_of
from cadvi_hub.core.output import OutputFolder, open_output
from cadvi_hub.hub.model_card import TRAINING_LOG
from cadvi_hub.hub.publish import MODEL_FILES
from cadvi_hub.hub.upload import CARD
from cadvi_hub.training.mixture import Mixture
from cadvi_hub.training.recipe import Tuning

# These do not change what a run computes. accelerate fills in accelerator_config.
UNRECORDED = {"output_dir", "resume_from_checkpoint", "hub_token", "disable_tqdm", "accelerator_config"}
UNRECORDED |= {"dry_run"}
UNRECORDED |= {"dataloader_num_workers", "dataloader_persistent_workers", "dataset_num_proc"}
UNRECORDED |= {"report_to", "run_name", "project", "trackio_space_id", "push_to_hub", "hub_model_id"}
UNRECORDED |= {
    "eval_mixture",
    "eval_strategy",
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "per_device_eval_batch_size",
}
UNRECORDED |= {"save_strategy", "save_steps", "save_total_limit", "logging_strategy", "logging_steps"}

CHECKPOINT_MANIFEST = "manifest.json"
MERGED = "merged"  # folder of the merged model
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_MODEL_FILES = [name for name in MODEL_FILES if not name.startswith(("LICENSE", "NOTICE"))]  # those are the user's
_WRITTEN = (TRAINING_LOG, CARD, *_MODEL_FILES, "checkpoint-[0-9]*", MERGED)

logger = logging.getLogger(__name__)


@contextmanager
def training_folder(args: Tuning) -> Iterator[OutputFolder | None]:
    """The output folder, which the first process of a training locks; None in the others.

    Raises:
        InputError: another training is writing to it, or a file is in its way that no training made.
    """
    if args.process_index:
        yield None
        return
    with open_output(Path(str(args.output_dir)), "training", _written_before_records) as output:
        output.check(_WRITTEN)
        yield output


def model_names(folder: Path) -> list[str]:
    """The files of a model in `folder`, and its card."""
    return [file.name for pattern in (*_MODEL_FILES, CARD) for file in folder.glob(pattern)]


def _written_before_records(folder: Path) -> list[str]:
    """What a training of an earlier version wrote to its folder."""
    try:
        log = json.loads(read_file(folder / TRAINING_LOG))
    except (OSError, ValueError):
        return []
    if not isinstance(log, dict) or not {"finished", "settings"} <= log.keys():
        return []
    return [path.name for pattern in _WRITTEN for path in folder.glob(pattern)]


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


def checkpoint_to_resume(args: Tuning) -> str | None:
    """What `resume_from_checkpoint` means: for `true` the last complete checkpoint, or None if there is none.

    Raises:
        InputError: a checkpoint is named that is not complete.
    """
    chosen = str(args.resume_from_checkpoint)
    if chosen.lower() == "true":
        return last_checkpoint(Path(str(args.output_dir)))
    if chosen.lower() in ("false", "none", ""):
        return None
    for problem in checkpoint_damage(Path(chosen)):
        raise InputError(chosen, problem, "Name a complete checkpoint, or leave resume_from_checkpoint out")
    return chosen


def last_checkpoint(output_dir: Path) -> str | None:
    """The newest complete checkpoint, or None; the log names newer ones that are not complete.

    The resumed run writes those again.
    """
    steps = {
        int(match[1]): folder
        for folder in output_dir.glob("checkpoint-*")
        if (match := _CHECKPOINT.fullmatch(folder.name)) and folder.is_dir()
    }
    for step in sorted(steps, reverse=True):
        problem = next(checkpoint_damage(steps[step]), None)
        if problem is None:
            return str(steps[step])
        logger.warning("%s is passed over: %s", steps[step], problem)
    return None


def complete_checkpoint(folder: Path) -> None:
    """Write the manifest of a checkpoint, which makes it complete, once everything else is on the disk."""
    sync_folder(folder)
    write_json(folder / CHECKPOINT_MANIFEST, manifest_of(folder))


def checkpoint_damage(folder: Path) -> Iterator[str]:
    """Why a checkpoint is not complete; nothing if all its files are as they were written."""
    manifest = folder / CHECKPOINT_MANIFEST
    if not manifest.is_file():
        yield f"it has no {CHECKPOINT_MANIFEST}, so it was cut off or an older version wrote it"
        return
    try:
        yield from damage(folder, read_json(manifest), digests=True)
    except InputError as error:
        yield f"{CHECKPOINT_MANIFEST}: {error.problem}"


def is_finished(output_dir: Path, settings: Json) -> bool:
    """Whether a run of these settings is finished in `output_dir`, with all its files.

    Raises:
        InputError: one of other settings is finished there, or the model's files are damaged.
    """
    file = output_dir / TRAINING_LOG
    if not file.is_file():
        return False
    held = read_json(file, "Choose another output_dir, or remove the folder")
    if held.get("finished") is not True:
        return False
    _check_settings(output_dir, held.get("settings"), settings)
    for problem in damage(output_dir, held.get("files", {})):
        hint = f"Merge the adapter again (cadvi merge), or remove {TRAINING_LOG} there to go on from a checkpoint"
        raise InputError(str(output_dir), f"the finished model is damaged: {problem}", hint)
    return True


def model_files(output_dir: Path) -> Manifest:
    """The manifest of the adapter in `output_dir` and the merged model below it, once they are on the disk."""
    files = [folder / name for folder in (output_dir, output_dir / MERGED) for name in model_names(folder)]
    sync_folder(output_dir / MERGED)
    return manifest_of(output_dir, [file for file in files if file.name != CARD])


def _check_settings(output_dir: Path, earlier: Any, settings: Json) -> None:
    """Raise InputError if the run in `output_dir` has other settings."""
    earlier = earlier if isinstance(earlier, dict) else {}
    if differing := sorted(key for key in earlier | settings if earlier.get(key) != settings.get(key)):
        problem = f"the folder holds a run with other settings ({', '.join(differing)})"
        raise InputError(str(output_dir), problem, "Choose another output_dir, or remove the folder")


def claim_folder(output_dir: Path, settings: Json) -> None:
    """Record in `output_dir` which settings train there, before anything else is written.

    Raises:
        InputError: it cannot be written, or it holds a model or a checkpoint of other settings.
    """
    file = output_dir / TRAINING_LOG
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if held and (held["finished"] or any(output_dir.glob(f"checkpoint-*/{CHECKPOINT_MANIFEST}"))):
            _check_settings(output_dir, held["settings"], settings)
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
        evaluations: a list of {step, epoch, eval_loss, …} over the held-out rows, if there are some.
        files: of a finished run, the manifest of adapter and merged model (`model_files`).
    """
    log: Json = {
        "finished": True,
        "settings": settings,
        "rows": mixture.rows,
        "dropped": mixture.dropped,
        "cut": mixture.cut,
        "steps": state.global_step,
        "wall_seconds": round(wall_seconds, 1),
        "curve": [entry for entry in state.log_history if "loss" in entry],
    }
    if evaluations := [entry for entry in state.log_history if "eval_loss" in entry]:
        log["evaluations"] = evaluations
    return log
