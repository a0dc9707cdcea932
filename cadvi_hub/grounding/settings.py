"""What `cadvi ground` checks, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass
class GroundSettings:
    """What is checked, and by what.

    Attributes:
        folder: a built data set with summaries, e.g. `data/v1`; `grounding.json` is written there.
        graphs: folder with Visual Genome's `scene_graphs.json` (or `objects.json`, `attributes.json` and
            `relationships.json`), or with the `scenes.jsonl` of drawn pictures.
        source: only the rows of this source, where collections share file names; by default, all rows.
        bad_rows: `refuse` ends with an error that names the bad graph; `drop` counts it and goes on.
    """

    folder: Path
    graphs: Path
    source: str | None = None
    bad_rows: Literal["refuse", "drop"] = "refuse"
