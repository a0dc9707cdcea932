"""The command `cadvi merge`."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass
class MergeSettings:
    """What to merge.

    Attributes:
        adapter: Folder or Hub repository of the adapter (LoRA and projector).
        out: Folder for the merged model; what is there is replaced.
    """

    adapter: str
    out: Path


def merge_adapter(settings: MergeSettings) -> str:
    """Merge the adapter into its base; the merged model's logits are compared with the adapter's."""
    from cadvi_hub.training.adapters import fetch_adapter, merge
    from cadvi_hub.training.runs import LOG_NAME

    adapter = fetch_adapter(settings.adapter)
    difference = merge(adapter, settings.out)
    if (record := Path(adapter, LOG_NAME)).is_file():
        shutil.copy(record, settings.out)  # the merged model's card tells of the training, too
    return f"{settings.out}: largest difference of a logit {difference:.2e}"
