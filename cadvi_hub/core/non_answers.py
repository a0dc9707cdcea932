"""What a text says instead of content: refusals, fillers, and talk about its source.

The one definition of each, for summaries, questions and source captions.
"""

from __future__ import annotations

import re

_MODEL = r"as an? (?:\w+ )?(?:ai\b|(?:large )?language model|text[- ]based|artificial)"
_CANNOT = (
    r"(?:can ?not|can'?t|could ?n[o']t|am (?:unable|not able)|'m (?:unable|not able)|"
    r"do(?: not|n't) have (?:access|the)|won'?t|will not)"
)
_EMPTY_MESSAGE = (
    r"\b(?:nothing|no \w+) in your (?:message|request|question|prompt)\b|"
    r"\byour (?:message|request|question|prompt|input)s? (?:(?:was|is|seems?|appears?|looks?)(?: to (?:be|have been))?"
    r" |got )(?:\w+ )?(?:empty|blank|incomplete|cut|missing)|"
    r"\bno (?:image|picture|caption|description|text)s? (?:was|were|has been|have been|is|are) "
    r"(?:provided|attached|given|shared)|"
    r"\b(?:how|what) (?:can i help|can i assist|would you like)\b"
)
_BEGINS = re.compile(
    rf"\W*(?:i(?:'m| am) (?:\w+ )?sorry|sorry\b|i apologi[sz]e|(?:unfortunately,? )?i ?{_CANNOT}|"
    rf"i(?:'m| am) (?:just |only )?an ai\b|unfortunately\b|{_MODEL}|"
    r"(?:please|could you|can you)(?: please)? (?:provide|send|share|upload|attach)\b)",
    re.IGNORECASE,
)
_WITHIN = re.compile(
    rf"(?:^|[.!?:;\n]\s*|\b(?:but|because|since|and),? )(?:i ?{_CANNOT} (?:\w+ )?"
    rf"(?:view|see|determine|compare|access|provide|tell|answer|describe|analy[sz]e|identify|assist|help|process)\b)|\b{_MODEL}|{_EMPTY_MESSAGE}",
    re.IGNORECASE,
)
_EMPTY = re.compile(_EMPTY_MESSAGE, re.IGNORECASE)

_SAID = "(?:described|mentioned|specified|stated|indicated)"
_SOURCE = re.compile(
    rf"\b(?:captions?|descriptions?|summar(?:y|ies)|(?:is|are|was|were|not|never|explicitly|specifically) {_SAID}|"
    r"(?:does|do|did)(?: not|n't) (?:\w+ly )?(?:describe|mention|provide|specify|state|indicate)|"
    r"un(?:specified|mentioned)|no (?:specific )?mention of|"
    r"(?:given|provided) (?:texts?|information)|(?:first|second|both|two|each|either) texts?|"
    r"(?:the|this|given|provided|difference) notes?)\b",
    re.IGNORECASE,
)

_OF = r"(?: (?:in|of|between|for|to|across|among|from|with|that|can be|are|is|was|were)\b[^,;.]*)?"
_THING = r"(?:\w+ )?(?:differences?|commonalit(?:y|ies)|similarit(?:y|ies)|information|details?|actions?|changes?)"
_FILLER = re.compile(
    rf"(?:[-–—]+|none|nil|null|n/?a|nothing)(?: {_SAID}| noted| observed| visible| applicable| given| found)?{_OF}"
    rf"|not (?:applicable|available|given|provided|{_SAID[3:-1]}){_OF}"
    r"|(?:there (?:is|are|were) )?(?:no|not any) (?:(?:notable|significant|clear|specific|obvious|major|apparent|"
    rf"noticeable|visible|other|direct|explicit|real) )*{_THING}(?: {_SAID}| noted| observed| visible| given)?{_OF}"
    r"|(?:(?:the|it is the|they are the) )?same(?: (?:in|for|across) (?:both|the two|each)[^,;.]*)?"
    r"|(?:both(?: images| of them)? )?(?:are |is )?(?:the same|identical)(?: in both[^,;.]*)?"
    r"|(?:the )?(?:two )?images (?:have|share) (?:no commonalities|nothing in common)"
    r"|(?:(?:in|on|at|with|while|and|both|the|an?|images?|[12])\b,? ?)+",  # begun, and left off
    re.IGNORECASE,
)
_APOSTROPHES = str.maketrans("’‘ʼ＇", "''''")


def refusal(text: str) -> str:
    """The words in which a model declines at the start of a text; "" where it does not."""
    text = text.translate(_APOSTROPHES)
    found = _BEGINS.match(text) or _EMPTY.search(text)
    return found[0].strip() if found else ""


def refusal_within(text: str) -> str:
    """As `refusal`, but anywhere in the text: "… , but as an AI language model I cannot see them"."""
    found = _WITHIN.search(text.translate(_APOSTROPHES))
    return refusal(text) or (found[0].strip() if found else "")


def is_filler(text: str) -> bool:
    """Whether a text says nothing ("In."), or that there is nothing to say ("No difference in colour")."""
    return bool(_FILLER.fullmatch(text.translate(_APOSTROPHES).strip().rstrip(".!").strip())) or not text.strip()


def source_talk(text: str) -> str:
    """The words that speak of the text that the writer read, "the caption does not mention"; "" if there are none."""
    found = _SOURCE.search(text.translate(_APOSTROPHES))
    return found[0] if found else ""
