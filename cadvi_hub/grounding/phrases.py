"""The noun phrases of a caption, or of a sentence in a summary: number, attributes, action and place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cadvi_hub.pairing.nouns import load_tagger

if TYPE_CHECKING:
    from spacy.language import Language

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
def _tagger() -> Language:  # one per process
    return load_tagger()


@lru_cache(maxsize=2**14)  # an image is in several pairs, and its caption is read each time
def _words(sentence: str) -> tuple[Word, ...]:
    return tuple(
        Word(token.lower_, token.pos_, token.tag_, token.lemma_, token.is_punct)
        for token in _tagger()(sentence)
        if not token.is_space
    )


@dataclass
class Mention:
    """A noun phrase of a caption; `count` is 0 where there is no number.

    `article` is what stands before it: "a" or "the", or "on the" where it is the setting of the whole picture.
    """

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


def singular(plural: str) -> str:
    """The singular of a plural noun."""
    return _words(f"two {plural}")[-1].lemma.lower()


class PhraseReader:
    """Reads noun phrases, offline; the same text always gives the same phrases.

    A verb after a noun ends the noun phrase ("the dog | runs").
    """

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
                if self._is_predicate(tokens[start:end], tokens[end], determined):
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
        """Whether `token` is a verb that follows a noun, or one where no noun phrase has begun."""
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
