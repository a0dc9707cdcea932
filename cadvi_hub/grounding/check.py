"""A summary's statements against the scene graphs of both images, with the verdicts of `cadvi_hub.grounding.picture`.

A statement about both images is supported if both support it, and contradicted if one contradicts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cadvi_hub.core.scene_graph import SceneGraph
from cadvi_hub.core.schema import CadSummary
from cadvi_hub.grounding.claims import Claim, read_claims
from cadvi_hub.grounding.picture import Picture, Verdict

COMMONALITIES = "Commonalities"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a summary.

    Attributes:
        section: "Commonalities" or an aspect.
        text: its words.
        verdict: whether it is right.
        difference: for what a difference says one image shows, whether the other one lacks it: contradicted, it is
            right, but no difference. None for all else.
    """

    section: str
    text: str
    verdict: Verdict
    difference: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Grounding:
    """A summary's statements, each with its verdict."""

    statements: tuple[Statement, ...]

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """Per section that has statements, the number of each verdict."""
        counts: dict[str, Counter[str]] = {}
        for statement in self.statements:
            counts.setdefault(statement.section, Counter())[statement.verdict] += 1
        return counts

    def share(self, verdict: Verdict) -> float:
        """Share of all statements that have `verdict`; 0 where there is no statement."""
        return sum(s.verdict == verdict for s in self.statements) / max(len(self.statements), 1)

    def first(self, verdict: Verdict) -> Statement | None:
        """The first statement that has `verdict`."""
        return next((s for s in self.statements if s.verdict == verdict), None)


def check_grounding(summary: CadSummary, graphs: tuple[SceneGraph, SceneGraph]) -> Grounding:
    """Look up every statement of `summary` in the scene graphs of image 1 and image 2."""
    pictures = [Picture(graph) for graph in graphs]
    sections = [(COMMONALITIES, summary.commonalities), *((str(d.aspect), d.text) for d in summary.differences)]
    return Grounding(
        tuple(
            Statement(section, claim.text, _verdict(claim, pictures), _difference(claim, pictures, section))
            for section, text in sections
            for claim in read_claims(text, common=section == COMMONALITIES)
        )
    )


def _difference(claim: Claim, pictures: Sequence[Picture], section: str) -> Verdict | None:
    if section == COMMONALITIES or claim.content is None or len(claim.shown_in) != 1:
        return None
    return pictures[1 - claim.shown_in[0]].lacks(claim.content)


def _verdict(claim: Claim, pictures: Sequence[Picture]) -> Verdict:
    content = claim.content
    if content is None:
        return Verdict.UNKNOWN
    verdicts = {pictures[k].shows(content) for k in claim.shown_in}
    verdicts |= {pictures[k].lacks(content) for k in claim.absent_from}
    for verdict in (Verdict.CONTRADICTED, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.SUPPORTED
