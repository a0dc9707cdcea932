"""A claim against the scene graph of its picture: supported, contradicted, or unknown.

A thing *fits* a phrase if it has the kind, every attribute, the action and the place that the phrase states. It *may
fit* where the graph says nothing or is more general ("person" for a claimed man). The rules, for a complete (C) and an
incomplete (I) graph; all other cases are unknown:

- "a cat", "cats", "the cat": supported if one fits; contradicted (C) if none may fit, (I) if there is only one cat
  and it has another colour.
- "three cats": supported if exactly three fit and no other may (C), or exactly three fit and the graph names no group
  (I); contradicted (C) if more fit or fewer may.
- "no cat", or a cat that is only in the other image: contradicted if one fits; supported (C) if none may fit. Two cats
  that are only in the other image: the opposite of "two cats" in this one, since this one may have one cat or three.
- "a cat is above a dog": supported if two that fit are so placed, by a predicate, its converse, or their boxes;
  contradicted (C) if no two that may fit are so placed and it is left, right, above or below, (I) if there is one of
  each and they are placed the other way round.

Attributes exclude each other only among colours, sizes and patterns; actions and places only in a complete graph. In
an incomplete graph only colours exclude each other, except those that viewers confuse (red and orange). A word of no
such class ("wooden") is confirmed or unknown, never contradicted. A place in the picture is read loosely: what is at
the top left is at the top.
"""

from __future__ import annotations

from enum import StrEnum

from cadvi_hub.core.scene_graph import SceneGraph
from cadvi_hub.grounding.claims import Relation
from cadvi_hub.grounding.phrases import Mention, singular
from cadvi_hub.grounding.words import (
    COLORS,
    DIRECTIONS,
    GROUPS,
    NARROWER,
    OPPOSITE,
    PLACES,
    alike,
    canonical,
    direction,
    excludes,
    same_action,
)


class Verdict(StrEnum):
    """What the graphs say about a statement."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNKNOWN = "unknown"


class Picture:
    """A graph that is prepared for look-ups: the kinds and the words of every object."""

    def __init__(self, graph: SceneGraph):
        self._graph = graph
        self._kinds = [{singular(name.split()[-1]) for name in o.names if name.split()} for o in graph.objects]
        self._known = [_words(o.attributes) for o in graph.objects]
        self._words = [known | _words(o.names) for known, o in zip(self._known, graph.objects, strict=True)]
        self._doing = [set(words) for words in self._words]
        for subject, predicate, _ in graph.relations:  # "man, riding, horse"
            self._doing[subject].update(predicate.split())

    def shows(self, content: Mention | Relation) -> Verdict:
        """Whether it holds in the picture."""
        return self._related(content) if isinstance(content, Relation) else self._mentioned(content)

    def lacks(self, content: Mention | Relation) -> Verdict:
        """Whether it does not hold in the picture; without a number, one thing that fits is enough to contradict."""
        if isinstance(content, Relation) or content.count:
            shown = self.shows(content)
            return _NEGATION[shown] if shown == Verdict.SUPPORTED or self._graph.complete else Verdict.UNKNOWN
        fits = self._fits(content)
        if Verdict.SUPPORTED in fits:
            return Verdict.CONTRADICTED
        return Verdict.SUPPORTED if self._graph.complete and Verdict.UNKNOWN not in fits else Verdict.UNKNOWN

    def _mentioned(self, mention: Mention) -> Verdict:
        fits = self._fits(mention)
        fit, may_fit = fits.count(Verdict.SUPPORTED), fits.count(Verdict.UNKNOWN)
        complete = self._graph.complete
        if mention.count == 0:
            if fit:
                return Verdict.SUPPORTED
            if may_fit:
                return Verdict.UNKNOWN
            return Verdict.CONTRADICTED if complete or len(fits) == 1 else Verdict.UNKNOWN
        if complete:
            if fit > mention.count or fit + may_fit < mention.count:
                return Verdict.CONTRADICTED
            return Verdict.UNKNOWN if may_fit else Verdict.SUPPORTED
        named = set().union(*(self._kinds[k] for k in self._named(mention)))
        return Verdict.SUPPORTED if fit == mention.count and not named & GROUPS else Verdict.UNKNOWN

    def _related(self, relation: Relation) -> Verdict:
        claimed = direction(relation.predicate)
        subjects, objects = self._candidates(relation.subject), self._candidates(relation.object)
        standing = [
            (fit, other)
            for k, fit in subjects.items()
            for j, other in objects.items()
            if k != j and self._stand(k, claimed, j)
        ]
        if (Verdict.SUPPORTED, Verdict.SUPPORTED) in standing:
            return Verdict.SUPPORTED
        if self._graph.complete:
            unheard = subjects and objects and claimed not in DIRECTIONS
            return Verdict.UNKNOWN if standing or unheard else Verdict.CONTRADICTED
        if len(subjects) == len(objects) == 1 and claimed in OPPOSITE:
            (k,), (j,) = subjects, objects
            if k != j and self._stand(k, OPPOSITE[claimed], j):
                sure = subjects[k] == objects[j] == Verdict.SUPPORTED
                return Verdict.CONTRADICTED if sure else Verdict.UNKNOWN
        return Verdict.UNKNOWN

    def _named(self, mention: Mention) -> list[int]:
        """The objects of the mentioned kind or of a wider one."""
        kind = singular(mention.kind)
        return [k for k, kinds in enumerate(self._kinds) if _kind(kind, kinds) != Verdict.CONTRADICTED]

    def _fits(self, mention: Mention) -> list[Verdict]:
        return [self._fit(mention, k) for k in self._named(mention)]

    def _candidates(self, mention: Mention) -> dict[int, Verdict]:
        """The objects that fit or may fit."""
        fits = {k: self._fit(mention, k) for k in self._named(mention)}
        return {k: fit for k, fit in fits.items() if fit != Verdict.CONTRADICTED}

    def _fit(self, mention: Mention, k: int) -> Verdict:
        """Whether object `k`, which has the mentioned kind, matches the phrase."""
        complete, words, known = self._graph.complete, self._words[k], self._known[k]
        verdicts = [_kind(singular(mention.kind), self._kinds[k])]
        claimed = {canonical(word) for word in mention.attributes}
        confirmed = bool(claimed & COLORS & words)  # one of several colours: the graph may leave out the others
        for attribute in claimed:
            sure = complete or (attribute in COLORS and not confirmed and not alike(attribute, known))
            verdicts.append(_verdict_of(attribute in words, sure and excludes(attribute, known)))
        if mention.action:
            verdicts.append(_verdict_of(same_action(mention.action, self._doing[k]), complete))
        if mention.place:
            place = set(mention.place.replace("middle", "center").split()) & PLACES
            own = set(self._graph.objects[k].place.split())
            verdicts.append(_verdict_of(bool(place) and place <= own, bool(place and own) and complete))
        for verdict in (Verdict.CONTRADICTED, Verdict.UNKNOWN):
            if verdict in verdicts:
                return verdict
        return Verdict.SUPPORTED

    def _stand(self, k: int, claimed: str, j: int) -> bool:
        """Whether object `k` is placed to object `j` as claimed: by a predicate, its converse, or the boxes."""
        converse = "beside" if claimed == "beside" else OPPOSITE.get(claimed)
        for subject, predicate, other in self._graph.relations:
            found = direction(predicate)
            if (subject, found, other) == (k, claimed, j) or (
                converse and (subject, found, other) == (j, converse, k)
            ):
                return True
        boxes = self._graph.objects[k].box, self._graph.objects[j].box
        first, second = boxes if claimed in ("left", "above") else boxes[::-1]
        if first is None or second is None or claimed not in DIRECTIONS:
            return False
        axis = 0 if claimed in ("left", "right") else 1
        return first[axis] + first[axis + 2] <= second[axis]


_NEGATION = {
    Verdict.SUPPORTED: Verdict.CONTRADICTED,
    Verdict.CONTRADICTED: Verdict.SUPPORTED,
    Verdict.UNKNOWN: Verdict.UNKNOWN,
}


def _verdict_of(holds: bool, excluded: bool) -> Verdict:
    return Verdict.SUPPORTED if holds else Verdict.CONTRADICTED if excluded else Verdict.UNKNOWN


def _kind(claimed: str, kinds: set[str]) -> Verdict:
    """Whether an object of these kinds has the claimed one; unknown where they are wider."""
    if kinds & ({claimed} | NARROWER.get(claimed, set())):
        return Verdict.SUPPORTED
    wider = any(claimed in NARROWER.get(kind, ()) for kind in kinds)
    return Verdict.UNKNOWN if wider else Verdict.CONTRADICTED


def _words(phrases: tuple[str, ...]) -> set[str]:
    """The phrases and their words; colours, sizes and patterns as their usual words."""
    return {canonical(word) for phrase in phrases for word in (phrase, *phrase.split())}
