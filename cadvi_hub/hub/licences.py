"""The licences of the texts and pictures of known sources, for a data set's card.

Only what the publishers themselves state is here. A source is found by its name in the rows: `source.name` of the
recipe, for Localized Narratives followed by a slash and the collection. To add a source, add a line to `LICENCES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SEE_SOURCE = "see its source"
_FLICKR = "of their photographers, under Flickr's terms of use"  # COCO and Flickr30k own no picture


class Licence(NamedTuple):
    """The licences of a source's captions, questions or annotations, and of its pictures."""

    texts: str = SEE_SOURCE
    pictures: str = SEE_SOURCE


LICENCES = {
    "localized_narratives/open_images": Licence("CC-BY-4.0", "listed as CC-BY-2.0; Open Images vouches for none"),
    "localized_narratives/coco": Licence("CC-BY-4.0", _FLICKR),
    "localized_narratives/flickr30k": Licence("CC-BY-4.0", _FLICKR),
    "localized_narratives/ade20k": Licence("CC-BY-4.0", "for non-commercial research and education"),
    "svit": Licence("CC-BY-4.0"),
    "visual_genome": Licence("CC-BY-4.0"),
    "cad_inst": Licence("MIT"),
    "cad_qa": Licence("MIT"),
    "bison": Licence("CC-BY-NC-4.0", _FLICKR),
    "svo_probes": Licence("CC-BY-4.0"),
    "nlvr2": Licence("CC-BY-4.0"),
    "eqben": Licence("Apache-2.0"),
    "cola": Licence("MIT"),
    "seed_bench": Licence("CC-BY-NC-4.0"),
}


def licences_of(sources: Iterable[str]) -> list[tuple[str, Licence]]:
    """Each source once, in alphabetical order, with its licence. Pairs across two sources (`a+b`) count for both."""
    names = {name for source in sources for name in source.split("+")}
    return [(name, LICENCES.get(name.lower().replace("-", "_"), Licence())) for name in sorted(names)]
