"""Which option an answer to a closed question chooses: one pure function, with a strict and a tolerant reading.

`strict` is the paper's (section 4.1): exactly the string of an option, except for whitespace around it. `tolerant`
reads as a person would: "(a)", "**A**", "The answer is A", "the first image", "I prefer A to B", "Not entirely true".
Both return None if the answer is unclear: if it chooses two options, denies one without naming the other, is in doubt,
or breaks off while it reasons. Guessing would give credit for nothing.

The tolerant reading asks in this order: what is after a correction ("wait, …"); an explicit final answer ("Answer: B",
a boxed one, a last line in bold); what the sentences choose; and last, the only option that is named at all.
"""

import re
import string
from collections.abc import Sequence
from typing import Literal, get_args

from cadvi_hub.annotation.answer_clauses import DOUBT, UNSURE, Sentence, read_sentences
from cadvi_hub.annotation.answer_forms import IMAGE_LETTERS, SIGN, Forms, forms_of

__all__ = ["IMAGE_LETTERS", "READINGS", "Reading", "read_answer"]

Reading = Literal["strict", "tolerant"]
READINGS: tuple[Reading, ...] = get_args(Reading)

_FINAL_MARKS = [  # each becomes a line "Answer: …"
    re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"<answer>(.*?)</answer>", re.S | re.I),
    re.compile(r"(?<=\n)[ \t]*\*\*([^*\n]{1,60})\*\*[ \t]*$"),
]
_MARKUP = re.compile(r"\\(?:text|mathbf|textbf|mathrm)|<[^<>\s]{1,20}>|[*_#`$\"“”{}]")
_CUE = re.compile(
    r"(?<!wrong )(?<!incorrect )(?<!each )(?<!every )\b(?:answer|choice|option|verdict|conclusion|response|selection"
    r"|decision)\b(?:\s+here)?"
    r"(?:\s*[:=]|\s+[-–—]|\s+(?:is|was|(?:would|should|must|will|has\s+to)\s+be)\b|[ \t]*\n)\s*[:=]?",
    re.I,
)
_LAST_CUES = 20  # that are read of an answer that repeats itself
_ANSWER_IS = re.compile(rf"\banswer(?:\s+is|\s*:)\s+{SIGN}", re.I)
_CORRECTION = re.compile(
    r"\b(?:no\W+)?(?:wait|scratch\s+that|on\s+second\s+thoughts?|correction|oops|my\s+mistake|I\s+made\s+a\s+mistake"
    r"|I\s+misspoke|I\s+mean|or\s+rather|on\s+closer\s+(?:inspection|look)|let\s+me\s+(?:correct|reconsider"
    r"|rethink))\b"
    r"|(?:^|[.!?\n]\s*|\bhmm\W+)actually\b|(?<=\W)sorry\s*,|\?\s*(?:no|nope)\b\W",
    re.I,
)
_EMPHASIS = re.compile(
    r"\bnot\s+only\b|\b(?:there\s+is\s+|there's\s+|I\s+have\s+)?(?:no|without(?:\s+an?y?)?|beyond)\s+doubt\b(?:\s*,"
    r"|\s+that\b)?|,\s*\w+n't\s+it\?",
    re.I,
)
_WHOLE = re.compile(rf"[^\w?]*({SIGN})[^\w?]*")
_HEADING = re.compile(rf"(?:(?<=[.!?])|^)[^\S\n]*[^\w\s]*({SIGN})\s*(?::[^\w\n]*|[.)]?[^\S\n]*$)", re.M)
_NO_CHOICE = re.compile(rf"\b(?:both|either|neither|none)\b|\b(?:cannot|could)\b|can't|\?|{DOUBT.pattern}", re.I)
_TICK, _CROSS = re.compile("[✅☑✓✔]"), re.compile("[❌☒✗✘✖]")
_DENIAL = re.compile(r"\b(?:not|no|never|without|lacks?|fails?|wrong|incorrect)\b|n't", re.I)


def read_answer(text: str, options: Sequence[str], reading: Reading, of_images: bool = True) -> str | None:
    """The option that `text` chooses, or None if it cannot be read.

    Args:
        text: what the model wrote.
        options: what may be answered: letters, True and False, or words. Without options any text is an answer.
        reading: `strict` or `tolerant`. Of an open answer the tolerant one forgets case and the marks around it, so
            reference and answer have to be read alike.
        of_images: whether the letters A and B alone name the images, as in the paper's questions: then "the first
            image" is A. In other sets A can stand for anything, even for "the second image".

    Returns:
        One of `options`; without options, the text.
    """
    stripped = text.strip()
    if reading == "strict":
        return stripped if (stripped in options if options else stripped) else None
    if not options:
        return stripped.strip(string.punctuation + string.whitespace).casefold() or None
    said = text.rpartition("</think>")[2]
    if "<think>" in said:
        return None
    forms = forms_of(tuple(options), of_images)
    if sole := [option for option in options if option.casefold() == stripped.casefold()]:
        return stripped if stripped in options else sole[0]
    for mark in _FINAL_MARKS:
        said = mark.sub(_answer_line, said)
    plain = _MARKUP.sub(" ", said).replace("’", "'")
    plain = re.sub(r"(?<!\w)'([^'\n]{1,60})'(?!\w)", r" \1 ", plain).strip()
    plain = _EMPHASIS.sub(" ", plain)
    sign = _read(forms.signed(plain), forms)
    return None if sign is None else forms.option(sign)


def _answer_line(mark: re.Match[str]) -> str:
    line = mark.string[: mark.start()].rpartition("\n")[2]
    return f" {mark[1]} " if _DENIAL.search(line) else f"\nAnswer: {mark[1]}\n"


def _read(text: str, forms: Forms) -> str | None:
    """The sign of the option that `text`, with mentions as signs, chooses."""
    for correction in reversed(list(_CORRECTION.finditer(text))):
        before, after = text[: correction.start()], text[correction.end() :]
        if not re.search(SIGN, before):
            break
        if not re.search(SIGN, after):
            if _DENIAL.search(correction[0] + after) or UNSURE.search(after):
                return None  # it takes back what it said, and says nothing instead
            text = before
            continue
        sign = _chosen(after, forms)
        if sign is None:  # only what the images show
            sign = _chosen(before, forms) or _only_named(after, forms)
        return sign or None
    sign = _chosen(text, forms)
    return _only_named(text, forms) if sign is None else sign or None


def _chosen(text: str, forms: Forms) -> str | None:
    """The sign of the option that `text` chooses; "" if it chooses several or is in doubt, None if it chooses none."""
    finals = [_settled(list(read_sentences(final, forms)), forms) or "" for final in _finals(text)]
    if finals:
        is_repeated = len(_ANSWER_IS.findall(text)) > 1
        return "" if is_repeated and len(set(finals)) > 1 else finals[-1]
    lines = [line for line in text.splitlines() if line.strip()]
    ticked: list[set[str]] = [
        set(re.findall(SIGN, line)) for line in lines if _TICK.search(line) and not _CROSS.search(line)
    ]
    if len(ticked) == 1 and len(ticked[0]) == 1 and _CROSS.search(text):  # the others are crossed
        return ticked[0].pop()
    whole = {number: found[1] for number, line in enumerate(lines) if (found := _WHOLE.fullmatch(line))}
    last = whole.get(len(lines) - 1)
    if last is not None:
        others = [sign for number, sign in whole.items() if number < len(lines) - 1]
        return last if len(others) != 1 or others[0] == last else ""
    return _settled(list(read_sentences(_without_headings(text), forms)), forms)


def _finals(text: str) -> list[str]:
    """The clauses of `text` that give an answer ("so the answer is A"), if they name an option or are in doubt."""
    found = []
    for cue in list(_CUE.finditer(text))[-_LAST_CUES:]:
        before = re.split(r"[.!?;,:\n]", text[: cue.start()])[-1]
        after = re.split(r"(?<=[.!?])\s|\n", text[cue.end() :].strip(), maxsplit=1)[0]
        if re.search(SIGN, after) or _NO_CHOICE.search(after):
            found.append(f"{before} answer is {after}")
    return found


def _without_headings(text: str) -> str:
    """`text` where "Image 1: …" or a line "Image 1" is no answer but a heading, if several options have one."""
    headings = list(_HEADING.finditer(text))
    return _HEADING.sub(r" \1 shows ", text) if len({heading[1] for heading in headings}) > 1 else text


def _settled(sentences: Sequence[Sentence], forms: Forms) -> str | None:
    """What sentences choose together, as `_chosen` returns it."""
    said = [(number, each) for number, sentence in enumerate(sentences) for each in sentence.said if each.is_verdict]
    chosen = [(number, each) for number, each in said if each.how == "chosen"]
    signs = {each.sign for _, each in chosen}
    if len(signs) > 1:
        signs = {each.sign for number, each in chosen if each.concludes and number == chosen[-1][0]}
        if len(signs) != 1:
            return ""
    elif signs & {each.sign for _, each in said if each.how != "chosen"}:
        return ""
    if signs:
        is_unsure = any(UNSURE.search(sentence.text) for sentence in sentences[chosen[-1][0] + 1 :])
        return "" if is_unsure else signs.pop()
    wrong = {each.sign for _, each in said if each.how == "wrong"}
    if len(wrong) == 1 and len({each.sign for _, each in said}) == 1:
        return forms.other(wrong.pop())  # of two options the one that is not wrong
    return "" if wrong else None


def _only_named(text: str, forms: Forms) -> str | None:
    """The sign of the only option that `text` names, unless the text denies anything or is in doubt."""
    signs = set(re.findall(SIGN, text))
    if len(signs) != 1 or _NO_CHOICE.search(text) or _DENIAL.search(text):
        return None
    said = [each for sentence in read_sentences(text, forms) for each in sentence.said]
    return signs.pop() if said and all(each.how == "chosen" for each in said) else None
