"""A training's output folder: whose it is, where it stopped, and what it logged (`training.json`)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.training.mixture import Mixture

LOG_NAME = "training.json"
# Where a run is, how it reads and what it shows, not what it computes; accelerator_config is filled in by accelerate.
UNRECORDED = {"output_dir", "resume_from_checkpoint", "hub_token", "disable_tqdm", "accelerator_config"}
UNRECORDED |= {"dataloader_num_workers", "dataloader_persistent_workers", "dataset_num_proc"}
UNRECORDED |= {"report_to", "run_name", "project", "trackio_space_id"}


def chosen_settings(*groups: Any) -> dict[str, Any]:
    """Every field of the settings that differs from its default, without secrets."""
    chosen: dict[str, Any] = {}
    for group in groups:
        values = group.to_dict() if hasattr(group, "to_dict") else dataclasses.asdict(group)
        for field in dataclasses.fields(group):
            if not field.init or field.name in UNRECORDED or getattr(group, field.name) in (None, [], {}):
                continue
            if (value := values[field.name]) != field.default:
                chosen[field.name] = value
    return json.loads(json.dumps(chosen))  # as it reads back from the file


def last_checkpoint(output_dir: Path) -> str | None:
    """The newest checkpoint that was written to its end (the trainer's state comes last); None if there is none.

    One that a kill or a full disk cut off is passed over; the resumed run writes it again.
    """
    states = output_dir.glob("checkpoint-*/trainer_state.json")
    newest_first = sorted(states, key=lambda state: int(state.parent.name.rpartition("-")[2]), reverse=True)
    return next((str(state.parent) for state in newest_first if _is_whole(state)), None)


def _is_whole(state: Path) -> bool:
    try:
        return bool(json.loads(state.read_text(encoding="utf-8")))
    except ValueError:  # cut off inside
        return False


def write_log(output_dir: Path, log: dict[str, Any]) -> None:
    """Replace `training.json` at once."""
    partial = output_dir / f".{LOG_NAME}.partial"
    partial.write_text(json.dumps(log, indent=1), encoding="utf-8")
    partial.replace(output_dir / LOG_NAME)


def claim_folder(output_dir: Path, settings: dict[str, Any]) -> None:
    """Note in `output_dir` which settings train there, before anything else is written.

    Raises:
        InputError: it cannot be written, or holds a model or a checkpoint of other settings.
    """
    file = output_dir / LOG_NAME
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if held and (held["finished"] or last_checkpoint(output_dir)):
            earlier = held["settings"]
            if differing := sorted(key for key in earlier | settings if earlier.get(key) != settings.get(key)):
                problem = f"the folder holds a run with other settings ({', '.join(differing)})"
                raise InputError(str(output_dir), problem, "Choose another output_dir, or remove the folder")
        elif held is None or held["settings"] != settings:  # every process comes here: only the first one writes
            write_log(output_dir, {"finished": False, "settings": settings})
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(str(file), f"cannot be used ({error})", "Choose another output_dir") from error


def run_log(settings: dict[str, Any], mixture: Mixture, state: Any, wall_seconds: float) -> dict[str, Any]:
    """What `training.json` says when a run is done.

    Keys: `finished`; `settings` that differ from the defaults, with the revisions of base and data; `rows`, `dropped`
    (by reason) and `cut` (by kind) per source, the latter two of what was read since the start or the last resume if
    the mixture is streamed; `steps`; `wall_seconds` of this run, a resumed one's without what came
    before; `curve`, a list of {step, epoch, loss, grad_norm, learning_rate (LoRA's), entropy, mean_token_accuracy,
    num_tokens (since the start or the last resume), tokens_per_second, padding_share, peak_memory_gib}, of all
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
