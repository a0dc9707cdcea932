"""Summaries from captions without a model: exactly what the two captions mention, aspect by aspect.

This is the best that an LLM could write from the captions alone, so it is as coarse as they are: what neither mentions
is not in the summary, and a thing that only one mentions counts as a difference. What is uncertain in a caption is
left out (`cadvi_hub.annotation.caption_reader`), and so is a thing whose name, or a wider or narrower one, is among
the words of the other caption.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from cadvi_hub.annotation.caption_reader import CaptionReading, read_captions
from cadvi_hub.annotation.caption_things import Thing
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.grounding.phrases import WORDS
from cadvi_hub.grounding.words import NARROWER, PERSON

Captions = tuple[str, str]
KEPT = 20_000  # readings of captions in memory

_VOWEL = re.compile(r"(?!uni(?!n)|us[aeu]|eu|one\b)[aeiou]|hour|honest|heir", re.IGNORECASE)


class Mentions:
    """The `mentions` annotator: pairs of captions in, summaries out; deterministic and offline."""

    def __init__(self) -> None:
        self._readings: dict[str, CaptionReading] = {}  # of the last captions: each is in several pairs

    def summarize(self, captions: Captions) -> CadSummary:
        """The summary of two captions; a text is empty where they share nothing or do not differ."""
        (summary,) = self.summarize_all([captions])
        return summary

    def summarize_all(self, pairs: Sequence[Captions]) -> Iterator[CadSummary]:
        """One summary per pair, in order; a caption that several pairs have is parsed once, unless far apart."""
        captions = list(dict.fromkeys(caption for pair in pairs for caption in pair))
        readings = {caption: self._readings[caption] for caption in captions if caption in self._readings}
        unread = [caption for caption in captions if caption not in readings]
        readings |= zip(unread, read_captions(unread), strict=True)
        self._readings |= readings
        for oldest in list(self._readings)[:-KEPT]:
            del self._readings[oldest]
        for first, second in pairs:
            yield _summary(readings[first], readings[second])


def _summary(*readings: CaptionReading) -> CadSummary:
    texts = {
        Aspect.OBJECT_TYPES: _kinds(*readings),
        Aspect.ATTRIBUTES: _attributes(*readings),
        Aspect.COUNTS: _counts(*readings),
        Aspect.ACTIONS: _differ([[f"{_bare(t)} {t.action}" for t in r.things if t.action] for r in readings]),
        Aspect.LOCATIONS: _locations(*readings),
        Aspect.RELATIVE_POSITIONS: _relations(*readings),
    }
    differences = tuple(Difference(aspect, text) for aspect, text in texts.items() if text)
    return CadSummary(_commonalities(*readings), differences)


def _join(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _with_article(article: str, words: str) -> str:
    if article == "a" and _VOWEL.match(words):
        article = "an"
    return f"{article} {words}".strip()


def _named(thing: Thing) -> str:
    """The thing with its number and attributes, "two small red cats"."""
    if thing.count > 1:
        return " ".join((WORDS.get(thing.count, str(thing.count)), *thing.attributes, thing.plural))
    return _with_article(thing.article, " ".join((*thing.attributes, thing.kind)))


def _bare(thing: Thing) -> str:
    """The thing without its attributes, "two cats"."""
    if thing.count > 1:
        return f"{WORDS.get(thing.count, str(thing.count))} {thing.plural}"
    return _with_article(thing.article, thing.kind)


def _as_kind(thing: Thing) -> str:
    """The kind of thing, "a cat", whatever its number."""
    return _with_article(thing.article, thing.kind)


def _by_lemma(reading: CaptionReading) -> dict[str, Thing]:
    """The first thing of each kind, in the caption's order."""
    kinds: dict[str, Thing] = {}
    for thing in reading.things:
        kinds.setdefault(thing.lemma, thing)
    return kinds


def _shared(first: CaptionReading, second: CaptionReading) -> list[str]:
    other = _by_lemma(second)
    return [lemma for lemma in _by_lemma(first) if lemma in other]


def _shared_by_head(first: CaptionReading, second: CaptionReading) -> dict[str, tuple[Thing, Thing]]:
    """What both captions show under two names with one head: "flower" for a hibiscus flower and a pink flower."""
    shared = {_by_lemma(first)[lemma].head for lemma in _shared(first, second)}
    others = {thing.head: thing for thing in reversed(second.things)}
    ours = {thing.head: thing for thing in reversed(first.things)}
    return {head: (ours[head], others[head]) for head in ours if head in others and head not in shared}


def _commonalities(first: CaptionReading, second: CaptionReading) -> str:
    sentences: list[str] = []
    looks = {(thing.lemma, _look(thing)): thing for thing in second.things}
    named = []
    for lemma in _shared(first, second):
        ours = [thing for thing in first.things if thing.lemma == lemma and (lemma, _look(thing)) in looks]
        if ours:
            one, other = ours[-1], looks[lemma, _look(ours[-1])]
            alike = other if one.article == "the" else one
            named.append(" ".join(filter(None, (_named(alike), alike.action, alike.place))))
            continue
        named.append(_as_kind(_least_said(_by_lemma(first)[lemma], _by_lemma(second)[lemma])))
    for things in _shared_by_head(first, second).values():
        least = _least_said(*things)
        named.append(_with_article(least.article, least.head_kind))
    if named:
        sentences.append(f"Both images show {_join(named)}.")
    settings = [setting for setting in first.settings if setting in second.settings]
    if settings:
        sentences.append(f"Both images are {_join(settings)}.")
    return " ".join(sentences)


def _least_said(one: Thing, other: Thing) -> Thing:
    """Of two things of a kind the one whose number and article hold of both: "a cat" of "a cat" and "cats"."""
    for thing, another in ((one, other), (other, one)):
        if thing.article == "a" and thing.count < 2 and (another.article == "the" or another.kind == another.plural):
            return thing
    return other if one.article or one.count else one


def _look(thing: Thing) -> tuple[object, ...]:
    """All that the caption says of the thing: "a" and "the" do not differ."""
    number = thing.count if thing.count > 1 else bool(thing.article)
    return number, thing.attributes, thing.kind, thing.action, thing.place


def _sides(first: Sequence[str], second: Sequence[str], *, says: str = "image {} shows") -> str:
    sides = [f"{says.format(k)} {_join(told)}" for k, told in ((1, first), (2, second)) if told]
    text = ", while ".join(sides)
    return text and text[0].upper() + text[1:] + "."


def _differ(told: Sequence[Sequence[str]], **form: str) -> str:
    """What only one of the two captions says."""
    first, second = (list(dict.fromkeys(texts)) for texts in told)
    return _sides([t for t in first if t not in second], [t for t in second if t not in first], **form)


def _kinds(first: CaptionReading, second: CaptionReading) -> str:
    def only(reading: CaptionReading, other: CaptionReading) -> list[str]:
        return [_as_kind(thing) for lemma, thing in _by_lemma(reading).items() if not _may_be_in(lemma, other)]

    return _sides(only(first, second), only(second, first))


def _attributes(first: CaptionReading, second: CaptionReading) -> str:
    by_head = {id(thing) for things in _shared_by_head(first, second).values() for thing in things}

    def told(reading: CaptionReading, other: CaptionReading) -> list[str]:
        known = {(thing.count > 1 and thing.count, thing.attributes, thing.kind) for thing in other.things}
        return [
            _named(t)
            for t in reading.things
            if (t.attributes or (id(t) in by_head and " " in t.kind))
            and (t.count > 1 and t.count, t.attributes, t.kind) not in known
        ]

    return _differ([told(first, second), told(second, first)])


def _may_be_in(lemma: str, other: CaptionReading) -> bool:
    """Whether the other caption may speak of such a thing, too, perhaps by another name."""
    name = lemma.split()
    known = other.words | {thing.lemma for thing in other.things}
    if any(word in known for word in name):
        return True
    wider = {word for word, narrower in NARROWER.items() if name[-1] in narrower}
    alike = NARROWER.get(name[-1], set()) | wider | {"person", "people"} & set(PERSON.split() if wider else ())
    return bool(alike & known)


def _counts(first: CaptionReading, second: CaptionReading) -> str:
    tallies: list[dict[str, int]] = []
    plurals: dict[str, tuple[str, str]] = {}
    for reading in (first, second):
        tally: Counter[str] = Counter()
        unsure = set(reading.recounted)
        for thing in reading.things:
            tally[thing.lemma] += thing.count
            if not thing.count:
                unsure.add(thing.lemma)
            if thing.count > 1 or thing.lemma not in plurals:
                plurals[thing.lemma] = (thing.kind, thing.plural)
        tallies.append({lemma: number for lemma, number in tally.items() if lemma not in unsure})
    different = [
        lemma
        for lemma in _shared(first, second)
        if lemma in tallies[0] and lemma in tallies[1] and tallies[0][lemma] != tallies[1][lemma]
    ]
    told = [
        [f"{WORDS.get(tally[lemma], str(tally[lemma]))} {plurals[lemma][tally[lemma] > 1]}" for lemma in different]
        for tally in tallies
    ]
    return _sides(*told)


def _locations(*readings: CaptionReading) -> str:
    things = _differ([[f"{_bare(t)} {t.place}" for t in r.things if t.place] for r in readings])
    settings = _differ([r.settings for r in readings], says="image {} is")
    return " ".join(text for text in (things, settings) if text)


def _relations(*readings: CaptionReading) -> str:
    return _differ([r.relations for r in readings], says="in image {}")
