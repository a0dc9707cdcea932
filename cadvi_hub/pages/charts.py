"""Charts as static SVG, drawn by matplotlib. A page shows them as pictures, which run nothing and load nothing."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.columns import Column
from cadvi_hub.pages.scores import Cell, ScoreTable, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_POINTS = 200  # of a loss curve; longer ones are averaged
MAX_LABEL = 17  # characters of a model's name in a chart
# Colours that people with any colour vision can tell apart; a ninth series takes the first one again, dashed.
COLOURS = ("#6b7280", "#0072b2", "#c2410c", "#00856a", "#a0438c", "#8a6d00", "#2f9bd8", "#333333")
# Text stays text, formulas in names are not typeset, and equal input gives equal bytes.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cadvi",
    "text.parse_math": False,
    "path.simplify": False,
    "font.size": 9,
    "axes.edgecolor": "#dcdcd6",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dcdcd6",
    "xtick.color": "#5c6470",
    "ytick.color": "#1f2328",
}

Point = tuple[float, float]


class Chart(NamedTuple):
    """A picture in the page: heading, address (the SVG itself), size in pixels, the values as text, and a legend."""

    title: str
    url: str
    width: int
    height: int
    values: str
    legend: Sequence[str] = ()


def bar_charts(table: ScoreTable) -> list[Chart]:
    """A chart per column that any model has a score in: bars, their 95 % intervals, and the score of guessing.

    Raises:
        InputError: matplotlib is not installed.
    """
    found = []
    for place, column in enumerate(table.columns):
        cells = {model: cell for model, row in table.rows.items() if (cell := row[place])}
        if cells:
            numbers = [number for number, row in enumerate(table.rows.values()) if row[place]]
            found.append(_bars(column, cells, numbers, table.sizes[place]))
    return found


def _bars(column: Column, cells: Mapping[str, Cell], numbers: Sequence[int], size: str) -> Chart:
    scale = 100 if column.top <= 1 else 1
    title, texts = f"{column.title} {column.unit}, n {size}", [column.text(cell.value) for cell in cells.values()]
    values = ", ".join(f"{name} {text}" for name, text in zip(cells, texts, strict=True))
    places, height = list(range(len(cells))), 0.27 * len(cells) + 0.27
    with _figure(3.6, height) as figure:
        axes = figure.add_axes((0.37, 0.22 / height, 0.48, 1 - 0.27 / height))
        axes.set_xlim(scale * column.low, scale * column.top)
        axes.set_xticks([scale * x for x in (column.low, (column.low + column.top) / 2, column.top)])
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.set_yticks(places, [label(name, MAX_LABEL) for name in cells])
        axes.grid(visible=False, axis="y")
        axes.tick_params(length=0)
        for place, number, text, cell in zip(places, numbers, texts, cells.values(), strict=True):
            (bar,) = axes.barh(place, scale * cell.value, 0.6, color=COLOURS[number % len(COLOURS)], alpha=0.5)
            bar.set_gid(f"bar-{place}")
            low, high = cell.interval or (cell.value, cell.value)
            (whisker,) = axes.plot([scale * low, scale * high], [place, place], "|-", color="#1f2328", linewidth=1.2)
            whisker.set_gid(f"interval-{place}")
            axes.text(1.32, place, text, transform=axes.get_yaxis_transform(), ha="right", va="center")
        if column.chance is not None:
            axes.axvline(scale * column.chance, color="#5c6470", linestyle="--", linewidth=1.2, gid="chance")
        return Chart(title, _url(figure, title, values), *_pixels(figure), values)


def loss_chart(trainings: Mapping[str, Mapping[str, Any]], colours: Mapping[str, int]) -> Chart | None:
    """The loss over optimizer steps of all trainings that logged any; None if none did.

    Args:
        trainings: name → `training.json`.
        colours: name → number of its colour; a training of another name takes the next free one.

    Raises:
        InputError: matplotlib is not installed.
    """
    curves = {name: points for name, log in trainings.items() if (points := list(_loss(log)))}
    if not curves:
        return None
    numbers = {**colours}
    legend = [f"{name}: {_summary(trainings[name], points)}" for name, points in curves.items()]
    with _figure(7.2, 3.2) as figure:
        axes = figure.add_axes((0.08, 0.15, 0.89, 0.8))
        for place, (name, points) in enumerate(curves.items()):
            number = numbers.setdefault(name, len(numbers))
            style = "--" if number >= len(COLOURS) else "-"
            axes.plot(
                [step for step, _ in points],
                [max(loss, 0.0) for _, loss in points],
                style,
                color=COLOURS[number % len(COLOURS)],
                gid=f"curve-{place}",
                label=f" {label(name, MAX_LABEL)}",  # matplotlib leaves out a name that begins with "_"
            )
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("optimizer steps")
        axes.set_ylabel("loss")
        axes.legend()
        values = "; ".join(legend)
        return Chart("Loss", _url(figure, "Loss over training steps", values), *_pixels(figure), values, legend)


def curve_chart(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    x_title: str,
    names: Sequence[str] = (),
) -> Chart:
    """Scores in percent with their intervals, one line per series.

    Args:
        title: of the chart.
        series: name → points (x, score, lower and upper end of its interval).
        x_title: what x is.
        names: names of x = 0, 1, …, where x is not a number.

    Raises:
        InputError: matplotlib is not installed.
    """
    legend = [
        f"{name}: " + ", ".join(f"{names[int(x)] if names else f'{x:g}'} {score:.1f}" for x, score, *_ in points)
        for name, points in series.items()
    ]
    with _figure(7.2, 3.2) as figure:
        axes = figure.add_axes((0.08, 0.15, 0.89, 0.8))
        for number, (name, points) in enumerate(series.items(), 1):
            places = [point[0] for point in points]
            ends = [[score - low for _, score, low, _ in points], [high - score for _, score, _, high in points]]
            heights, color = [point[1] for point in points], COLOURS[number % len(COLOURS)]
            axes.errorbar(places, heights, yerr=ends, fmt="o-", capsize=3, color=color, label=name)
        if names:
            axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 100)
        axes.set_xlabel(x_title)
        axes.set_ylabel("% right")
        axes.legend()
        values = "; ".join(legend)
        return Chart(title, _url(figure, title, values), *_pixels(figure), values, legend)


def _loss(log: Mapping[str, Any]) -> Iterator[Point]:
    """(step, loss), in at most `MAX_POINTS` points; a loss that is not a finite number is left out."""
    points = [(entry["step"], entry["loss"]) for entry in log.get("curve", []) if math.isfinite(entry["loss"])]
    size = math.ceil(len(points) / MAX_POINTS)
    for start in range(0, len(points), size or 1):
        bin_ = points[start : start + size]
        yield bin_[-1][0], sum(loss for _, loss in bin_) / len(bin_)


def _summary(log: Mapping[str, Any], points: Sequence[Point]) -> str:
    rows, seconds = sum(log.get("rows", {}).values()), log.get("wall_seconds", 0)
    said = [f"loss {points[0][1]:.2f} → {points[-1][1]:.2f}", f"{log.get('steps', points[-1][0])} steps"]
    said += [f"{rows:,} rows"] * bool(rows) + [f"{seconds / 60:.1f} min"] * bool(seconds)
    return ", ".join(said)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A white figure of that size in inches; the user's own matplotlib settings do not change it."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        hint = 'Run `pip install "cadvi-hub[eval]"`; results.json and report.md are written without it'
        raise InputError("matplotlib", "it is not installed, and the page's charts need it", hint) from error
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph")  # the browser draws texts with its own fonts
        yield Figure((width, height), facecolor="white")


def _url(figure: Figure, title: str, values: str) -> str:
    """The drawn figure as an address, with title and description for screen readers."""
    drawn = io.BytesIO()
    texts = {"Title": _printable(title), "Description": _printable(values)}
    figure.savefig(
        drawn, format="svg", metadata={**texts, "Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.getvalue()).decode()}"


def _pixels(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches()
    return round(96 * width), round(96 * height)


def _printable(text: str) -> str:
    return label(text, len(text) + 1)
