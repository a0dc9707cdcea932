"""What is rendered is read back, and so is what LLMs write instead of the layout that they were asked for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.core.non_answers import is_filler
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.core.summaries import (
    normalize,
    parse_summary,
    parse_summary_json,
    render_summary,
    summary_json_schema,
)

DOGS = CadSummary(
    "Both images show a dog on grass.",
    (
        Difference(Aspect.OBJECT_TYPES, "Image 1 shows a ball. Image 2 shows a stick."),
        Difference(Aspect.COUNTS, "One dog in Image 1, two in Image 2."),
        Difference(Aspect.RELATIVE_POSITIONS, "The dog is left of the ball in Image 1."),
    ),
)

normalised_texts = st.text(max_size=60).map(normalize).filter(lambda text: not is_filler(text))
summaries = st.builds(
    lambda commonalities, texts: CadSummary(
        commonalities, tuple(Difference(aspect, texts[aspect]) for aspect in Aspect if aspect in texts)
    ),
    normalised_texts,
    st.dictionaries(st.sampled_from(list(Aspect)), normalised_texts, min_size=1),
)


@given(summaries)
def test_parsing_inverts_rendering(summary: CadSummary) -> None:
    assert parse_summary(render_summary(summary)) == summary


@given(st.text())
def test_normalising_twice_changes_nothing_and_leaves_one_line(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert len(once.splitlines()) <= 1


@given(st.text(alphabet=st.sampled_from("Commonalities:Differ\n123.-*# Counts Image"), max_size=200))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    try:
        summary = parse_summary(text)
    except ValueError:
        return
    assert summary.commonalities
    assert summary.differences


def test_the_layout_is_the_papers() -> None:
    assert render_summary(DOGS) == (
        "Commonalities:\nBoth images show a dog on grass.\n\n"
        "Differences:\n"
        "1. Object types: Image 1 shows a ball. Image 2 shows a stick.\n"
        "2. Counts: One dog in Image 1, two in Image 2.\n"
        "3. Relative positions: The dog is left of the ball in Image 1."
    )


def test_aspects_are_rendered_in_order_and_empty_ones_left_out() -> None:
    shuffled = CadSummary(DOGS.commonalities, (*DOGS.differences[::-1], Difference(Aspect.ACTIONS, "")))
    assert render_summary(shuffled) == render_summary(DOGS)


BOLD = """Sure! Here is the summary you asked for.

**Commonalities:** Both images show
a dog on grass.

**Differences:**

1. **Object types:** Image 1 shows a ball. Image 2 shows a stick.
2. **Counts**: One dog in Image 1, two in Image 2.
3. **Relative positions:** The dog is left of the ball in Image 1.

Overall, the images are alike.
"""
MARKDOWN = """### COMMONALITIES
- Both images show a dog on grass.

### Key Differences between the two images
* Object type:
    - Image 1 shows a ball
    - Image 2 shows a stick.
* count - One dog in Image 1, two in Image 2.
* Relative position: The dog is left of the ball in Image 1.
"""
SUBLISTS = """Similarities:
Both images show a dog on grass.
Differences
(1) Objects

Image 1 shows a ball.
Image 2 shows a stick.
(2) Actions: None.
(3) Quantity:
One dog in Image 1, two in Image 2.
(4) Spatial relations: The dog is left of the ball in Image 1.
"""
ONE_LINE = (
    "Commonalities: Both images show a dog on grass. Differences: 1. Object types: Image 1 shows a ball. Image 2 "
    "shows a stick. 2. Counts: One dog in Image 1, two in Image 2. 3. Positions: The dog is left of "
    "the ball in Image 1."
)
DIFFERENCES_FIRST = """Differences:
Counts: One dog in Image 1, two in Image 2.
Relative positions: The dog is left of the ball in Image 1.
Object types: Image 1 shows a ball.
Object types: Image 2 shows a stick.
Commonalities:
Both images show a dog on grass.
"""
BOLD_WHOLE_LINES = """**1. Commonalities:**
Both images show a dog on grass.

**2. Differences:**

**1. Types of objects:**
Image 1 shows a ball. Image 2 shows a stick.

**2. Number of objects:**
One dog in Image 1, two in Image 2.

**3. Relative Position of the objects**: The dog is left of the ball in Image 1.
"""
ITALIC = """*Commonalities:*
1. Both images show a dog on grass.

*Differences:*
1. *Objects:* Image 1 shows a ball. Image 2 shows a stick.
2. __Counts__: One dog in Image 1, two in Image 2.
- *Spatial relationships*: The dog is left of the ball in Image 1.
"""
NUMBERED_SECTIONS = """1. Commonalities:
- Both images show a dog on grass.

2. Differences:
a. Objects (types): Image 1 shows a ball. Image 2 shows a stick.
b) Counts/Quantities: One dog in Image 1, two in Image 2.
c) Spatial positions and relations: The dog is left of the ball in Image 1.
"""
FENCED_JSON = """```json
{"commonalities": "Both images show a dog on grass.", "differences": [
  {"aspect": "Objects", "text": "Image 1 shows a ball. Image 2 shows a stick."},
  {"aspect": "counts", "text": "One dog in Image 1, two in Image 2."},
  {"aspect": "Relative Positions", "text": "The dog is left of the ball in Image 1."}]}
```"""
WORDY_HEADINGS = """Commonalities in the two images:
Both images show a dog on grass.

Differences in the two images:
1. Difference in object types: Image 1 shows a ball. Image 2 shows a stick.
2. Object counts: One dog in Image 1, two in Image 2.
3. Object positions: The dog is left of the ball in Image 1.
"""
LAYOUTS = [
    BOLD, MARKDOWN, SUBLISTS, ONE_LINE, DIFFERENCES_FIRST, BOLD_WHOLE_LINES, ITALIC, NUMBERED_SECTIONS, FENCED_JSON,
    WORDY_HEADINGS,
]  # fmt: skip


@pytest.mark.parametrize("text", LAYOUTS)
def test_what_llms_write_is_read(text: str) -> None:
    assert parse_summary(text) == DOGS


def test_lists_per_image_become_running_text() -> None:
    text = (
        "### Commonalities\n1. Both show a dog.\n2. Both have grass.\n\n### Differences\n\n#### Object types\n"
        "- **Image 1:** a ball\n- **Image 2:** a stick\n\n"
        "**Attributes (colour, size)**:\nImage 1: brown\nImage 2: black\n"
    )
    assert parse_summary(text) == CadSummary(
        "Both show a dog. Both have grass.",
        (
            Difference(Aspect.OBJECT_TYPES, "Image 1: a ball. Image 2: a stick"),
            Difference(Aspect.ATTRIBUTES, "Image 1: brown. Image 2: black"),
        ),
    )


def test_a_difference_said_twice_is_read_once() -> None:
    twice = render_summary(DOGS) + "\n4. Counts: " + DOGS.differences[1].text
    assert parse_summary(twice) == DOGS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no section headings"),
        ("Both images show a dog.", "no section headings"),
        ("Commonalities:\nBoth show a dog.", "no differences"),
        ("Commonalities:\nBoth show a dog.\n\nDifferences:\nNone", "no differences"),
        ("Commonalities:\nBoth show a dog.\n\nDifferences:\n1. Counts: N/A", "no differences"),
        (
            "Commonalities:\nDogs.\n\nDifferences:\n| Aspect | 1 | 2 |\n|---|---|---|\n| Counts | 1 | 2 |",
            "table of another form",
        ),
        ("Differences:\n1. Counts: one and two", "no commonalities"),
        ("Commonalities:\nNone.\n\nDifferences:\n1. Counts: one and two", "no commonalities"),
        ("Commonalities:\nDogs.\n\nDifferences:\n1. Counts: 1, 2\n2. Style: a photo and a drawing", "no known aspect"),
        ("Commonalities:\nDogs.\nDifferences:\nCounts: 1, 2\nCommonalities:\nCats.", "two Commonalities sections"),
    ],
)
def test_what_cannot_be_read_raises_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_summary(text)


@given(summaries)
def test_json_is_read_back(summary: CadSummary) -> None:
    differences = [{"aspect": difference.aspect, "text": difference.text} for difference in summary.differences]
    text = json.dumps({"commonalities": summary.commonalities, "differences": differences})
    assert parse_summary_json(text) == summary


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "another form"),
        ('{"commonalities": "x"}', "another form"),
        ('{"commonalities": "x", "differences": [{"aspect": "Style", "text": "y"}]}', "Style"),
        ('{"commonalities": "", "differences": [{"aspect": "Counts", "text": "y"}]}', "no commonalities"),
        ('{"commonalities": "x", "differences": []}', "no differences"),
    ],
)
def test_json_of_another_form_raises(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_summary_json(text)


def test_the_json_schema_bounds_every_string_and_knows_the_six_aspects() -> None:
    schema = summary_json_schema(max_commonalities=10, max_difference=20)
    items = schema["properties"]["differences"]["items"]["properties"]
    assert schema["properties"]["commonalities"]["maxLength"] == 10
    assert items["text"]["maxLength"] == 20
    assert items["aspect"]["enum"] == list(Aspect)
