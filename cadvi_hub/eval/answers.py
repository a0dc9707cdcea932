"""Which option an answer to a closed question chooses: one pure function, with a strict and a tolerant reading.

`strict` is the paper's (section 4.1): exactly the string of an option, except for whitespace around it. `tolerant`
reads as a person would: "(a)", "**A**", "The answer is A", "the first image", "Yes, …". Both return None if the answer
is unclear: if it names two options, denies one without naming the other, is in doubt, or breaks off while it reasons.
Guessing would give credit for nothing.
"""

import re
import string
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple, get_args

Reading = Literal["strict", "tolerant"]
READINGS: tuple[Reading, ...] = get_args(Reading)

IMAGE_LETTERS = ("A", "B")  # the options that name the first and the second image (the paper's question files)

_PICTURE = r"(?:image|picture|photo(?:graph)?|one)"
_PLACES = {"A": ("1", "one", "first|1st|left", "left"), "B": ("2", "two", "second|2nd|right", "right")}
# In capitals, and not where it begins a noun phrase, as the "A" of "A cat" does.
_BARE = r"(?<![\w'/&])(?-i:{0})(?![\w'/&]|\s+(?!(?:and|or|nor|but|because|since|as|is|matches|suits|fits)\b)\w\w)"
_DENIED = r"(?:\b(?:not|nor|neither|than|unlike|except|instead\s+of)|n't)\s+(?:in\s+)?(?:the\s+)?"
_APART = re.compile(r"(?<=[)\]])|(?=[.,;:!?]|\s+[-–—]|\s*\n|\s*$|\s+(?:because|since|as)\b)", re.I)
_JOINED = re.compile(r"\s*(?:[,/&]|(?:or|and)\b)+\s*", re.I)
_CUE = re.compile(
    r"\b(?:answer|choice|option|conclusion)\b(?:\s+(?:is|was|(?:would|should|must|will)\s+be))?"
    r"(?:\s+(?:option|choice|letter))?\s*[:=]?",
    re.I,
)
_DOUBT = re.compile(r"\b(?:both|either|neither|cannot|unable|unclear|unsure|impossible|none|sorry)\b|can't", re.I)
_DENIAL = re.compile(r"\b(?:not|no|never|without)\b|n't", re.I)
_MARKUP = re.compile(r"\\(?:boxed|text|mathbf|textbf)|<[^<>\s]{1,20}>|[*_#`$\"“”{}]")


def read_answer(text: str, options: Sequence[str], reading: Reading) -> str | None:
    """The option that `text` chooses, or None if it cannot be read.

    Args:
        text: what the model wrote.
        options: what may be answered: letters, True and False, or words. Of the letters A and B alone, A is also the
            first (left) image and B the second, as in the paper's questions. Without options any text is an answer.
        reading: `strict` or `tolerant`. Of an open answer the tolerant one forgets case and the marks around it, so
            reference and answer have to be read alike.

    Returns:
        One of `options`; without options, the text.
    """
    stripped = text.strip()
    if reading == "strict":
        return stripped if (stripped in options if options else stripped) else None
    if not options:
        return stripped.strip(string.punctuation + string.whitespace).casefold() or None
    said = text.rpartition("</think>")[2]
    plain = _MARKUP.sub(" ", said).replace("’", "'").strip()
    if not plain or "<think>" in said:
        return None
    forms = _forms(tuple(options))
    lines = plain.splitlines()
    whole = {forms.option(match) for line in (lines[0], lines[-1]) if (match := forms.line.fullmatch(line))}
    if whole:  # the first or the last line is an option and nothing else
        return whole.pop() if len(whole) == 1 else None
    cues = list(_CUE.finditer(plain))
    if cues and re.search(r"\w", final := plain[cues[-1].end() :]):
        if option := _leading(final, forms) or _named(final, forms):
            return option
        if forms.name.search(final):
            return None  # the final answer itself is unclear: "the answer is A or B", "the answer is not A"
    return _leading(plain, forms) or _named(plain, forms)


class _Forms(NamedTuple):
    """How some options are written: as all of a line, at the start of a text, and named within one."""

    options: tuple[str, ...]
    is_statement: bool
    line: re.Pattern[str]
    start: re.Pattern[str]
    name: re.Pattern[str]

    def option(self, match: re.Match[str]) -> str:
        """The option that `match` found."""
        assert match.lastgroup is not None  # noqa: S101  (every pattern is one group per option)
        return self.options[int(match.lastgroup[1:])]


@cache
def _forms(options: tuple[str, ...]) -> _Forms:
    lowered = [option.casefold() for option in options]
    is_statement = sorted(lowered) in (["false", "true"], ["no", "yes"])
    if is_statement:
        positive = [option in ("true", "yes") for option in lowered]
        alone = [
            "true|yes|correct" if each else r"false|no|incorrect|untrue|wrong|not\s+(?:true|correct)"
            for each in positive
        ]
        named = ["true|correct" if each else "false|incorrect|untrue" for each in positive]
    elif all(len(option) == 1 and option.isupper() for option in options):
        alone, named = map(list, zip(*(_letter(option, options) for option in options), strict=True))
    else:
        words = [r"\s+".join(map(re.escape, option.split())) for option in options]
        alone, named = [rf"(?:an?\s+|the\s+)?{each}" for each in words], words
    line, name = _any_of(alone), _any_of(named)
    return _Forms(
        options,
        is_statement,
        re.compile(rf"\W*?{line}\W*", re.I),
        re.compile(rf"[^\w(\[]*{line}(?!\w)", re.I),
        re.compile(rf"(?P<denied>{_DENIED})?(?<!\w){name}(?!\w)", re.I),
    )


def _any_of(patterns: Sequence[str]) -> str:
    """One group per pattern, by its number; the longest first, so that "dark red" is not taken for "red"."""
    order = sorted(range(len(patterns)), key=lambda index: -len(patterns[index]))
    return "(?:" + "|".join(f"(?P<o{index}>{patterns[index]})" for index in order) + ")"


def _letter(letter: str, options: tuple[str, ...]) -> tuple[str, str]:
    alone = rf"[(\[]?{letter}[)\]]?"
    named = rf"(?:option|choice|letter)\s+[(\[]?(?-i:{letter})|\((?-i:{letter})\)|" + _BARE.format(letter)
    if options == IMAGE_LETTERS:
        number, word, ordinal, side = _PLACES[letter]
        image = (
            rf"{_PICTURE}\s*#?(?:{number}|{word})|(?:{ordinal})(?:-hand)?(?:\s+side)?\s+{_PICTURE}"
            rf"|{_PICTURE}\s+on\s+the\s+{side}|{_PICTURE}\s+(?-i:{letter})"
        )
        alone += rf"|{number}|(?:the\s+)?(?:{image}|{ordinal})"
        named += f"|{image}"
    return alone, named


def _leading(text: str, forms: _Forms) -> str | None:
    """The option that `text` begins with, set apart from what follows: "A. Image 1", "Yes, both do", "B because …"."""
    match = _set_apart(text, forms)
    if match is None:
        return None
    option, rest = forms.option(match), text[match.end() :]
    joined = _JOINED.match(rest)
    for piece in [rest[joined.end() :] if joined else "", *rest.splitlines()]:  # "A, B", or all options in a list
        other = forms.start.match(piece)
        if other and forms.option(other) != option and re.match(r"\W*$|[.):]\s", piece[other.end() :]):
            return None
    if forms.is_statement and _named(rest, forms) not in (None, option):
        return None  # "No, the statement is true"
    return option


def _set_apart(text: str, forms: _Forms) -> re.Match[str] | None:
    match = forms.start.match(text)
    return match if match and _APART.match(text, match.end()) else None


def _named(text: str, forms: _Forms) -> str | None:
    """The only option that `text` names and does not deny, unless the text is in doubt."""
    chosen: set[str] = set()
    if forms.is_statement and (said := _set_apart(text, forms)):
        chosen.add(forms.option(said))  # "No, …"
    for match in forms.name.finditer(text):
        option = forms.option(match)
        if match["denied"] is None:
            chosen.add(option)
        elif forms.is_statement:  # what is not true is false
            chosen.update(set(forms.options) - {option})
    rest = forms.name.sub(" ", text)
    in_doubt = _DOUBT.search(rest) or (not forms.is_statement and _DENIAL.search(rest))
    return chosen.pop() if len(chosen) == 1 and not in_doubt else None
