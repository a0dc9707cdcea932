"""A table of answers as people and models write them, and properties that hold for all of them.

A line of `answer_cases/*.txt` is options, outcome and text: `-` is unread (in doubt, denied, or nothing chosen), `!`
contradictory; both read as None. The rules were written with `seen.txt` alone. `held_out.txt` measures them: do not
look at its failures to write a rule.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.annotation.answers import read_answer

OPTIONS = {
    "AB": ("A", "B"),
    "TF": ("True", "False"),
    "YN": ("yes", "no"),
    "ABCD": ("A", "B", "C", "D"),
    "red/blue": ("red", "blue"),
    "left/right": ("left", "right"),
}


class Case(NamedTuple):
    options: tuple[str, ...]
    outcome: str | None
    text: str


def cases_of(name: str) -> Iterator[Case]:
    for line in Path(__file__).with_name("answer_cases").joinpath(f"{name}.txt").read_text().splitlines():
        if not line.startswith("#"):
            options, outcome, text = line.split(" ", 2)
            yield Case(OPTIONS[options], None if outcome in "-!" else outcome, text.replace("\\n", "\n"))


SEEN, HELD_OUT = list(cases_of("seen")), list(cases_of("held_out"))
CLEAR = [case for case in SEEN + HELD_OUT if case.outcome is not None]
OF_IMAGES = [case for case in SEEN + HELD_OUT if case.options == ("A", "B")]
OTHER = {"a": "b", "b": "a", "1": "2", "2": "1", "first": "second", "second": "first", "1st": "2nd", "2nd": "1st"}
OTHER |= {"left": "right", "right": "left", "one": "two", "two": "one", "former": "latter", "latter": "former"}


PLACE = r"(?:first|second(?! thought)|1st|2nd|left|right|former|latter)"
LETTER = r"(?-i:\b[AB]\b)|(?<=option )[ab]\b|(?<=answer )[ab]\b|(?<=answer is )[ab]\b|^[ab](?=\W*$)"
NAMED = re.compile(
    rf"{LETTER}|\b[12]\b|\b{PLACE}\b|(?<=picture )(?:one|two)\b|(?<=number )(?:one|two)\b|(?<=image )one", re.I
)


def swapped(text: str) -> str:
    """The text with the two images in each other's place: letters, numbers and places."""

    def other(match: re.Match[str]) -> str:
        word = OTHER[match[0].lower()]
        return word.upper() if match[0].isupper() else word.capitalize() if match[0].istitle() else word

    correct = re.sub(
        r"(the) right(?= one| choice| answer| image\.)|(is|isn't) right(?=[.,]| too)", r"\1\2 correct", text
    )
    return NAMED.sub(other, correct)


def read(case: Case) -> str | None:
    return read_answer(case.text, case.options, "tolerant")


def test_answers_read_as_a_person_reads_them() -> None:
    assert [(case, read(case)) for case in SEEN if read(case) != case.outcome] == []


def test_of_answers_that_no_rule_was_written_for_none_is_inverted_or_credited_and_95_percent_are_read() -> None:
    wrong = [case for case in HELD_OUT if read(case) not in (None, case.outcome)]
    clear = [case for case in HELD_OUT if case.outcome is not None]
    assert len(HELD_OUT) >= 200
    assert len(wrong) == 0
    assert sum(read(case) == case.outcome for case in clear) >= 0.95 * len(clear)


@pytest.mark.parametrize("denial", ["It is not true that {}", "I don't think that {}", "It is not the case that {}"])
def test_a_denied_answer_never_keeps_its_option(denial: str) -> None:
    sentences = [case._replace(text=re.split(r"(?<=[.!?])\s|[\n;,:]", case.text)[0]) for case in CLEAR]
    full = [case for case in sentences if re.fullmatch(r"(?!No\b)\w[^<\\]+ [^<\\]+ [^<\\]+", case.text)]
    clear = [case for case in full if read(case) == case.outcome]
    assert len(clear) > 250
    assert [case for case in clear if read(case._replace(text=denial.format(case.text))) == case.outcome] == []


def test_the_same_answer_about_swapped_images_reads_as_the_other_image() -> None:
    other = {"A": "B", "B": "A", None: None}
    changed = [(case, swapped(case.text)) for case in OF_IMAGES]
    assert [each for each in changed if read_answer(each[1], ("A", "B"), "tolerant") != other[read(each[0])]] == []


SUBJECTS = ("{}", "Option {}", "({})", "Image {}")
CHOICES = (
    "I would choose {0} over {1}.",
    "{0} is better than {1}.",
    "{1} is worse than {0}.",
    "{0}, not {1}",
    "I prefer {0} to {1}.",
    "{1} is incorrect, {0} is correct.",
    "Unlike {1}, {0} matches.",
    "Not {1} but {0}.",
    "{1} looks good. The answer is {0}.",
    "{1}. Wait, {0}.",
    "The answer is {0} because {1} shows no dog.",
)
NOTHING = ("{0} or {1}", "Maybe {0}.", "The answer is not {0}.", "Both {0} and {1} match.", "{0} is as good as {1}.")


@given(
    st.sampled_from(CHOICES),
    st.sampled_from(SUBJECTS),
    st.permutations(["A", "B"]),
    st.sampled_from(["", " \n", "**"]),
)
def test_comparisons_corrections_and_reasons_choose_their_option(
    choice: str, subject: str, letters: list[str], around: str
) -> None:
    text = around + choice.format(*(subject.format(letter) for letter in letters)) + around
    assert read_answer(text, ("A", "B"), "tolerant") == letters[0]


@given(st.sampled_from(NOTHING), st.sampled_from(SUBJECTS), st.permutations(["A", "B"]))
def test_doubt_denial_and_both_choose_nothing(said: str, subject: str, letters: list[str]) -> None:
    text = said.format(*(subject.format(letter) for letter in letters))
    assert read_answer(text, ("A", "B"), "tolerant") is None


@given(st.lists(st.sampled_from([*"AB.,:?!\n()", "not", "true", "image 1", "over", "answer is", "wait", "because"])))
def test_any_mixture_of_words_is_read_in_the_same_way_with_the_letters_swapped(words: list[str]) -> None:
    text = " ".join(words)
    other = {"A": "B", "B": "A", None: None}[read_answer(text, ("A", "B"), "tolerant")]
    mirrored = " ".join({"A": "B", "B": "A", "image 1": "image 2"}.get(word, word) for word in words)
    assert read_answer(mirrored, ("A", "B"), "tolerant") == other
