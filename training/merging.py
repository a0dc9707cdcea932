"""The command `cadvi merge`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class MergeSettings:
    """What to merge.

    Attributes:
        adapter: Folder of the adapter (LoRA and projector).
        out: Folder for the merged model.
    """

    adapter: Path
    out: Path


def merge_adapter(settings: MergeSettings) -> str:
    """Merge the adapter into its base; the merged model's logits are compared with the adapter's."""
    from cadvi_hub.training.adapters import merge

    difference = merge(settings.adapter, settings.out)
    return f"{settings.out}: largest difference of a logit {difference:.2e}"
