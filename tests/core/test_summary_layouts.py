"""A reply is read completely or not at all, in whatever layout a model writes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.core.summaries import parse_summary, parse_summary_json
from cadvi_hub.core.summary_layouts import aspect_by_rule

SAME = "Both images show a goat on a hill."
COLOUR = Difference(Aspect.ATTRIBUTES, "The goat is grey in Image 1 and white in Image 2.")
NUMBER = Difference(Aspect.COUNTS, "Image 2 has three fences.")
GOATS = CadSummary(SAME, (COLOUR, NUMBER))
HEAD = f"Commonalities:\n{SAME}\n\nDifferences:\n"
BODY = f"1. Attributes: {COLOUR.text}\n2. Counts: {NUMBER.text}"

LAYOUTS = {
    "sections that name the images": f"Commonalities between Image 1 and Image 2:\n{SAME}\n\n"
    f"Differences between Image 1 and Image 2:\n{BODY}",
    "summary headings": f"**Summary of Commonalities:**\n{SAME}\n\n**Summary of Differences:**\n{BODY}",
    "other names": f"Commonalities:\n{SAME}\n\nDifferences:\n1. **Colors and Appearance:** {COLOUR.text}\n"
    f"2. **Number of Objects:** {NUMBER.text}",
    "emoji": f"🔍 **Commonalities:**\n{SAME}\n\n🔄 **Differences:**\n{BODY}",
    "full-width colons": f"{HEAD}{BODY}".replace(": ", "：").replace(":\n", "：\n"),
    "spaces that do not break": f"Commonalities:\n{SAME}\n\nDifferences:\n{BODY}".replace("1. ", "1.\u00a0"),
    "HTML": f"<b>Commonalities:</b><br>{SAME}<br/><br><b>Differences:</b><br>1. <b>Attributes</b>: {COLOUR.text}<br>"
    f"2. Counts: {NUMBER.text}",
    "an introduction and rules": f"Commonalities:\n{SAME}\n\n---\n\nDifferences:\nThey differ as follows:\n\n{BODY}",
    "a closing remark": f"Commonalities:\n{SAME}\n\nDifferences:\n{BODY}\n\nLet me know if you need more.",
    "a table": f"### Commonalities\n{SAME}\n\n### Differences\n\n| Aspect | Difference |\n|---|---|\n"
    f"| **Attributes** | {COLOUR.text} |\n| Counts | {NUMBER.text} |",
    "a table after a list": f"### Commonalities\n{SAME}\n\n### Differences\n1. Attributes: {COLOUR.text}\n\n"
    f"| Aspect | Difference |\n|---|---|\n| Counts | {NUMBER.text} |",
    "JSON after a preamble": "Here it is:\n\n```json\n"
    + json.dumps(
        {
            "commonalities": SAME,
            "differences": [{"aspect": str(each.aspect), "text": each.text} for each in GOATS.differences],
        }
    )
    + "\n```\nTell me if you need more!",
    "a JSON object of aspects": json.dumps(
        {"Commonalities": [SAME], "Differences": {"Attributes": COLOUR.text, "Counts": [NUMBER.text]}}
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_read(layout: str) -> None:
    assert parse_summary(LAYOUTS[layout]) == GOATS


def test_a_second_paragraph_belongs_to_its_aspect_and_loses_no_later_one() -> None:
    text = f"{HEAD}1. Attributes: It is grey.\n\nThe other is white.\n\n2. Counts: {NUMBER.text}"
    assert parse_summary(text).differences == (
        Difference(Aspect.ATTRIBUTES, "It is grey. The other is white."),
        NUMBER,
    )


def test_a_last_paragraph_is_kept_unless_it_is_a_remark() -> None:
    text = f"Commonalities:\n{SAME}\n\nDifferences:\n1. Attributes: It is grey.\n\nThe other is white."
    assert parse_summary(text).differences[0].text == "It is grey. The other is white."
    assert (
        parse_summary(f"{text}\n\nOverall, they are alike.").differences[0].text == "It is grey. The other is white."
    )


def test_differences_grouped_by_image_keep_their_image() -> None:
    text = (
        f"{HEAD}\n### Image 1:\n- **Attributes:** a grey goat\n- **Counts:** one fence\n\n"
        "### Second image\n- **Attributes:** a white goat\n- **Counts:** None\n"
    )
    assert parse_summary(text).differences == (
        Difference(Aspect.ATTRIBUTES, "Image 1: a grey goat. Image 2: a white goat"),
        Difference(Aspect.COUNTS, "Image 1: one fence"),
    )


def test_tables_and_objects_per_image_keep_their_image() -> None:
    table = f"{HEAD}| Aspect | Image 1 | Image 2 |\n|---|---|---|\n| Attributes | grey | white |"
    one = Difference(Aspect.ATTRIBUTES, "Image 1: grey. Image 2: white")
    assert parse_summary(table).differences == (one,)
    sides = {"Image 1": {"Attributes": "grey."}, "Image 2": {"Attributes": "white"}}
    assert parse_summary_json(json.dumps({"commonalities": SAME, "differences": sides})).differences == (one,)


def test_numbered_differences_without_headings_keep_their_text_and_get_an_aspect() -> None:
    items = [
        "In the first image there are two goats, in the second one.",
        "The goat in the second image is white.",
        "The goat is left of the fence in the first image only.",
        "The first image shows a fence, the second a barn.",
    ]
    numbered = "\n".join(f"{k}. {item}" for k, item in enumerate(items, 1))
    found = parse_summary(f"Commonalities:\n{SAME}\n\nDifferences:\n{numbered}").differences
    assert {difference.aspect: difference.text for difference in found} == {
        Aspect.COUNTS: items[0],
        Aspect.ATTRIBUTES: items[1],
        Aspect.RELATIVE_POSITIONS: items[2],
        Aspect.OBJECT_TYPES: items[3],
    }
    assert aspect_by_rule("The dog is sleeping in one of them.") == Aspect.ACTIONS
    assert aspect_by_rule("One was taken outdoors.") == Aspect.LOCATIONS


@pytest.mark.parametrize(
    "differences",
    [
        "| Feature | Left | Right |\n|---|---|---|\n| Counts | one | two |",
        "| Aspect | Image 1 | Image 2 |\n|---|---|---|\n| Mood | calm | wild |",
        "| Aspect | Image 1 | Image 2 |\n|---|---|---|\n| Counts | one |",
        "1. Counts: one and two\n2. Mood: calm and wild",
    ],
)
def test_what_cannot_be_read_completely_is_not_read(differences: str) -> None:
    with pytest.raises(ValueError, match=r"another form|known aspect"):
        parse_summary(f"Commonalities:\n{SAME}\n\nDifferences:\n{differences}")


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "false", "1e999", '["a", true]', "[" * 3000 + "]" * 3000, '{"a": ' * 2000 + "1" + "}" * 2000],
)
def test_json_values_that_are_no_text_drop_the_reply(value: str) -> None:
    text = f'{{"commonalities": {value}, "differences": [{{"aspect": "Counts", "text": "One goat."}}]}}'
    with pytest.raises(ValueError, match="another form"):
        parse_summary(text)


def test_json_lists_and_objects_become_sentences() -> None:
    text = (
        '{"commonalities": ["A goat.", "A hill"], "differences": {"Counts": {"Image 1": 1, "Image 2": "two goats"}}}'
    )
    assert parse_summary(text) == CadSummary(
        "A goat. A hill.", (Difference(Aspect.COUNTS, "Image 1: 1. Image 2: two goats."),)
    )


def test_half_a_surrogate_pair_is_marked_and_ends_nothing() -> None:
    text = '{"commonalities": "A goat \\ud83d on a hill.", "differences": {"Counts": "One \\udc00 goat."}}'
    summary = parse_summary(text)
    assert summary.commonalities == "A goat \ufffd on a hill."
    assert summary.differences[0].text == "One \ufffd goat."


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    )
)
def test_any_json_is_read_or_raises_value_error(value: object) -> None:
    for whole in (
        value,
        {"commonalities": value, "differences": value},
        {"commonalities": "x", "differences": [value]},
    ):
        try:
            parse_summary_json(json.dumps(whole)).commonalities.encode()
        except ValueError:
            continue
