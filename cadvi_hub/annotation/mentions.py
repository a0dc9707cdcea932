"""Summaries from captions without a model: exactly what the two captions mention, aspect by aspect.

This is the best that an LLM could write from the captions alone, so it is as coarse as they are: what neither mentions
is not in the summary, and a thing that only one mentions counts as a difference.
"""

from __future__ import annotations

from collections import Counter

from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.phrases import WORDS, Mention, PhraseReader, Reading, singular


def _plural(kind: str) -> str:
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


class Mentions:
    """The `mentions` annotator: two captions in, a summary out; deterministic and offline."""

    def __init__(self) -> None:
        self._reader = PhraseReader()

    def summarize(self, captions: tuple[str, str]) -> CadSummary:
        """The summary of two captions; a text is empty where they share nothing or do not differ."""
        readings = self._reader.read(captions[0]), self._reader.read(captions[1])
        texts = {
            Aspect.OBJECT_TYPES: self._kinds(*readings),
            Aspect.ATTRIBUTES: self._attributes(*readings),
            Aspect.COUNTS: self._counts(*readings),
            Aspect.ACTIONS: self._actions(*readings),
            Aspect.LOCATIONS: self._locations(*readings),
            Aspect.RELATIVE_POSITIONS: self._relations(*readings),
        }
        differences = tuple(Difference(aspect, text) for aspect, text in texts.items() if text)
        return CadSummary(self._commonalities(*readings), differences)

    def _singular(self, mention: Mention) -> str:
        if mention.count <= 1:
            return mention.kind
        return singular(mention.kind)

    def _kind_set(self, reading: Reading) -> list[str]:
        return list(dict.fromkeys(self._singular(mention) for mention in reading.mentions))

    def _shared(self, first: Reading, second: Reading) -> list[str]:
        other = self._kind_set(second)
        return [kind for kind in self._kind_set(first) if kind in other]

    def _commonalities(self, first: Reading, second: Reading) -> str:
        sentences: list[str] = []
        looks = [Counter((m.named, m.action, m.place) for m in reading.mentions) for reading in (first, second)]
        equal = list((looks[0] & looks[1]).keys())
        shared = self._shared(first, second)
        if shared:
            same = {self._singular(m): " ".join(filter(None, (m.named, m.action, m.place)))
                    for m in first.mentions if (m.named, m.action, m.place) in equal}  # fmt: skip
            named = [same.get(kind, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}") for kind in shared]
            sentences.append(f"Both images show {_join(named)}.")
        settings = [setting for setting in first.settings if setting in second.settings]
        if settings:
            sentences.append(f"Both images are {_join(settings)}.")
        return " ".join(sentences)

    def _sides(self, first: list[str], second: list[str], *, verb: str = "shows") -> str:
        sides = [f"image {k} {verb} {_join(named)}" for k, named in ((1, first), (2, second)) if named]
        text = ", while ".join(sides)
        return text and text[0].upper() + text[1:] + "."

    def _kinds(self, first: Reading, second: Reading) -> str:
        shared = self._shared(first, second)
        only = [[k for k in self._kind_set(reading) if k not in shared] for reading in (first, second)]
        named = [[f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in kinds] for kinds in only]
        return self._sides(*named)

    def _attributes(self, first: Reading, second: Reading) -> str:
        named = [[m.named for m in reading.mentions if m.attributes] for reading in (first, second)]
        common = set(named[0]) & set(named[1])
        return self._sides(*([name for name in names if name not in common] for names in named))

    def _counts(self, first: Reading, second: Reading) -> str:
        counted: list[list[str]] = []
        tallies = []
        for reading in (first, second):
            tally: Counter[str] = Counter()
            for mention in reading.mentions:
                tally[self._singular(mention)] += max(mention.count, 1)
            tallies.append(tally)
        plurals = {self._singular(m): m.kind for r in (first, second) for m in r.mentions if m.count > 1}
        different = [kind for kind in self._shared(first, second) if tallies[0][kind] != tallies[1][kind]]
        for tally in tallies:
            names = [kind if tally[kind] == 1 else plurals.get(kind, _plural(kind)) for kind in different]
            numbers = [WORDS.get(tally[kind], str(tally[kind])) for kind in different]
            counted.append([f"{number} {name}" for number, name in zip(numbers, names, strict=True)])
        return self._sides(*counted)

    def _actions(self, first: Reading, second: Reading) -> str:
        doing = [[f"{m.bare} {m.action}" for m in reading.mentions if m.action] for reading in (first, second)]
        common = set(doing[0]) & set(doing[1])
        return self._sides(*([text for text in texts if text not in common] for texts in doing))

    def _locations(self, first: Reading, second: Reading) -> str:
        placed = [[f"{m.bare} {m.place}" for m in reading.mentions if m.place] for reading in (first, second)]
        common = set(placed[0]) & set(placed[1])
        texts = [self._sides(*([text for text in side if text not in common] for side in placed))]
        shared = set(first.settings) & set(second.settings)
        texts.append(self._sides(*([s for s in r.settings if s not in shared] for r in (first, second)), verb="is"))
        return " ".join(text for text in texts if text)

    def _relations(self, first: Reading, second: Reading) -> str:
        shared = set(first.relations) & set(second.relations)
        sides = [
            f"in image {k} {_join([text for text in reading.relations if text not in shared])}"
            for k, reading in ((1, first), (2, second))
            if set(reading.relations) - shared
        ]
        text = ", while ".join(sides)
        return text and text[0].upper() + text[1:] + "."
