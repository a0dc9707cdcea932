"""What a summary claims of one image, as a yes/no question about that image; and a claim in plain words."""

from __future__ import annotations

from cadvi_hub.core.schema import Aspect
from cadvi_hub.grounding.claims import BOTH, Claim, Relation
from cadvi_hub.grounding.phrases import WORDS, Mention, singular


def question_of(content: Mention | Relation) -> str:
    """The question whose answer is yes where `content` holds: "Is there a red cat at the top left?"

    "a cat" asks for at least one, a number for exactly as many. The wording is that of `cadvi_hub.world.instruct`.
    """
    stated = statement_of(content)
    there, verb, what = stated.split(" ", 2)
    return f"{verb.capitalize()} there {what}?" if there == "there" else f"Is it right that {stated}?"


def statement_of(content: Mention | Relation) -> str:
    """That `content` holds, of one image: "there is a red cat at the top left"."""
    if isinstance(content, Relation):
        verb = "are" if content.subject.count > 1 else "is"
        return f"{phrase_of(content.subject)} {verb} {content.predicate} {phrase_of(content.object)}"
    if " " in content.article:
        return f"it is all {phrase_of(content)}"
    return f"there {'are' if content.count > 1 else 'is'} {phrase_of(content)}"


def sentence_of(claim: Claim) -> str:
    """A claim with content as a sentence: "Image 1 shows a cat." or "Only image 2 is on the street."."""
    content, images = claim.content, claim.shown_in or claim.absent_from
    one = f"image {images[0] + 1}"
    if isinstance(content, Relation):
        where = "In both images" if images == BOTH else f"In {one}"
        verb = "are" if content.subject.count > 1 else "is"
        no = "" if claim.shown_in else " not"
        return f"{where}, {phrase_of(content.subject)} {verb}{no} {content.predicate} {phrase_of(content.object)}."
    if content is None:
        return claim.text
    who = "both images" if images == BOTH else f"only {one}" if claim.shown_in and claim.absent_from else one
    if " " in content.article:
        verb = ("are" if images == BOTH else "is") + ("" if claim.shown_in else " not")
        said = f"{who} {verb} {phrase_of(content)}."
    else:
        verb = "show" if images == BOTH else "shows"
        phrase = phrase_of(content) if claim.shown_in else f"no {phrase_of(content).partition(' ')[2]}"
        said = f"{who} {verb} {phrase}."
    return said[0].upper() + said[1:]


def aspect_of(content: Mention | Relation) -> Aspect:
    """The aspect in which two images differ if one shows `content` and the other does not."""
    if isinstance(content, Relation):
        return Aspect.RELATIVE_POSITIONS
    if content.place or " " in content.article:
        return Aspect.LOCATIONS
    if content.count:
        return Aspect.COUNTS
    if content.action:
        return Aspect.ACTIONS
    return Aspect.ATTRIBUTES if content.attributes else Aspect.OBJECT_TYPES


def phrase_of(mention: Mention) -> str:
    """The mention in words, "two small red cats at the top", "a cat" or "on the street"."""
    words = [*mention.attributes, plural(mention.kind) if mention.count > 1 else mention.kind]
    if mention.count:
        before = WORDS.get(mention.count, str(mention.count))
    elif " " in mention.article:
        before = mention.article
    else:
        before = "an" if words[0][0].lower() in "aeiou" else "a"
    return " ".join(filter(None, (before, *words, mention.action, mention.place)))


def plural(kind: str) -> str:
    """`kind` in the plural, unless it is there already."""
    if singular(kind) != kind or kind == "fish":
        return kind
    if kind.endswith("y") and kind[-2:-1] not in tuple("aeiou"):
        return f"{kind[:-1]}ies"
    return kind + ("es" if kind.endswith(("s", "x", "z", "ch", "sh")) else "s")
