"""What a caption says of the things in its image: number, attributes, action and place, read from spaCy's parse.

Made for plain English captions of one to five sentences. What is uncertain is left out: a noun phrase next to a word
that the parser puts elsewhere, a place that does not directly follow its thing, a sentence in the past tense or with a
condition. The words of what is left out are known all the same (`CaptionReading.words`): silence is no absence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from cadvi_hub.annotation import caption_words as words
from cadvi_hub.annotation.caption_things import (
    Phrase,
    Thing,
    is_doing,
    is_part_of_more,
    noun_phrases,
    spoken,
    thing_of,
)
from cadvi_hub.grounding.phrases import RELATIONS

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, Token

_PICTURE_PLACE = re.compile(
    r"\s*\b(?P<place>(?:at|on|in) the (?:(?:top|bottom) )?(?:left|right|center|centre|middle|top|bottom))"
    r"(?: (?:side|corner|part))?(?=\s*(?:[.,;!]|$|and\b))",
    re.IGNORECASE,
)
_SCENE_IS = re.compile(r"(?:it|the (?:picture|image|photo|scene)) is (?:all )?(?=(?:in|on|at)\b)", re.IGNORECASE)
_PLAIN = str.maketrans({'"': "", "“": "", "”": "", "—": ", ", "’": "'"})  # a name in quotes is a name
_DASH = re.compile(r"\s[-–]\s")
_DOUBLED = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")  # run → running


@dataclass
class CaptionReading:
    """What one caption says.

    Attributes:
        things: in its order.
        settings: where the whole scene is, "on the beach".
        relations: sentences such as "a cat is above a ball".
        words: all its words and their lemmas, in lower case.
        recounted: lemmas of things in more than one sentence, which may be the same ones.
    """

    things: list[Thing] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    recounted: set[str] = field(default_factory=set)


@cache
def _parser() -> Language:  # one per process
    from thinc.api import use_ops

    from cadvi_hub.pairing.nouns import load_tagger

    with use_ops("numpy", use_blis=False):  # three times as fast
        return load_tagger(parser=True)


def read_captions(captions: Iterable[str]) -> Iterator[CaptionReading]:
    """What each caption says, in order; InputError if spaCy's model is not installed."""
    parts = [_without_places(caption) for caption in captions]
    nlp = _parser()
    with nlp.memory_zone():  # otherwise the vocabulary keeps every misspelling
        for doc, (_, places) in zip(nlp.pipe((text for text, _ in parts), batch_size=64), parts, strict=True):
            yield _read(doc, places)


def _without_places(caption: str) -> tuple[str, list[tuple[int, str]]]:
    """The caption without phrases like "at the top left", and where they were: the parser takes them apart."""
    text, kept, end = " ".join(_DASH.sub(", ", caption.translate(_PLAIN)).split()), "", 0
    places = []
    for found in _PICTURE_PLACE.finditer(text):
        if found.start() and text[found.start() - 1] not in ".!?":
            kept += text[end : found.start()]
            places.append((len(kept), found["place"].lower()))
            end = found.end()
    return kept + text[end:], places


def _read(doc: Doc, places: list[tuple[int, str]]) -> CaptionReading:
    reading = CaptionReading(words={word for token in doc for word in (token.lower_, token.lemma_.lower())})
    counted: set[str] = set()
    for sentence in doc.sents:
        phrases = {phrase.start: phrase for phrase in noun_phrases(sentence)}
        relation = RELATIONS.search(sentence.text)
        if relation and _is_whole(sentence, relation, phrases):
            reading.relations.append(_lower_first(sentence.text))
        if (relation and reading.things) or not _is_description(sentence):
            continue
        setting = _setting(sentence, phrases)
        if setting:
            reading.settings.append(spoken(setting))
        lemmas = set()
        for phrase in phrases.values():
            if setting and setting.start <= phrase.start < setting.end:
                continue
            if (thing := thing_of(phrase)) is None:
                continue
            thing.action = _action(phrase, phrases)
            _add_place(phrase, thing, phrases, reading)
            verb = _verb(phrase)
            ends = {token.idx + len(token) for token in (phrase.root, verb) if token is not None}
            marked = [place for offset, place in places if offset in ends]
            thing.place = marked[0] if marked else thing.place
            reading.things.append(thing)
            lemmas.add(thing.lemma)
        reading.recounted |= counted & lemmas
        counted |= lemmas
    return reading


def _is_whole(sentence: Span, relation: re.Match[str], phrases: dict[int, Phrase]) -> bool:
    """Whether the sentence is a thing, the relation and another thing, and no more."""
    before = phrases.get(sentence.start)
    start = next((token.i for token in sentence if token.idx - sentence.start_char >= relation.end()), sentence.end)
    after = phrases.get(start)
    if before is None or after is None or before.root.nbor().idx - sentence.start_char != relation.start():
        return False
    return all(token.is_punct for token in sentence.doc[after.root.i + 1 : sentence.end])


def _is_description(sentence: Span) -> bool:
    """Whether the sentence says what the image shows; not "Give me your trash!", nor "Car emblems to put on a van".

    In the latter the tagger takes the noun "emblems" for a verb.
    """
    if any(token.lower_ in words.UNREAL and token.dep_ != "acl" for token in sentence):
        return False
    root = sentence.root
    if root.tag_ == "VB" and any(token.lower_ in ("me", "your") for token in sentence):
        return False
    following = [token.tag_ for token in sentence if token.i == root.i + 1]
    if root.tag_ != "VBZ" or following != ["TO"] or root.i == sentence.start:
        return True
    subject = root.nbor(-1)
    return subject.tag_ != "NN" or any(child.tag_ in ("DT", "PRP$", "CD") for child in subject.lefts)


def _verb(phrase: Phrase) -> Token | None:
    """The verb whose subject is the noun: "a cat sleeping", "a cat sleeps", "a cat is sleeping"."""
    root = phrase.root
    if root.i + 1 < len(root.doc):
        following = root.nbor()
        other = root.dep_ == "dobj" and following.head != root  # "a man wearing a hat | holding a dog"
        is_verb = following.tag_ == "VBG" and following.dep_ not in ("amod", "compound")
        if (is_verb and not other) or is_doing(following):
            return following
        if following.tag_ == "VBN" and following.dep_ == "acl":
            return following
    verb = root.head
    if root.dep_ not in ("nsubj", "nsubjpass") or verb.i < root.i:
        return None
    is_progressive = verb.tag_ == "VBG" and any(child.dep_ == "aux" for child in verb.lefts)
    is_passive = verb.tag_ == "VBN" and any(child.dep_ == "auxpass" for child in verb.lefts)
    return verb if verb.tag_ in ("VBZ", "VBP") or is_progressive or is_passive else None


def _action(phrase: Phrase, phrases: dict[int, Phrase]) -> str:
    verb = _verb(phrase)
    if verb is None or verb.tag_ == "VBN" or verb.lemma_.lower() in words.STATES - set(words.WITH_PREPOSITION):
        return ""
    parts, end = [verb.lower_ if verb.lower_.endswith("ing") else _progressive(verb)], verb.i + 1
    by_role = {child.dep_: child for child in verb.rights}
    if set(by_role) & {"xcomp", "ccomp", "acomp", "dative", "oprd", "attr"}:
        return ""
    if particle := by_role.get("prt"):
        if particle.i != end:
            return ""
        parts, end = [*parts, particle.lower_], end + 1
    preposition = words.WITH_PREPOSITION.get(verb.lemma_.lower())
    if preposition:
        if end >= len(verb.doc) or verb.doc[end].lower_ != preposition:
            return ""
        parts, end = [*parts, preposition], end + 1
    if preposition or "dobj" in by_role:
        following = phrases.get(end)
        if following is None or is_part_of_more(following):
            return ""
        return " ".join((*parts, spoken(following.span)))
    return "" if verb.lemma_.lower() in words.WITH_OBJECT else " ".join(parts)


def _add_place(phrase: Phrase, thing: Thing, phrases: dict[int, Phrase], reading: CaptionReading) -> None:
    """The place that directly follows the thing or its verb; next to another thing, it is a relation."""
    verb = _verb(phrase)
    if verb is not None and verb.lemma_.lower() in words.COVERED:
        return
    anchor = phrase.root
    if verb is not None and not {"dobj", "xcomp", "acomp", "attr", "ccomp"} & {child.dep_ for child in verb.rights}:
        particles = [child for child in verb.rights if child.dep_ == "prt" and child.i == verb.i + 1]
        anchor = particles[0] if particles else verb
    where = _place_after(anchor.i + 1, phrase.root.doc, phrases)
    if where is None or where[1][0].head not in (anchor, phrase.root, verb):
        return
    preposition, span = where
    if preposition in words.POSITIONS:
        is_or_are = "are" if phrase.root.tag_ in ("NNS", "NNPS") else "is"
        reading.relations.append(f"{spoken(phrase.span)} {is_or_are} {spoken(span)}")
    else:
        thing.place = spoken(span)


def _place_after(i: int, doc: Doc, phrases: dict[int, Phrase]) -> tuple[str, Span] | None:
    """The preposition at token `i` and its phrase, "on the side of a road"."""
    for preposition in (*words.FAR_PREPOSITIONS, *words.PLACE_PREPOSITIONS):
        parts = preposition.split()
        if [token.lower_ for token in doc[i : i + len(parts)]] == parts:
            break
    else:
        return None
    following = phrases.get(i + len(parts))
    if following is None:
        return None
    lemma, end = following.root.lemma_.lower(), following.root.i + 1
    if lemma in words.ABSTRACT:
        rest = phrases.get(end + 1)
        if rest is None or doc[end].lower_ != "of" or rest.root.lemma_.lower() in words.ABSTRACT:
            return None
        following, end = rest, rest.root.i + 1
    is_named = following.determiner or following.root.lower_ in words.MASS
    if not is_named or following.root.lemma_.lower() in words.CLOTHES:
        return None
    return preposition, doc[i:end]


def _setting(sentence: Span, phrases: dict[int, Phrase]) -> Span | None:
    """Where the whole scene is: "On the beach, there is …", "It is all on the beach"."""
    scene_is = _SCENE_IS.match(sentence.text)
    start = sentence.start
    if scene_is:
        start = next(token.i for token in sentence if token.idx - sentence.start_char >= scene_is.end())
    if sentence.doc[start].lower_ not in ("in", "on", "at"):
        return None
    where = _place_after(start, sentence.doc, phrases)
    if where is None or where[1][-1].lemma_.lower() in words.SURFACES:
        return None
    return where[1]


def _progressive(token: Token) -> str:
    """ "rides" → "riding"; the lemmatizer takes some forms for those of other verbs ("rid")."""
    verb, form = token.lemma_.lower(), token.lower_
    if form == verb + "es" and not verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        verb = form[:-1]
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _DOUBLED.fullmatch(verb) else "") + "ing"


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:].rstrip(". ")
