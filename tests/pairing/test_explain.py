"""`cadvi pairs explain`: what each rule removed, from a folder that was built."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.pairing.explain import ENDS_WITHOUT_COUNT, IMAGES, OTHER_LANGUAGE, STEPS, advise, explain
from cadvi_hub.pairing.pairs import mine_pairs
from cadvi_hub.pairing.settings import ExplainSettings, PairSettings
from tests.support.builds import FakeAnnotator, captioned_source, similar_source


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BuildSettings:
    folder = tmp_path_factory.mktemp("explain")
    return BuildSettings("v1", captioned_source(folder / "source"), folder / "out", pairs=PairSettings(min_shared=1))


@pytest.fixture(scope="module")
def built(settings: BuildSettings) -> Path:
    return build(replace(settings, max_rows=3), FakeAnnotator(drop=("0.png|1.png", "1.png|0.png")))


@pytest.fixture
def report(built: Path, tmp_path: Path) -> tuple[dict[str, Any], Callable[[dict[str, Any]], str]]:
    """The report of a build, and a function that explains a changed one."""

    def explained(changed: dict[str, Any]) -> str:
        (tmp_path / "build.json").write_text(json.dumps(changed))
        return explain(ExplainSettings(tmp_path))

    return json.loads((built / "build.json").read_text()), explained


def numbers(text: str) -> list[tuple[str, int, str]]:
    found = re.findall(r"^([ −=]) +([\d,]+)  (.*)$", text, re.MULTILINE)
    return [(sign, int(number.replace(",", "")), label) for sign, number, label in found]


def test_every_step_adds_up_from_the_source_to_the_rows(built: Any) -> None:
    blocks = explain(ExplainSettings(built)).split("\n\n")
    assert numbers(blocks[0]) == [
        (" ", 6, "records of the source"),
        ("−", 1, "dropped when read"),
        ("=", 5, "captions"),
    ]
    for block in blocks[:5]:
        (_, start, _), *removed, (_, left, _) = numbers(block)
        assert start - sum(number for _, number, _ in removed) == left
    starts, ends = ([numbers(block)[place] for block in blocks[:5]] for place in (0, -1))
    assert ends[0][1:] == starts[1][1:] == (5, "captions")
    assert ends[2][1:] == starts[3][1:]
    assert ends[3][1:] == starts[4][1:] == (4, "pairs")
    assert numbers(blocks[4])[1] == ("−", 1, "beyond max_rows (3)")
    assert ends[4][2] == "rows"


def test_each_rule_is_shown_with_its_setting(built: Any) -> None:
    labels = [label for _, _, label in numbers(explain(ExplainSettings(built)))]
    assert "captions left out by posting_cap (posting_cap 200)" in labels
    assert "candidates with too few shared nouns (min_shared 1)" in labels


def test_steps_name_every_count_of_the_mining() -> None:
    named = {name for start, rules, end in (*STEPS, IMAGES) for name in (start, *rules, end)} - ENDS_WITHOUT_COUNT
    assert named == set(mine_pairs([], [], PairSettings()).counts)


def test_drops_are_listed_by_reason_most_first(report: Any) -> None:
    content, explained = report
    content["drops"]["too_short"] = {"count": content["drops"].get("too_short", {"count": 0})["count"], "first": []}
    text = explained(content)
    listed = text[text.index("dropped, by reason") :].split("\n\n")[0]
    counts = [int(line.split()[0]) for line in listed.splitlines()[1:]]
    assert "empty caption" in listed
    assert counts == sorted(counts, reverse=True)


def test_the_histogram_has_a_bar_for_every_number_even_a_rare_or_missing_one(report: Any) -> None:
    content, explained = report
    content["statistics"]["rows_with_shared_nouns"] = {"2": 100_000, "4": 1, "5": 50_000}
    bars = explained(content).split("pairs by shared nouns\n")[1].splitlines()
    assert [bar.split() for bar in bars] == [
        ["2", "100,000", "█" * 40],
        ["3", "0"],
        ["4", "1", "▏"],
        ["5", "50,000", "█" * 20],
    ]


def test_numbers_that_do_not_add_up_are_not_explained_away(report: Any) -> None:
    content, explained = report
    content["pair_counts"]["pairs"] += 1
    with pytest.raises(InputError, match="pairs should be left"):
        explained(content)


def test_a_report_without_a_needed_count_is_refused_by_its_name(report: Any) -> None:
    content, explained = report
    del content["pair_counts"]["caption pairs found"]
    with pytest.raises(InputError, match=r"build.json.*caption pairs found.*Build the data set again"):
        explained(content)


def test_a_folder_without_mined_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no build"):
        explain(ExplainSettings(tmp_path))
    (tmp_path / "_work").mkdir()
    with pytest.raises(InputError, match="not finished"):
        explain(ExplainSettings(tmp_path))
    (tmp_path / "build.json").write_text("[1")
    with pytest.raises(InputError, match="it is not JSON"):
        explain(ExplainSettings(tmp_path))
    similar = build(BuildSettings("v2", similar_source(tmp_path / "similar"), tmp_path / "out"), FakeAnnotator())
    with pytest.raises(InputError, match="no pairs were mined"):
        explain(ExplainSettings(similar))


def test_few_pairs_come_with_the_settings_that_would_give_more() -> None:
    images = [CaptionedImage(str(k), f"{k}.jpg", f"caption {k}", "test") for k in range(9)]
    nouns = [("dog", f"n{k}") for k in range(9)]
    rules = PairSettings(min_shared=2)
    counts = mine_pairs(images, nouns, rules).counts
    advice = advise(counts, {}, asdict(rules))
    assert advice == "9 of 9 images have no pair; --pairs.min_shared 1 also pairs captions that share 1 noun"
    enough = PairSettings(min_shared=1)
    assert advise(mine_pairs(images, nouns, enough).counts, {}, asdict(enough)) == ""


def test_captions_in_another_language_lead_to_a_model_for_it() -> None:
    drops = {f"{OTHER_LANGUAGE} (de)": {"count": 3, "first": []}}
    advice = advise(mine_pairs([], [], PairSettings()).counts, drops, asdict(PairSettings()))
    assert "3 captions are in another language" in advice
    assert "--pairs.spacy_model names a model of spaCy for your language" in advice
