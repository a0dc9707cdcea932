"""Dropped rows: each has a reason, a count and a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_PLACES = 5


@dataclass
class Drops:
    """Dropped rows: per reason a count and the first places."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Count one dropped row; `place` says where it was, e.g. `captions.jsonl, line 7`."""
        self._add(reason, 1, [place])

    def merge(self, counted: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the `as_dict` of other drops."""
        for reason, entry in counted.items():
            self._add(reason, entry["count"], entry["first"])

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """`{reason: {"count": n, "first": [place, …]}}`, reasons in alphabetical order."""
        return {reason: {"count": self.counts[reason], "first": self.first[reason]} for reason in sorted(self.counts)}

    def _add(self, reason: str, count: int, places: list[str]) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        kept = self.first.setdefault(reason, [])
        kept += places[: FIRST_PLACES - len(kept)]
