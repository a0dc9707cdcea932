"""Readers of upstream files: one module per format, each a generator of records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FIRST_PLACES = 5


@dataclass
class SourceSettings:
    """Where records come from.

    Attributes:
        path: folder with the upstream files; for formats that are data sets, a folder or a repository on the Hub.
        name: what the `source` column says; cards tell the licences of known names (`localized_narratives`, `svit`,
            `cad_inst` …).
        bad_rows: `refuse` ends with an error that names the row; `drop` counts it and goes on.
        format: what the files look like: captioned_folder, localized_narratives, captioned_dataset, svit,
            similar_pairs, mimic_it, the_cauldron, llava_mix, cad_qa_file, cad_inst, cad_inst_questions or built
            (README has a table); left out, our own layout for the data set.
        images: folders with the pictures, sub-folders included; left out, names are relative to `path`.
        columns: formats that are data sets: their names of our columns, as `{caption: text}`.
        subset: formats that are data sets: which of their configurations.
        split: formats that are data sets: which of their splits.
    """

    path: Path
    name: str
    bad_rows: Literal["refuse", "drop"] = "refuse"
    format: str = ""
    images: list[Path] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    subset: str | None = None
    split: str = "train"


@dataclass
class Drops:
    """Dropped rows: per reason a count and the first places."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Count one dropped row; `place` says where it stood, e.g. `captions.jsonl, line 7`."""
        self._add(reason, 1, [place])

    def merge(self, counted: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what another ledger's `as_dict` holds."""
        for reason, entry in counted.items():
            self._add(reason, entry["count"], entry["first"])

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """`{reason: {"count": n, "first": [place, …]}}`, reasons in alphabetical order."""
        return {reason: {"count": self.counts[reason], "first": self.first[reason]} for reason in sorted(self.counts)}

    def _add(self, reason: str, count: int, places: list[str]) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        kept = self.first.setdefault(reason, [])
        kept += places[: FIRST_PLACES - len(kept)]
