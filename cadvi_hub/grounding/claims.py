"""A summary's sentences as claims: what is said to be in image 1, in image 2, or in both.

A sentence is cut where it turns from one image to the other ("Image 1 shows a cat, while image 2 shows a dog"). Each
part is read like a caption (`cadvi_hub.grounding.phrases`): one claim per noun phrase, with its number, attributes,
action and place, and one per relation. "Only image 1 shows a dog" also claims that image 2 shows none.

Some things are not read, and a sentence that holds nothing else stays unknown: comparisons ("more dogs than image 2"),
negations other than "no dog" and "does not show a dog", finite verbs ("a man feeds pigeons" claims a man and pigeons),
relations other than "a … is above a …", pronouns, and differences that name no image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from cadvi_hub.grounding.phrases import NUMBERS, PICTURE_WORDS, RELATIONS, WORDS, Mention, PhraseReader, singular
from cadvi_hub.grounding.words import CLASSES, EMPTY, PROPERTIES, canonical
from cadvi_hub.pairing.nouns import UNINFORMATIVE

BOTH = (0, 1)


@dataclass(frozen=True, slots=True)
class Relation:
    """`subject` is placed relative to `object` as the predicate says ("to the left of")."""

    subject: Mention
    predicate: str
    object: Mention


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of a summary.

    Attributes:
        text: the words that it was read from.
        content: what is claimed; None where the words cannot be read.
        shown_in: the images (0, 1) in which the summary says it holds.
        absent_from: the images in which the summary says it does not hold.
    """

    text: str
    content: Mention | Relation | None
    shown_in: tuple[int, ...] = ()
    absent_from: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a sentence that is about the same images.

    Attributes:
        text: its words as they are written.
        claims: what it claims; empty where nothing could be read and another piece of the sentence has claims.
        leans: whether its claims take their noun from the piece before ("… and three in image 2").
    """

    text: str
    claims: tuple[Claim, ...]
    leans: bool = False


_IMAGE = re.compile(
    r"(?:\b(?:in|of|from) )?(?:\bthe )?\b(?:"
    r"(?P<both>(?:both|each|two)(?: of the)? (?:images?|pictures?|photos?|scenes?)|images 1 and 2"
    r"|image 1 and (?:in )?image 2)"
    r"|(?:image|picture|photo) (?P<number>[12]|(?-i:[AB]))|(?P<ordinal>first|second) (?:image|picture|photo))\b",
    re.IGNORECASE,
)
_SECOND = {"2", "b", "second"}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# Where a sentence turns from one image to the other: right before the image, otherwise at the first of these.
_TURN_BEFORE = re.compile(r"(?:[,;]|\b(?:and|while|whereas|but)\b)(?:[ ,;]|\b(?:and|while|whereas|but|only)\b)*$")
_TURNS = (re.compile(r";|,? ?\b(?:while|whereas|but|versus|vs)\b"), re.compile(r",? and\b"), re.compile(r","))
_COMPARED = re.compile(r"\b(?:than|more|fewer|less|compared|unlike|similar|other|different)\b", re.IGNORECASE)
_SHOWS_NOT = re.compile(r"\b(?:does|do) not (?:show|have|contain|include|feature|depict)s?\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:not|without|lacks?|absent|missing|neither|nor|none|never)\b|n't\b", re.IGNORECASE)
_NUMBER = re.compile(rf"\W*(?:there (?:is|are) )?(none|\d+|{'|'.join(NUMBERS)})\W*", re.IGNORECASE)
_ADJECTIVE = "|".join(sorted(set.union(*CLASSES) | {"gray", "large"}))
_IS_ADJECTIVE = re.compile(
    rf"\b((?:the|a|an|one) )([\w -]+?) (?:is|are) ((?:{_ADJECTIVE})(?:,? (?:and )?(?:{_ADJECTIVE}))*)\b", re.IGNORECASE
)
_ONLY_ADJECTIVE = re.compile(rf"\W*(?:is |are )?({_ADJECTIVE})\W*", re.IGNORECASE)
_LEAD = re.compile(
    r"^(?:\W|(?:and|while|whereas|but|only|also)\b)*"
    r"(?:(?:shows?|has|have|contains?|includes?|features?|depicts?|displays?)\b)?",
    re.IGNORECASE,
)
_IS_DOING = re.compile(r"\b(?:is|are) (?=\w+ing\b)")
_IS_SET = re.compile(
    r"\b(is|are) (?:(?:sitting|standing|lying|located|placed|positioned) )?(?:(?:to|on) the )?(?=(?:left|right) of\b)"
)
_RELATION_SENTENCE = re.compile(rf"(?:,? and|,) (?=(?:(?! and |,).)*?{RELATIONS.pattern})")


_READER = PhraseReader()


def read_claims(text: str, common: bool) -> Iterator[Claim]:
    """The claims of one text of a summary; a `common` text that names no image is about both."""
    for pieces in read_sentences(text, common):
        for piece in pieces:
            yield from piece.claims


def read_sentences(text: str, common: bool) -> Iterator[tuple[Piece, ...]]:
    """The sentences of one text of a summary, each cut where it turns to another image.

    A sentence that cannot be read is one piece with one claim without content.
    """
    for sentence in _SENTENCE_END.split(text):
        if sentence.strip():
            pieces = tuple(_pieces(_parts(sentence, common)))
            unread = Piece(sentence.strip(), (Claim(sentence.strip(), None),))
            yield pieces if any(piece.claims for piece in pieces) else (unread,)


@dataclass(slots=True)
class _Part:
    images: tuple[int, ...]
    said: str
    text: str  # without the images
    only: bool = False


def _parts(sentence: str, common: bool) -> list[_Part]:
    """The sentence, cut where it turns to another image; empty where it cannot be cut or makes a comparison."""
    found = list(_IMAGE.finditer(sentence))
    if not found:
        return [_Part(BOTH, sentence, sentence)] if common else []
    images = [BOTH if m["both"] else (int((m["number"] or m["ordinal"]).lower() in _SECOND),) for m in found]
    if _COMPARED.search(_IMAGE.sub("", sentence)):
        return []
    cuts = [0]
    for (one, here), (two, there) in pairwise(zip(found, images, strict=True)):
        if here == there:
            continue
        between = sentence[one.end() : two.start()]
        turn = _TURN_BEFORE.search(between) or next(filter(None, (t.search(between) for t in _TURNS)), None)
        if turn is None:
            return []
        cuts.append(one.end() + turn.start())
    parts = []
    for start, end in pairwise([*cuts, len(sentence)]):
        part = sentence[start:end]
        inside = [(m, where) for m, where in zip(found, images, strict=True) if start <= m.start() < end]
        only = any(re.search(r"\bonly $", sentence[: m.start()], re.IGNORECASE) for m, _ in inside)
        parts.append(_Part(inside[0][1], part, _IMAGE.sub(" , ", part), only))
    return parts


def _pieces(parts: list[_Part]) -> Iterator[Piece]:
    previous: list[Mention] = []
    for part in parts:
        claims: list[Claim] = []
        text, absent = _SHOWS_NOT.subn("shows", part.text)
        words = _plain(text)
        mentions: list[tuple[Mention, bool]] = [(m, bool(absent) or no) for m, no in _elliptic(words, previous)]
        leans = bool(mentions)
        relations: list[Relation] = []
        if not mentions and not _NEGATED.search(text):
            if RELATIONS.search(words) and not absent:
                relations = _relations(words)
            else:
                mentions = [(m, bool(absent) or no) for m, no in _mentions(words)]
        others = tuple(k for k in BOTH if part.only and k not in part.images)
        for mention, no in mentions:
            said = ("no " if no else "") + _said(mention)
            shown, not_shown = ((), part.images) if no else (part.images, others)
            claims.append(Claim(said, mention, shown, not_shown))
        for relation in relations:
            said = f"{_said(relation.subject)} {relation.predicate} {_said(relation.object)}"
            claims.append(Claim(said, relation, part.images, others))
        yield Piece(part.said, tuple(claims), leans)
        previous = [mention for mention, _ in mentions] or previous


def _plain(text: str) -> str:
    """`text` in the forms that the phrase reader knows: "is red" and "is sleeping" move to their noun."""
    text = re.sub(r"\b\d{1,2}\b", lambda digits: WORDS.get(int(digits[0]), digits[0]), text)
    text = re.sub(r" ,\s+(?=(?:is|are)\b)", " ", _LEAD.sub("", text))  # "the dog in image 1 is red"
    text = _IS_SET.sub(r"\1 to the ", text)
    text = _IS_ADJECTIVE.sub(lambda found: f"{found[1]}{re.sub(r',| and', '', found[3])} {found[2]}", text)
    return " ".join(_IS_DOING.sub("", text).split()).strip(" ,")


def _elliptic(text: str, previous: list[Mention]) -> Iterator[tuple[Mention, bool]]:
    """ "… and three in image 2", "… and none", "… and blue": the noun comes from the part before."""
    if len(previous) != 1:
        return
    if number := _NUMBER.fullmatch(text):
        word = number[1].lower()
        count = NUMBERS.get(word) or (int(word) if word.isdigit() else 0)
        yield replace(previous[0], count=count, action="", place=""), not count
    elif adjective := _ONLY_ADJECTIVE.fullmatch(text):
        of_class = next(words for words in CLASSES if canonical(adjective[1]) in words)
        kept = tuple(word for word in previous[0].attributes if canonical(word) not in of_class)
        yield replace(previous[0], attributes=(*kept, adjective[1]), action="", place=""), False


@lru_cache(maxsize=10_000)  # the tagger is slow, and summaries of drawn pictures repeat their words
def _mentions(text: str) -> tuple[tuple[Mention, bool], ...]:
    """What a part mentions, and whether it says that there is none of it ("no dog")."""
    reading = _READER.read(text)
    mentions = list(reading.mentions)
    for setting in reading.settings:
        preposition, the, *words = setting.split()  # "on the wet street"
        mentions.append(Mention(words[-1], 0, tuple(words[:-1]), article=f"{preposition} {the}"))
    read = []
    for mention in mentions:
        number = next((int(word) for word in mention.attributes if word.isdecimal()), mention.count)
        attributes = tuple(word for word in mention.attributes if word not in EMPTY and not word.isdecimal())
        kind = singular(mention.kind)
        if kind not in UNINFORMATIVE | PROPERTIES | PICTURE_WORDS:
            read.append((replace(mention, count=number, attributes=attributes), "no" in mention.attributes))
    return tuple(read)


def _said(mention: Mention) -> str:
    number = WORDS.get(mention.count, str(mention.count)) if mention.count else ""
    return " ".join(filter(None, (number, *mention.attributes, mention.kind, mention.action, mention.place)))


def _relations(text: str) -> list[Relation]:
    relations = []
    for sentence in _RELATION_SENTENCE.split(text):
        found = RELATIONS.search(sentence)
        if found is None:
            continue
        subjects = [mention for mention, _ in _mentions(sentence[: found.start()])]
        objects = [mention for mention, _ in _mentions(sentence[found.end() :])]
        if subjects and objects:
            relations.append(Relation(subjects[-1], found[1], objects[0]))
    return relations
