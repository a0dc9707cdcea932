"""Settings of pairs: how they are mined, and which data set is explained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class PairSettings:
    """How pairs are mined from captions.

    Attributes:
        min_shared: nouns that two captions must share at least.
        max_uses_per_image: pairs in which one image may stand.
        max_pairs: pairs at most.
        closest_first: whether pairs that share the most nouns are taken first, or any that share `min_shared`. The
            closest pairs differ least: they are the hardest to tell apart, and the published ones are not all close.
        posting_cap: captions per noun that take part in the search for candidates.
        seed: decides between pairs whose shared nouns are as many and as rare, which captions take part, and which
            image of a pair comes first.
    """

    min_shared: int = 2
    max_uses_per_image: int = 4
    max_pairs: int = 278_000
    posting_cap: int = 200
    closest_first: bool = True
    seed: int = 0


@dataclass
class ExplainSettings:
    """Which data set to explain.

    Attributes:
        folder: of a finished build whose pairs were mined from captions, with its `build.json`.
    """

    folder: Path
