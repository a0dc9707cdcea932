"""Charts draw the numbers of the table, name every model, and nothing in a name becomes markup or a formula."""

import re
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.charts import Chart, bar_charts, loss_chart
from cadvi_hub.pages.report import collect
from cadvi_hub.pages.scores import score_tables
from tests.support.report_parts import HOSTILE, SVG, Page, page_of, reported

Point = tuple[float, float]
FORMULA = "$x^2$ and_more"


def svg(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(b64decode(chart.url.removeprefix(SVG)))  # noqa: S314  (it is ours)


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter() if each.tag.endswith("}text")]


def points(root: ElementTree.Element, name: str) -> list[Point]:
    """The corners of the path that is drawn for `name`; none if there is no such thing."""
    paths = root.findall(f".//*[@id='{name}']//{{*}}path") or root.findall(f".//{{*}}path[@id='{name}']")
    path = paths[0].get("d") or "" if paths else ""
    found = re.findall(r"[ML] ([\d.-]+) ([\d.-]+)", path)
    return [(float(x), float(y)) for x, y in found]


def horizontal(root: ElementTree.Element, name: str) -> tuple[float, float]:
    """Where `name` begins and ends."""
    xs = [x for x, _ in points(root, name)]
    return min(xs), max(xs)


def table(**accuracies: Any) -> Any:
    (first, *_) = score_tables({name: {"bison": {"n": 10, **metrics}} for name, metrics in accuracies.items()})
    return first


def test_every_model_has_its_bar_its_interval_and_its_value_and_chance_is_a_line() -> None:
    scores: dict[str, dict[str, Any]] = {
        "base": {"accuracy": 0.25, "accuracy_interval": [0.1, 0.4]},
        "v2": {"accuracy": 0.8, "accuracy_interval": [0.49, 0.94]},
        "v3": {"accuracy": 1.0},
    }
    (chart,) = bar_charts(table(**scores))
    assert (chart.title, chart.values) == ("bison accuracy, n 10", "base 25.0, v2 80.0, v3 100")
    root = svg(chart)
    assert {"base", "v2", "v3", "25.0", "80.0", "100", "0", "50"} <= set(texts(root))
    left, right = horizontal(root, "bar-2")  # from 0 to 100 %
    for number, metrics in enumerate(scores.values()):
        low, high = horizontal(root, f"bar-{number}")
        assert low == pytest.approx(left)
        assert (high - left) / (right - left) == pytest.approx(metrics["accuracy"], abs=1e-4)
        ends = metrics.get("accuracy_interval", [1.0, 1.0])
        drawn = [(x - left) / (right - left) for x in horizontal(root, f"interval-{number}")]
        assert drawn == pytest.approx(ends, abs=1e-4)
    assert [(x - left) / (right - left) for x in horizontal(root, "chance")] == pytest.approx([0.5, 0.5], abs=1e-4)


def test_a_bias_is_drawn_from_zero_to_its_side() -> None:
    bias = next(
        table
        for table in score_tables({"v1": {"bison": {"accuracy": 0.5, "position_bias": -0.5, "n": 10}}})
        if table.title == "Position bias"
    )
    (chart,) = bar_charts(bias)
    low, high = horizontal(svg(chart), "bar-0")
    (zero, _) = horizontal(svg(chart), "chance")
    assert low < high == pytest.approx(zero)
    assert "-50.0" in chart.values


def test_long_curves_are_averaged_and_infinite_losses_left_out() -> None:
    curve = [{"step": step, "loss": float("nan") if step == 5 else 1 + step % 2} for step in range(10, 100_010, 10)]
    chart = loss_chart({"v1": {"curve": curve}, "none": {"curve": []}}, {"v1": 3})
    assert chart is not None
    assert len(chart.legend) == 1
    assert chart.legend[0].startswith("v1: loss 1.00 → 1.00")
    root = svg(chart)
    width, height = (float(each) for each in (root.get("viewBox") or "").split()[2:])
    drawn = points(root, "curve-0")
    assert len(drawn) == 200
    assert all(0 < x < width and 0 < y < height for x, y in drawn)
    assert "#00856a" in ElementTree.tostring(root, "unicode")  # the fourth colour
    assert loss_chart({"v1": {}}, {}) is None


def test_names_stay_texts(tmp_path: Path) -> None:
    for name in (HOSTILE[:15], FORMULA, "\x1b[31m\ud83d", "_hidden"):
        for chart in (
            *bar_charts(table(**{name: {"accuracy": 0.5}})),
            loss_chart({name: {"curve": [{"step": 1, "loss": 2.0}]}}, {}),
        ):
            assert chart is not None
            root = svg(chart)  # it is well-formed
            shown = "".join(filter(str.isprintable, name))
            assert shown in [text.strip() for text in texts(root)]
            assert not [each for each in root.iter() if each.tag.endswith(("script", "foreignObject", "image"))]


def test_the_report_draws_its_tables_and_trainings_with_a_text_for_each(tmp_path: Path) -> None:
    settings = reported(tmp_path)
    settings.data = settings.questions = None
    charts = Page(page_of(settings)).charts()
    expected = {
        f"{chart.title}: {chart.values}"
        for table in score_tables(collect(settings))
        if table.main
        for chart in bar_charts(table)
    }
    assert len(expected) >= 2 * 6
    (loss,) = {alt for alt, _ in charts} - expected  # of one training; the other has no log
    assert loss.startswith("Loss: v2: loss 2.00 → 0.07, 30 steps, 90 rows")
    assert expected < {alt for alt, _ in charts}
    for _, root in charts:
        assert {"title", "desc"} & {each.tag.rpartition("}")[2] for each in root.iter()}


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"cadvi-hub\[eval\]"):
        bar_charts(table(v1={"accuracy": 0.5}))
