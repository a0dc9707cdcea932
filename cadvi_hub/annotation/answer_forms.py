"""How an answer writes the options of a question: each mention becomes one sign, so that rules see no spelling.

"I prefer the first image to B" becomes "I prefer ① to ②", with letters of a script that no answer uses for ① and ②. So
a rule about comparisons or denials is written once, and treats all options alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

IMAGE_LETTERS = ("A", "B")  # the options that name the first and the second image (the paper's question files)

_FIRST_SIGN = 0x10000  # Linear B: letters, so that a sign counts as a word; an answer keeps none of its own
SIGN = "[\U00010000-\U0001007f]"
APART = (
    r"(?=\s*[.,;:!?)\]]|\s+[-–—>]|\s*\n|\s*$|\s+(?:because|since|as)\b)"  # what follows an option that stands alone
)

_PICTURE = r"(?:image|picture|photo(?:graph)?|img|pic|one)"
_NUMBER = r"\s*(?:#|number\s*|no\.?\s*)?"
_PLACES = {"A": ("1", "one", "first|1st|left", "left"), "B": ("2", "two", "second|2nd|right", "right")}
_ON_ITS_OWN = (
    r"(?=\s*(?:[.,;:!?]|$)|\s+(?:rather|over|instead|but|and\s+not|is|isn't|matches|fits|does|doesn't|more|better|best"
    r"|to\s+be)\b)"
)
_LAST = {"A": "former", "B": "latter"}
# Words that can follow a letter, but do not make a noun phrase of the "A" before them, as "cat" does in "A cat".
_VERBS = (
    "and|or|nor|but|because|since|as|is|are|aren't|were|isn't|was|wasn't|has|does|doesn't|did|didn't|cannot|can't"
    "|could|would|should|must"
    "|may|might|seems|looks|appears|matches|suits|fits|wins|beats|loses|shows|lacks|contains|depicts|describes|fails"
    r"|corresponds|outperforms|trumps|comes|remains|applies|represents|captures|meets|satisfies|over|instead|before|to|not|goes|belongs|it\s+is|more\s+than|less\s+than"
    r"|(?:only|here)(?=\W*$|[.,;])|better\s+than|yes|no(?=\W*$|[.,;])|that\s+(?:matches|fits|shows)|rather\s+than"
    r"|(?:best|better)\s+(?:matches|fits|suits|describes|corresponds)|(?:clearly|definitely|only)\s+(?:is|matches"
    r"|fits)"
)
_BARE = rf"(?<![\w'/&])(?-i:{{0}})(?![\w'/&]|\s+(?!(?:{_VERBS})\b)\w\w)"
_AFTER = r"\b(?:wait|actually|sorry|thought|rather|mean|correction|oops)\W+"
_LISTED = (
    r"(?:(?<=\band\s)|(?<=\bor\s)|(?<=\bnor\s))(?-i:{0})(?=\s+(?:match|fit|suit|show|work|seem|look|appear|depict)\b)"
)
_CUE = r"\banswer(?:\s+is)?\s*[:=]?\s*"

_IS = r"\s+(?:is|was|isn't|is\s+not|(?:seems|appears|has)\s+to\s+be|(?:must|should|would)\s+be)\s+(?:\w+ly\s+)?"
_SUBJECT = r"\b(?:statement|claim|sentence|description|caption|it|that|this)"
_COPULA = r"(?:'s|\s+(?:is|was|isn't|wasn't|(?:would|wouldn't|can't|cannot)\s+be))(?:\s+not)?(?:\s+\w+ly)?\s+"
_NOT_OF_A_SIDE = r"(?!-|\s+(?:of|side|hand|image|picture|photo|one|half|colou?r|number)\b)"
_SURELY = r"(?:absolutely|definitely|certainly|exactly)"
_TRUE = r"true|correct|accurate|valid"
_FALSE = r"false|incorrect|untrue|inaccurate|invalid"
_OF_ANSWER = r"(?!\s+(?:answer|option|choice|response|verdict|conclusion|image|picture|colou?r|number)\b)"
_SUPPORTED = (r"supported(?=\s+by)", r"contradict(?:s|ed|ing)?(?=\s+(?:by|the|this|that)\b)")
_ALL_IMAGES = r"(?:(?:both|all|these|the|two|given)\s+){1,3}(?:images|pictures|photos)\b"
_DESCRIBED = (  # "the statement matches both images"; of one image alone it would leave the other one open
    rf"(?:match|matches|describes?|fits?|reflects?|represents?|appl(?:y|ies)\s+to|agrees?\s+with|holds?(?:\s+true)?"
    rf"\s+(?:for|of|in))(?=\s+(?:{_ALL_IMAGES}|both\b))|checks\s+out"
)
# Short replies that choose without naming an option, where nothing follows in their sentence
_SHORTLY = (
    r"(?:(?:I\s+(?:think|believe|guess)\s+so|(?:yes\W+)?(?:it|they|there|he|she)\s+(?:does|do|is|are|has|have)"
    r"|affirmative|indeed|certainly)(?=\s*[.!]|\s*$))",
    r"(?:not\s+(?:quite|exactly|really|entirely|at\s+all)|(?:unfortunately|certainly|definitely)\s+not|negative"
    r"|I\s+(?:don't|do\s+not)\s+(?:think|believe)\s+so|(?:it|they|there|he|she)\s+(?:(?:does|do|is|are|has|have)"
    r"(?:n't|\s+not)|(?:is|are)\s+none)(?:\s+any)?)(?=\s*[.!]|\s*$)",
)
_AGREE = r"(?<=I\s)agree|(?<=not\s)agree|(?<=n't\s)agree"


class Forms(NamedTuple):
    """How some options are written: alone, and within a text."""

    options: tuple[str, ...]
    is_statement: bool  # whether one option is the denial of the other: True and False, or yes and no
    alone: re.Pattern[str]
    named: tuple[re.Pattern[str], ...]

    @property
    def is_yes_or_no(self) -> bool:
        """Whether the options answer a question, which an answer need not repeat as it was asked."""
        return self.is_statement and "yes" in map(str.casefold, self.options)

    def sign(self, index: int) -> str:
        """The sign of the option `index`."""
        return chr(_FIRST_SIGN + index)

    def option(self, sign: str) -> str:
        """The option that has this sign."""
        return self.options[ord(sign) - _FIRST_SIGN]

    def other(self, sign: str) -> str | None:
        """The sign of the other option, where there are two."""
        return chr(2 * _FIRST_SIGN + 1 - ord(sign)) if len(self.options) == 2 else None

    def signed(self, text: str) -> str:
        """`text` with a sign for each mention of an option; a mention that repeats the one before it is left out."""
        text = re.sub(SIGN, " ", text)
        if self.options == IMAGE_LETTERS:  # "A is the right one" speaks of no side
            text = re.sub(rf"((?:{self.named[0].pattern}){_IS}the\s+)right\b", r"\g<1>correct", text, flags=re.I)
        for pattern in (self.alone, *self.named):
            text = pattern.sub(self._with_sign, text)
        # "A. Image 1", "(B) the second image"
        return re.sub(rf"(?<!\band\s)({SIGN})[ \t]*[.:,()–-]*[ \t]*(?:the\s+)?\(?\1\)?", r"\1", text)

    def _with_sign(self, match: re.Match[str]) -> str:
        group = match.lastgroup or ""
        start, end = match.span(group)
        whole = match[0]
        return whole[: start - match.start()] + self.sign(int(group[1:])) + whole[end - match.start() :]


@cache
def forms_of(options: tuple[str, ...], of_images: bool = True) -> Forms:
    """The forms of these options: letters (A and B name images only if `of_images`), statements, or words."""
    lowered = [option.casefold() for option in options]
    is_statement = sorted(lowered) in (["false", "true"], ["no", "yes"])
    if is_statement:
        positive = [option in ("true", "yes") for option in lowered]
        alone = [
            rf"true|yes|yeah|yep|correct|of\s+course|{_SURELY}|{_SHORTLY[0]}"
            if each
            else rf"false|no(?:\s+way)?|nope|incorrect|wrong|{_SURELY}\s+not|of\s+course\s+not|{_SHORTLY[1]}"
            for each in positive
        ]
        named = [
            [
                rf"(?:{_TRUE if each else _FALSE}){_OF_ANSWER}|{_AGREE if each else 'disagree'}"
                rf"|{_SUPPORTED[not each]}"
                for each in positive
            ],
            [r"right|the\s+case(?!\s+that)" if each else "wrong" for each in positive],
            [r"holds?" if each else r"fails?\s+to\s+hold" for each in positive],
            ["yes" if each else "no" for each in positive],
            [_DESCRIBED if each else r"does(?:\s+not|n't)\s+hold\s+(?:for|of|in)" for each in positive],
            [r"support(?:s|ed)?" if each else r"contradict(?:s|ed)?" for each in positive],
        ]
        around = [
            (r"(?<!\w)", r"(?!\w)"),
            (rf"(?:{_SUBJECT}{_COPULA}|^not\s+)", rf"\b{_NOT_OF_A_SIDE}"),
            (rf"{_SUBJECT}(?:\s+(?:does\s+not|doesn't))?\s+", r"\b(?=\s*(?:[.,;!]|$))"),
            (r"\b(?:is|be|it's|say|answer|so|therefore|thus|hence)\s*[:=]?\s+(?:a\s+)?", r"\b(?=\s*(?:[.,;!]|$))"),
            (rf"{_SUBJECT}(?:\s+(?:does\s+not|doesn't))?(?:\s+\w+ly)?\s+", ""),
            (
                rf"\b{_ALL_IMAGES}(?:\s+(?:do\s+not|don't))?(?:\s+\w+ly)?\s+",
                r"\b(?=\s+(?:the|this|that)\s+(?:statement|claim|sentence|description|caption))",
            ),
        ]
    elif all(len(option) == 1 and option.isupper() for option in options):
        letters = [_letter(option, of_images and options == IMAGE_LETTERS) for option in options]
        alone, named, around = (
            [each[0] for each in letters],
            [[each[1] for each in letters]],
            [(r"(?<!\w)", r"(?!\w)")],
        )
    else:
        words = [r"\s+".join(map(re.escape, option.split())) for option in options]
        alone, named, around = [rf"(?:an?\s+|the\s+)?{each}" for each in words], [words], [(r"(?<!\w)", r"(?!\w)")]
    flags = re.IGNORECASE | re.MULTILINE
    return Forms(
        options,
        is_statement,
        re.compile(rf"(?:^[^\w\n(\[]*|{_CUE}|{_AFTER})(?<!\w){_any_of(alone)}(?!\w){APART}", flags),
        tuple(
            re.compile(f"{before}{_any_of(each)}{after}", flags)
            for each, (before, after) in zip(named, around, strict=True)
        ),
    )


def _any_of(patterns: Sequence[str]) -> str:
    """One group per pattern, by its number; the longest first, so that "dark red" is not taken for "red"."""
    order = sorted(range(len(patterns)), key=lambda index: -len(patterns[index]))
    return "(?:" + "|".join(f"(?P<o{index}>{patterns[index]})" for index in order) + ")"


def _letter(letter: str, of_image: bool) -> tuple[str, str]:
    """How a letter is written alone and within a text, and the image that it names, where it names one."""
    alone = rf"(?:option\s+)?[(\[]?{letter}[)\]]?"
    named = (
        rf"(?:option|choice|letter)\s+[(\[]?(?-i:{letter})\b[)\]]?|[(\[](?-i:{letter})[)\]]|"
        + f"{_BARE.format(letter)}|{_LISTED.format(letter)}"
    )
    if of_image:
        number, word, ordinal, side = _PLACES[letter]
        image = (
            rf"{_PICTURE}{_NUMBER}(?:{number}|{word})|(?:{ordinal})(?:-hand)?(?:\s+side)?\s+{_PICTURE}"
            rf"|{_PICTURE}\s+on\s+the\s+{side}|{_PICTURE}\s+(?-i:{letter})"
        )
        which = rf"(?:{ordinal}|{_LAST[letter]})(?:\s+{_PICTURE}|\s+of\s+the\s+(?:two|pair)(?:\s+{_PICTURE}s)?)?"
        alone += rf"|[(\[]?(?:#|number\s+|no\.?\s*)?(?:{number}|{word})[)\]]?|(?:the\s+)?(?:{image}|{which})"
        alone += rf"|on\s+the\s+{side}"
        named += rf"|{image}|the\s+(?:{ordinal.rpartition('|')[0]}|{_LAST[letter]}){_ON_ITS_OWN}"
    return alone, named
