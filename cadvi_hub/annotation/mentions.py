"""Summaries from captions without a model: exactly what the two captions mention, aspect by aspect, and no more.

It is what an LLM that reads only the captions would write at its best, so it is as coarse as the captions: what they
are silent about is not in the summary, and a thing that one caption leaves unnamed counts as a difference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import NamedTuple

from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.pairing.nouns import load_tagger

NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip
WORDS = {number: word for word, number in NUMBERS.items()}
DETERMINERS = {"a", "an", "the", "some", "another", "this", "that", "my", "your", "our", "his", "her", "its", "their"}
# Prepositions and other words that end a noun phrase.
BOUNDARIES = {
    "at", "on", "in", "of", "with", "by", "from", "under", "near", "behind", "beside", "inside", "into", "over",
    "above", "below", "to", "for", "and", "or", "but", "while", "is", "are", "was", "were", "has", "have", "that",
    "which", "who", "there", "it", "all", "we", "see", "shows", "next",
}  # fmt: skip
PICTURE_PLACES = {"top", "bottom", "left", "right", "center", "middle", "side", "corner", "front"}
PICTURE_WORDS = {"picture", "image", "photo", "scene", "background", "foreground"}
PLACE_PREPOSITIONS = {"at", "on", "in", "under", "near", "behind", "beside", "inside", "by"}
RELATIONS = re.compile(
    r"\b(?:is|are) ((?:to the (?:left|right) of)|above|below|behind|beside|under|over|in front of|next to|on top of) "
)


class Word(NamedTuple):
    """A token of a caption, with spaCy's part of speech, fine-grained tag and lemma."""

    text: str
    pos: str
    tag: str
    lemma: str
    is_punct: bool


@cache
def _tagger():  # of this process
    return load_tagger()


@lru_cache(maxsize=2**14)  # an image is in several pairs, and each time its caption is read
def _words(sentence: str) -> tuple[Word, ...]:
    return tuple(
        Word(token.lower_, token.pos_, token.tag_, token.lemma_, token.is_punct)
        for token in _tagger()(sentence)
        if not token.is_space
    )


@dataclass
class Mention:
    """A noun phrase of a caption; `count` is 0 where no number is told."""

    kind: str
    count: int
    attributes: tuple[str, ...]
    action: str = ""
    place: str = ""
    article: str = "a"

    @property
    def named(self) -> str:
        """The thing with its attributes, "two small red cats"."""
        words = " ".join((*self.attributes, self.kind))
        if self.count > 1:
            return f"{WORDS.get(self.count, str(self.count))} {words}"
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

    @property
    def bare(self) -> str:
        """The thing without its attributes, "two cats"."""
        return replace(self, attributes=()).named


@dataclass
class Reading:
    """What one caption mentions."""

    mentions: list[Mention] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)


def _plural(kind: str) -> str:
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


class Mentions:
    """The `mentions` annotator: captions in, summary out; deterministic, offline.

    Args:
        prose: whether a verb after a noun ends the noun phrase ("the dog | runs"). Summaries have such verbs; captions
            list things, and there the tagger takes too many a noun for a verb.
    """

    def __init__(self, prose: bool = False):
        self._prose = prose

    def read(self, caption: str) -> Reading:
        """Noun phrases with their number, attributes, action and place; settings; relations."""
        reading = Reading()
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(caption.split())):
            relation = RELATIONS.search(sentence)
            if relation:
                reading.relations.append(sentence[0].lower() + sentence[1:].rstrip("."))
            else:
                self._read_sentence(sentence, reading)
        return reading

    def _read_sentence(self, sentence: str, reading: Reading) -> None:
        tokens = _words(sentence)
        position = 0
        preposition = ""
        while position < len(tokens):
            word = tokens[position].text
            if word in PLACE_PREPOSITIONS:
                preposition = word
                position += 1
                continue
            determined = word in DETERMINERS or word in NUMBERS
            start = position + 1 if determined else position
            end = start
            while end < len(tokens) and not self._ends_phrase(tokens[end]):
                if self._prose and self._is_predicate(tokens[start:end], tokens[end], determined):
                    break
                end += 1
            if end == start:
                if not determined:
                    preposition = ""
                position += 1
                continue
            self._read_phrase(tokens[start:end], NUMBERS.get(word, 0), preposition, word, reading)
            preposition = ""
            position = end

    @staticmethod
    def _ends_phrase(token: Word) -> bool:
        word = token.text
        return token.is_punct or word in BOUNDARIES or word in DETERMINERS or word in NUMBERS

    @staticmethod
    def _is_predicate(run: Sequence[Word], token: Word, determined: bool) -> bool:
        """Whether `token` is a verb that follows a noun, or that stands where nothing announces a noun phrase."""
        after = run[-1].pos in ("NOUN", "PROPN") if run else not determined
        return after and token.tag in ("VB", "VBP", "VBZ")

    def _read_phrase(self, run: Sequence[Word], count: int, preposition: str, article: str, reading: Reading) -> None:
        words = [token.text for token in run]
        if preposition and words[-1] in PICTURE_PLACES:
            if reading.mentions and not reading.mentions[-1].place:
                reading.mentions[-1].place = f"{preposition} the {' '.join(words)}"
            return
        if words[-1] in PICTURE_WORDS:
            return
        if preposition and article == "the":
            reading.settings.append(f"{preposition} the {' '.join(words)}")
            return
        action = ""
        if len(words) > 1 and words[-1].endswith("ing"):
            action = words.pop()
        head = run[len(words) - 1]
        if head.pos not in ("NOUN", "PROPN") and not count and article not in DETERMINERS:
            return
        many = max(count, 1) > 1
        kind = words[-1] if many else (head.lemma.lower() if head.tag in ("NNS", "NNPS") else words[-1])
        reading.mentions.append(Mention(kind, count, tuple(words[:-1]), action, article=article))

    def summarize(self, captions: tuple[str, str]) -> CadSummary:
        """The summary of two captions; empty texts where they share nothing or do not differ."""
        readings = self.read(captions[0]), self.read(captions[1])
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
        return self.singular(mention.kind)

    def singular(self, plural: str) -> str:
        """The singular of a plural."""
        return _words(f"two {plural}")[-1].lemma.lower()

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
