"""The noun phrases of a parsed caption, and the things in the image that they name.

A phrase that touches a noun or an adjective which the parser puts elsewhere is left out, and so is a noun whose role
in the sentence, or whose form, leaves open whether the image shows such a thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cadvi_hub.annotation import caption_words as words
from cadvi_hub.grounding.phrases import NUMBERS

if TYPE_CHECKING:
    from spacy.tokens import Span, Token

_NOUNS = ("NN", "NNS", "NNP", "NNPS")
_MODIFIERS = ("amod", "compound", "nummod", "det", "nmod", "poss", "advmod", "quantmod", "predet")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


@dataclass
class Thing:
    """Something that a caption says its image shows.

    Attributes:
        lemma: of the noun and of the nouns that belong to its name ("fire hydrant").
        kind: one of them in words, "fire hydrant"; several, where the caption does not count them ("trees").
        article: "a", "the", or "" before several and before what has no article in the caption.
        plural: the word for several.
        count: the number; 0 where the caption gives none.
        attributes: words for how it looks, in the caption's order.
        action: what it does, "holding two apples".
        place: where it is, "in a bathroom".
    """

    lemma: str
    kind: str
    article: str
    plural: str
    count: int
    attributes: tuple[str, ...] = ()
    action: str = ""
    place: str = ""

    @property
    def head(self) -> str:
        """The lemma of what it is a kind of: "flower" for "hibiscus flower", "toy truck" for "toy dump truck"."""
        return _head_of(self.lemma)

    @property
    def head_kind(self) -> str:
        """The same in words, as `kind` is."""
        return _head_of(self.kind)


def _head_of(name: str) -> str:
    """The last word, and the words before it that make it something else: a sea lion is no lion."""
    *before, head = name.split()
    return " ".join((*(word for word in before if word.lower() in words.OTHERWISE), head))


class Phrase(NamedTuple):
    """A noun with the words before it that belong to it."""

    root: Token
    modifiers: list[Token]

    @property
    def start(self) -> int:
        return self.modifiers[0].i if self.modifiers else self.root.i

    @property
    def span(self) -> Span:
        return self.root.doc[self.start : self.root.i + 1]

    @property
    def determiner(self) -> str:
        first = self.modifiers[0] if self.modifiers else None
        return first.lower_ if first is not None and first.tag_ in ("DT", "PRP$", "POS", "CD", "PDT") else ""


def noun_phrases(sentence: Span) -> Iterator[Phrase]:
    """The noun phrases without those that touch a noun or an adjective that the parser puts elsewhere."""
    doc = sentence.doc
    for token in sentence:
        if is_doing(token):
            continue
        if token.tag_ not in _NOUNS and not (token.dep_ in ("pobj", "dobj") and token.lower_ in words.LOOKS):
            continue
        if token.dep_ in ("compound", "nmod", "amod", "poss") and token.head.i > token.i and not is_doing(token.head):
            continue
        modifiers: list[Token] = []
        doing = [each for each in doc[token.i + 1 : token.i + 2] if is_doing(each)]
        for i in range(token.i - 1, sentence.start - 1, -1):
            before = doc[i]
            if before.tag_ == "POS" or before.tag_ == "PRP$":
                modifiers.insert(0, before)
                break
            belongs = before.dep_ in _MODIFIERS and before.head in (token, *modifiers, *doing) and before.tag_ != "RB"
            is_look = before.lower_ in words.LOOKS or (modifiers and modifiers[0].lower_ in words.LOOKS)
            if not belongs and not (is_look and before.tag_ in ("DT", "CD", "JJ", "VBD", "VBN", "NN")):
                break
            modifiers.insert(0, before)
        start = modifiers[0].i if modifiers else token.i
        is_owned = bool(modifiers) and modifiers[0].tag_ == "POS"  # then the owner is right before it
        outside = [doc[i] for i in (start - 1, token.i + 1)[is_owned:] if sentence.start <= i < sentence.end]
        if any(
            (other.tag_ in _NOUNS and not is_doing(other)) or (other.i < start and other.tag_ in ("JJ", "CD"))
            for other in outside
        ):
            continue
        named = [each for each in (*modifiers, token) if each.tag_ not in ("POS", "CD")]
        if all(_WORD.fullmatch(each.text) for each in named):
            yield Phrase(token, modifiers)


def spoken(span: Span) -> str:
    """The words of a caption for a summary: in lower case, and "a" for "his" or "our"."""
    parts = []
    for token in span:
        if token.tag_ != "PRP$":
            parts.append(token.lower_ + token.whitespace_)
        elif token.head.tag_ not in ("NNS", "NNPS") and token.head.lower_ not in words.MASS:
            parts.append("an " if token.nbor().lower_[0] in "aeiou" else "a ")
    return "".join(parts).strip()


def is_doing(token: Token) -> bool:
    """Whether it says what the noun before it does, "a man surfing", though the tagger takes it for a noun."""
    if token.tag_ not in ("NN", "VBG") or not token.lower_.endswith("ing") or token.lower_ in words.NOUNS_IN_ING:
        return False
    before = token.nbor(-1) if token.i else token
    return before.tag_ in _NOUNS and (token.tag_ == "NN" or (before.dep_ == "compound" and before.head == token))


def thing_of(phrase: Phrase) -> Thing | None:
    """What the phrase says is in the image; None where that is uncertain."""
    root, determiner = phrase.root, phrase.determiner
    if _is_abstract(phrase) or len(root) < 2 or determiner in ("no", "each", "every", "any", "which"):
        return None
    if not _is_shown(phrase):
        return None
    name: list[str] = []
    looks: list[str] = []
    count = 0
    for token in phrase.modifiers:
        word = token.lower_
        if word in words.LOOKS or token.tag_ in ("JJ", "VBN", "VBG"):
            if name and word not in words.LOOKS:
                return None  # "a spider playing soccer", taken for a kind of soccer
            looks += [] if word in words.VAGUE else [word if token.is_sent_start else token.text]
        elif token.tag_ in _NOUNS:
            name.append(token.text if token.tag_.startswith("NNP") and not token.is_sent_start else word)
        elif token.tag_ == "CD":
            count = NUMBERS.get(word, 0) or (int(word) if word.isdecimal() and len(word) < 3 else 0)
            if not count:
                return None
    is_plural = root.tag_ in ("NNS", "NNPS")
    form = root.text if root.tag_.startswith("NNP") else root.lower_
    single = root.lemma_ if is_plural and root.lemma_.lower() != "people" else form
    if is_plural and (count == 1 or determiner in words.INDEFINITE):
        return None  # "a skis"
    far = next((child.lower_ for child in root.lefts if child.dep_ == "det"), "")
    if not determiner and far:  # "a brown and black cat"
        determiner, looks = far, []
    if determiner in words.INDEFINITE:
        count = 1
    article = "a" if count else "the" if determiner in ("the", "this") and not is_plural else ""
    if article and root.dep_ == "appos":
        article = "a"
    is_name = (
        root.tag_ == "NNP" and root.text[0].isupper() and not determiner and not name and not looks
    )  # "Venus", "Tux"
    if not article and not is_plural and not is_name and form not in words.MASS:
        if _is_of_a_bunch(root):
            single = _plural(form)
        elif determiner or root.dep_ == "conj" or phrase.start == root.sent.start:  # "his dog", "a man and dog"
            article = "a"
    kind = " ".join((*name, form if is_plural and not count else single))
    plural = " ".join((*name, form if is_plural or count > 1 else _plural(form)))  # "two sheep"
    lemma = " ".join((*name, root.lemma_)).lower()
    if kind == "people":
        article = ""
    return Thing(lemma, kind, article, plural, count, tuple(looks))


def is_part_of_more(phrase: Phrase) -> bool:
    """Whether it names a part or a group of what comes after it, "the top of a box"."""
    is_part = phrase.root.lemma_.lower() in words.ABSTRACT | words.BUNCHES
    return is_part and any(child.lower_ == "of" for child in phrase.root.rights)


def _is_of_a_bunch(noun: Token) -> bool:
    """Whether it is in "a herd of giraffe", "a couple of dogs"."""
    preposition = noun.head
    return preposition.lower_ == "of" and preposition.head.lemma_.lower() in words.BUNCHES


def _is_abstract(phrase: Phrase) -> bool:
    """Whether it names no thing that one could see, but a group of them ("a herd of sheep"), a part or a time."""
    root = phrase.root
    if root.lemma_.lower() in words.ABSTRACT:
        return root.lemma_.lower() != "lot" or "parking" not in (token.lower_ for token in phrase.modifiers)
    return root.lemma_.lower() in words.BUNCHES and any(child.lower_ == "of" for child in root.rights)


def _is_shown(phrase: Phrase) -> bool:
    """Whether the noun's role says that it is in the image."""
    root, first = phrase.root, phrase.root
    if root.i + 1 < len(root.doc) and is_doing(root.nbor()):
        first = root.nbor()
    while first.dep_ == "conj" and first.head.tag_ in _NOUNS:
        first = first.head
    determined = phrase.determiner not in ("", "the", "this")
    plain = determined or phrase.determiner or root.tag_ == "NNS" or root.lower_ in words.MASS
    if root.tag_ in ("NNP", "NNPS") and not determined and first.dep_ != "ROOT":
        return False
    if any(map(_is_purpose, root.ancestors)) or _is_said_again(first):
        return False
    if first.dep_ == "pobj" or first.dep_ == "pcomp":
        preposition = first.head.lower_
        if phrase.determiner == "our":
            return False  # "in our solar system"
        if preposition == "of" and first.head.head.lemma_.lower() not in words.GROUPS | {"top", "front"}:
            return False
        return bool(plain or _is_of_a_bunch(root)) and (preposition in words.SHOWN_AFTER or first.head.dep_ == "agent")
    if first.dep_ == "appos" and phrase.determiner == "the":  # "Mars, the red planet", but not "the next planet"
        return all(token.tag_ == "DT" or token.lower_ in words.LOOKS for token in phrase.modifiers)
    if first.dep_ == "attr":
        return any(token.dep_ == "expl" or token.lower_ in ("this", "here", "it") for token in first.head.lefts)
    if first.dep_ == "dobj":
        return bool(plain) and first.head.lemma_.lower() not in words.LIGHT
    return first.dep_ in ("ROOT", "nsubj", "nsubjpass") or determined


def _is_said_again(noun: Token) -> bool:
    """Whether it names things that are listed before it, "a man and a woman, two friends"."""
    if noun.dep_ != "appos":
        return False
    # The "and" comes before it, so that it is not one of the list: "a man, a dog, a bird and a cat".
    return any(each.dep_ == "cc" and each.i < noun.i for word in (noun.head, noun.head.head) for each in word.children)


def _is_purpose(verb: Token) -> bool:
    """Whether it says what a thing is for, "stickers to put on a laptop": there need not be a laptop."""
    is_infinitive = verb.tag_ == "VB" and any(child.tag_ == "TO" for child in verb.lefts)
    return is_infinitive and verb.dep_ in ("ROOT", "relcl", "acl")


def _plural(kind: str) -> str:
    return kind + ("es" if kind.endswith(("s", "x", "ch", "sh")) else "s")
