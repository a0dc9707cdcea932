"""The command `cadvi merge`."""

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

    difference = merge(fetch_adapter(settings.adapter), settings.out)
    return f"{settings.out}: largest difference of a logit {difference:.2e}"
