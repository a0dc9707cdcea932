"""What the sentences of an answer say of its options: chosen, denied, or called wrong. Mentions are signs (`Forms`).

Reasons ("because …", "which shows …") say nothing of the choice and are left out first. The rest is cut into clauses,
and each is read alone: which option wins a comparison, which one a denial reaches, and whether it is in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal, NamedTuple

from cadvi_hub.annotation.answer_forms import SIGN, Forms

_ANY = rf"[^{SIGN[1:-1]}]"  # any character but a sign
_O = SIGN
_I = re.IGNORECASE

# What is cut away, or cut apart
_REASON_FIRST = re.compile(
    r"^\W*(?:because|since|as(?!\s+an?\b)|given\s+that|seeing\s+that)\b[^,]*(?:,|$)"
    r"|(?<=\bbut\s)(?:because|since|as|given\s+that|seeing\s+that)\b[^,]*,"
    r"|^\W*(?:if|when)\s+(?:I|we|you|one)\s+(?:compare|look|consider|examine|check|inspect|zoom)\b[^,]*,",
    _I,
)
_REASON_LAST = re.compile(
    rf"\b(?:because|since|given\s+that|seeing\s+that|due\s+to)\b.*|(?:,|(?<={_O}))\s*as\s+(?!well\b).*"
    r"|,?\s*\bwhich\s+(?:shows?|has|have|is|are|was|contains?|depicts?|does|do|could|lacks?)\b[^,]*",
    _I | re.S,
)
_SENTENCE = re.compile(r"(?<=[.!?])(?=\s)|;|\n+")
_CLAUSE = re.compile(
    rf"[,;:–—]?\s*\b(?:(?<!\banything\s)but|while|whereas|although|though|however|yet|so|hence|thus|therefore"
    rf"|then)\b(?!\s+far\b)"
    rf"|(?<!{_O})(?<!{_O}\s)(?<!{_O},\s)\band\s+(?={_O}\s+\w)|,\s*(?={_O}\s+(?!and\b|or\b|nor\b)\w|(?:it|this|that"
    rf"|I)\b)",
    _I,
)
_CONCLUDES = re.compile(r"\b(?:so|hence|thus|therefore|overall|consequently)\b", _I)

# Doubt
DOUBT = re.compile(
    r"\b(?:maybe|perhaps|(?<!can't )(?<!cannot )possibly|potentially|might|may|could(?:\s+\w+)?\s+be|unclear|unsure"
    r"|uncertain|ambiguous"
    r"|impossible|depends|unable|unlikely|doubt|doubtful|chance|wrong\s+to|sorry|whether|if|unless|assuming|suppose"
    r"|supposing|not\s+necessarily|need\s+to\s+see|please\s+(?:provide|upload|share))\b"
    r"|(?:\bnot|n't)\s+(?:\w+ly\s+)?(?:sure|certain|clear)\b|\b(?:hard|difficult)\s+to\b"
    r"|\b(?:cannot|can't|could\s+not|couldn't)\s+(?:\w+ly\s+)?"
    r"(?:tell|say|see|determine|decide|choose|know|identify|verify|answer|judge|be\s+(?:sure|certain))\b"
    rf"|\b(?:partly|partially|half|somewhat|almost|nearly|mostly|sometimes|often|usually)\s+(?={_O}|right\b|correct\b"
    rf"|perfect\b|the\s+same\b|match|fit|suit)|{_O}\s+(?:sometimes|in\s+(?:part|some)|to\s+(?:some|an?)\s+(?:\w+\s+)?"
    r"(?:extent|degree))\b|\?\W*$",
    _I,
)
_ONCE = re.compile(
    r"\b(?:thought|at\s+first|first\s+glance|initially|looked\s+like|tempting|some(?:one)?\s+(?:may|might|would"
    r"|could)?\s*say|might\s+seem|may\s+seem)\b",
    _I,
)
_ALL_IN_DOUBT = re.compile(r"\b(?:if|whether|unless)\b|\?\W*$|^\W*had\s+(?:the|it|there|both)\b", _I)
UNSURE = re.compile(
    r"(?:\bnot|n't)\s+(?:\w+ly\s+)?(?:sure|certain)\b|\b(?:unsure|uncertain)\b|\b(?:cannot|can't)\s+(?:tell|say"
    r"|be\s+sure)\b"
    rf"|\b(?:maybe|perhaps|possibly|(?:could|might|may)(?:\s+also)?\s+be)\s+{_O}",
    _I,
)

_CONCEDED = re.compile(  # "it could be A, but B is right": what is after "but" counts
    rf"^[^,]*\b(?:could|might|may)(?:\s+also)?\s+be\s+{_O}\s*,\s*(?=but\b{_ANY}*{_O})", _I
)

# Comparisons: the winner comes first, unless one of `_WORSE` is between the two.
_WORSE = re.compile(
    r"\b(?:worse|less|poorer|weaker|inferior|fewer|loses|lost|beaten|outperformed|surpassed|falls\s+short|behind)\b",
    _I,
)
_BETWEEN = (
    r"(?:over|rather\s+than|instead\s+of|than|beats?|outperforms?|trumps?|surpasses|before|ahead\s+of|behind|>"
    r"|(?:superior|inferior|preferable|preferred|loses|second)\s+to|(?:wins?|loses|lost)\s+(?:over|against)"
    r"|(?:beaten|outperformed|surpassed)\s+by|falls\s+short\s+of)"
)
_COMPARED = re.compile(
    rf"(?P<first>{_O})(?P<words>{_ANY}*?(?<!\w){_BETWEEN})(?!\w)\s*(?:that\s+of\s+|(?:the\s+one\s+)?(?:in|on)\s+"
    rf"|the\s+)*(?P<second>{_O})",
    _I,
)
_AS_GOOD = re.compile(rf"{_O}(?P<words>{_ANY}*)\bas\s+\w+(?:\s+\w+)?\s+as\s+(?:the\s+)?(?P<second>{_O})", _I)
_PREFERRED = re.compile(rf"\b(?:prefer|favou?r)\w*\s+(?P<first>{_O})(?P<words>\s+to\s+)(?P<second>{_O})", _I)
_ASIDE = re.compile(  # options that only stand beside the one that is spoken of
    rf"\b(?:between|among|of)\s+{_O}\s*(?:and|or|,|/)\s*{_O}"
    rf"|\b(?:rather\s+than|instead\s+of|unlike|except(?:\s+for)?|(?:as\s+)?(?:compared|opposed"
    rf"|in\s+contrast)\s+(?:to|with)"
    rf"|in\s+(?:comparison|contrast)\s+(?:to|with)|than|over)\s+(?:in\s+)?(?:the\s+)?{_O}(?:\s+and\s+{_O})?\s*,?",
    _I,
)

# Denials
_NOT = r"(?:\b(?:not|never|neither|nor|cannot|hardly|barely|scarcely|no\s+longer)\b|n't\b)"
_REFUSED = re.compile(
    rf"(?:{_NOT}|\b(?:reject\w*|rule\s+out|ruling\s+out|eliminate|exclude|discard|dismiss|avoid|anything\s+but"
    rf"|far\s+from"
    rf"|fails?\s+to\s+be|against|disagree\s+with|by\s+no\s+means|false\s+(?:of|for|about))\b)[^,]*$",
    _I,
)
_OF_THE_NEXT = re.compile(r"\bnot\s+(?:in\s+)?(?:the\s+)?$", _I)
_CALLED_WRONG = re.compile(
    r"\b(?:wrong|incorrect|false)\s+(?:answer|option|choice|one|image|picture)\b[^,]*$"
    r"|\b(?:answer|option|choice|one|image|picture)\s+(?:that|which)\s+(?:(?:does|is)\s+not|doesn't|isn't|fails\s+to)"
    r"\s+(?:match|fit|suit|correct|right)\w*(?:\s+the\s+\w+)?\s+is\s+(?:the\s+)?$",
    _I,
)
_BE = r"(?:is|was|'s|be|seems|looks|appears)"
_WRONG = re.compile(
    rf"^\s*(?:(?:must|would|has\s+to|seems\s+to)\s+)?{_BE}\s+(?:to\s+be\s+)?(?:(?:\w+ly|the|an?)\s+)*"
    r"(?:wrong|incorrect|false)(?:\s+(?:answer|option|choice|one|image|picture|match))?\W*$"
    rf"|^\s*(?:(?:{_BE}|would\s+be)\s+not|isn't|wasn't|(?:cannot|can't)(?:\s+be)?|wouldn't\s+be|doesn't\s+seem)\s+"
    r"(?:(?:to|be|\w+ly|the|an?)\s+)*(?:correct|right|answer)\b",
    _I,
)
_DENIED = re.compile(
    rf"^[^,]*?(?:{_NOT}|\b(?:fails?|lacks?|no|without|wrong|incorrect|worse|poor|poorer|bad"
    rf"|out\s+of\s+the\s+question|inferior|mismatch|unsuitable|ruled\s+out"
    r"|eliminated|excluded|rejected|discarded|contradicts?|less)\b)",
    _I,
)
_CLAIM_DENIED = re.compile(  # of a statement, reaches over the words between
    rf"{_NOT}\s+(?:the\s+case\b|think\b|believe\b|agree\b|feel\b|say\b|find\b|consider\b|seem\b){_ANY}*$"
    rf"|\bnothing\b{_ANY}*$"
    rf"|(?:{_NOT}|\b(?:far\s+from|anything\s+but|fails?\s+to\s+be|without\s+being)\b)"
    rf"(?:(?!\b(?:is|are|was|were)\b)[^,{SIGN[1:-1]}]){{0,40}}$",
    _I,
)

_LINK = re.compile(r"(?:,|/|&|\band\b|\bor\b|\bnor\b|\s)+", _I)
_REST_OF_LIST = re.compile(  # "B, C and D are not": what is said of the last holds for all
    rf"(?:\s*,\s*{_O})*\s*,?\s*(?:\band\b|\bor\b|&)\s*{_O}(?=\s+(?:are|aren't|were|do|don't|have|lack|fail|can|can't"
    r"|cannot)\b)",
    _I,
)
_TOGETHER = re.compile(rf"\b(?:neither|both)\s*$|{_O}\s+n?or\s*$", _I)
_OF_ONE_IMAGE = re.compile(  # "true of the left image", which leaves the other one open
    r"\s+(?:for|of|in|about)\s+(?:only|just|one|the\s+(?:left|right|first|second))\b|.*\bonly\W*$", _I
)
_ALL_DENIED = re.compile(
    rf"^\W*(?:(?:it\s+is\s+not|it\s+isn't|it's\s+not)\s+(?:true|the\s+case|{_O})\s+that\b"
    r"|I\s+(?:do\s+not|don't)\s+(?:think|believe)\b)",
    _I,
)
_VERDICT = re.compile(
    r"\b(?:cho(?:ose|ice|ice\s+is)|choosing|pick\w*|select\w*|go(?:es|ing)?\s+(?:with|for)|opt|vote|prefer\w*"
    r"|favou?r\w*|take|say"
    r"|answer|correct|right|best|better|match\w*|appl(?:y|ies)|true\s+(?:of|for)|fit\w*|suit\w*|describ\w+|correspond\w*|belongs?|refers?|wins?"
    r"|winner"
    r"|accurate\w*|clos(?:er|est)|appropriate|align\w*|consistent|conform\w*|exactly|only|more|leaves|remains|yes)\b"
    rf"|\b(?:it\s+(?:is|must\s+be)|it's)\s+{_O}",
    _I,
)
_FILLER = re.compile(
    r"\b(?:it|is|was|that|this|the|would|be|has|to|must|should|will|have|definitely|clearly|certainly|surely"
    r"|obviously|simply"
    r"|and|or|I|I'd|I'm|i'll|think|believe|guess|am|going|it's|that's|then|so|rather|just|probably|likely|most|one"
    r"|of|option|well"
    r"|image|picture|final|my|therefore|yes|no|okay|ok|sure|here|answers?|(?-i:a)|an|in|for)\b|'s\b",
    _I,
)


_MOST_NAMED = 12  # in a clause; one with more is a repetition


class Said(NamedTuple):
    """What a clause says of one option.

    Attributes:
        sign: of the option.
        how: `chosen`; `wrong` where it is called a wrong answer, so that of two options the other is right; `denied`.
        is_verdict: whether the clause is about the choice, and not only about what an image shows.
        concludes: whether it begins with "so" or "therefore".
    """

    sign: str
    how: Literal["chosen", "denied", "wrong"]
    is_verdict: bool
    concludes: bool = False


class Sentence(NamedTuple):
    """One sentence without its reasons, and what it says; nothing where it is in doubt."""

    text: str
    said: tuple[Said, ...]


def read_sentences(text: str, forms: Forms) -> Iterator[Sentence]:
    """What each sentence of `text`, with its mentions as signs, says of the options."""
    for sentence in _SENTENCE.split(text):
        rest = _REASON_LAST.sub("", _REASON_FIRST.sub("", sentence)).strip()
        if rest:
            yield Sentence(rest, tuple(_sentence(rest, forms)))


def _sentence(sentence: str, forms: Forms) -> Iterator[Said]:
    start = 0
    sentence = _CONCEDED.sub("", sentence)
    if _ALL_IN_DOUBT.search(sentence) or UNSURE.search(sentence):
        return
    denied = _ALL_DENIED.match(sentence)
    if denied and forms.is_yes_or_no and re.search(_NOT, sentence[denied.end() :], _I):
        return  # "it is not true that it isn't open"
    if denied and re.search(SIGN, sentence[denied.end() :]):
        for said in _sentence(sentence[denied.end() :], forms):
            other = forms.other(said.sign) if forms.is_statement else None
            yield said._replace(sign=other or said.sign, how="chosen" if other else "denied")
        return
    for end in [*_CLAUSE.finditer(sentence), None]:
        clause = sentence[start : end.start() if end else len(sentence)]
        before = sentence[:start]
        if not DOUBT.search(clause) and not _ONCE.search(clause):
            concludes = bool(_CONCLUDES.search(before[-12:]) or _CONCLUDES.match(clause.strip()))
            read = _statement if forms.is_statement else _choice
            for said in read(clause, forms):
                yield said._replace(concludes=concludes)
        start = end.end() if end else 0


def _statement(clause: str, forms: Forms) -> Iterator[Said]:
    """What is not true is false."""
    for match in re.finditer(SIGN, clause):
        before = clause[: match.start()]
        sign = match[0]
        is_denied = _CLAIM_DENIED.search(before)
        if re.search(r"\bonly\s*$", before, _I) or (not is_denied and _OF_ONE_IMAGE.match(clause, match.end())):
            continue
        if len(set(re.findall(SIGN, clause))) > 1 and _TOGETHER.search(before):
            yield from (Said(each, "chosen", True) for each in (sign, forms.other(sign) or sign))
        elif is_denied:
            yield Said(forms.other(sign) or sign, "chosen", True)
        else:
            yield Said(sign, "chosen", True)


def _choice(clause: str, forms: Forms) -> Iterator[Said]:
    """Which option a clause chooses, and which it denies."""
    if compared := _PREFERRED.search(clause) or _COMPARED.search(clause):
        around = clause[: compared.start()] + compared["words"]
        if re.search(_NOT, around, _I):
            return  # "not better than B" may mean that both are as good
        better, worse = compared["first"], compared["second"]
        if _WORSE.search(compared["words"]):
            better, worse = worse, better
        yield from (Said(better, "chosen", True), Said(worse, "denied", True))
        return
    if equal := _AS_GOOD.search(clause):
        if re.search(_NOT, equal["words"], _I):
            yield Said(equal["second"], "chosen", True)
        return
    clause = _ASIDE.sub(" ", clause)
    found = list(re.finditer(SIGN, clause))
    if len(found) > _MOST_NAMED:
        yield from (Said(match[0], "chosen", True) for match in found)
        return
    is_verdict = bool(_VERDICT.search(clause))
    for match, following in zip_longest(found, found[1:]):
        before = clause[max((each.end() for each in found if each.end() <= match.start()), default=0) : match.start()]
        if rest := _REST_OF_LIST.match(clause, match.end()):
            after = clause[rest.end() :]
        else:
            after = clause[match.end() : following.start() if following else len(clause)]
            after = _OF_THE_NEXT.sub("", after) if following else after
        is_listed = match is not found[0] and bool(_LINK.fullmatch(before))
        whole_before = clause[: match.start()] if is_listed else before
        if _CALLED_WRONG.search(whole_before) or _WRONG.search(after):
            double = re.search(rf"{_NOT}[^,]*\b(?:wrong|incorrect|false)", whole_before + after, _I)
            yield Said(match[0], "denied" if double else "wrong", True)
        elif _REFUSED.search(whole_before) or _DENIED.search(after):
            yield Said(match[0], "denied", is_verdict)
        else:
            yield Said(match[0], "chosen", is_verdict or _is_bare(clause, match[0]))


def _is_bare(clause: str, sign: str) -> bool:
    """Whether the clause is no more than the option: "B", "it must be B", "B, not A"."""
    rest = re.sub(rf"(?:\bnot\s+(?:the\s+)?)?{SIGN}", " ", clause, flags=_I)
    if not re.search(r"\w", _FILLER.sub(" ", rest)) or re.match(rf"^\W*{sign}\s*[:,–-](?!\s*{SIGN})", clause):
        return True
    return bool(re.fullmatch(rf"\W*(?:the\s+)?{sign}\s+(?:does|is)\W*", clause, _I))
