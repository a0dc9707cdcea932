"""Geometry of the page's charts, in the units of their SVG view boxes; `report_charts.jinja` draws them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cadvi_hub.pages.report_columns import Column
from cadvi_hub.pages.report_table import Cell, sizes

COLOURS = 8  # the style sheet's series colours; a ninth series takes the first one again, dashed
MAX_POINTS = 200  # of a loss curve; longer ones are averaged
Point = tuple[float, float]


class Bar(NamedTuple):
    """One score: name, number of its colour, y, where the bar starts, its width, x of the interval's ends, text."""

    name: str
    colour: int
    y: float
    start: float
    width: float
    low: float
    high: float
    text: str


class Panel(NamedTuple):
    """One metric's scores on an axis over all that it can be."""

    column: Column
    size: str
    bars: list[Bar]
    bottom: float
    ticks: list[tuple[float, str]]
    chance: float | None


class Curve(NamedTuple):
    """One training's loss: name, number of its colour, whether dashed, SVG points, and what the legend tells."""

    name: str
    colour: int
    dashed: bool
    points: str
    legend: str


class LossChart(NamedTuple):
    """Loss over optimizer steps."""

    curves: list[Curve]
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def panels(columns: Sequence[Column], table: Mapping[str, Sequence[Cell | None]]) -> list[Panel]:
    """A panel per column that any model has a score in; view box 360 wide, 26 high per model and 30 for the axis."""
    return [
        _panel(column, {name: row[place] for name, row in table.items()})
        for place, column in enumerate(columns)
        if any(row[place] for row in table.values())
    ]


def _panel(column: Column, scores: Mapping[str, Cell | None]) -> Panel:
    left, right = 132.0, 306.0

    def x(value: float) -> float:
        return round(left + (value - column.low) / (column.top - column.low) * (right - left), 1)

    bars: list[Bar] = []
    for number, (name, cell) in enumerate(scores.items()):
        if cell:
            low, high = cell.interval or (cell.value, cell.value)
            start, end = sorted((x(0), x(cell.value)))
            y = 16.0 + 26 * len(bars)
            text = column.text(cell.value)
            bars.append(Bar(name, number % COLOURS, y, start, round(end - start, 1), x(low), x(high), text))
    middle = (column.low + column.top) / 2
    scale = 100 if column.top <= 1 else 1
    return Panel(
        column=column,
        size=sizes(list(scores.values())),
        bars=bars,
        bottom=6.0 + 26 * len(bars),
        ticks=[(x(value), f"{scale * value:g}") for value in (column.low, middle, column.top)],
        chance=None if column.chance is None else x(column.chance),
    )


def loss_chart(trainings: Mapping[str, Mapping[str, Any]], colours: Mapping[str, int]) -> LossChart | None:
    """The loss of all trainings that logged any, in a view box of 720 × 300.

    Args:
        trainings: name → `training.json`.
        colours: name → number of its colour; a training of another name takes the next free one.
    """
    curves = {name: list(_loss(log)) for name, log in trainings.items()}
    drawn = {name: points for name, points in curves.items() if points}
    if not drawn:
        return None
    left, right, top, bottom = 52.0, 708.0, 12.0, 262.0
    last = max(points[-1][0] for points in drawn.values())
    highest = max(loss for points in drawn.values() for _, loss in points)
    x_ticks, y_ticks = _ticks(last), _ticks(highest)
    width, height = max(last, x_ticks[-1]), y_ticks[-1]

    def place(step: float, loss: float) -> Point:
        return (
            round(left + step / width * (right - left), 1),
            round(bottom - max(loss, 0.0) / height * (bottom - top), 1),
        )

    numbers = {**colours}
    lines = []
    for name, points in drawn.items():
        number = numbers.setdefault(name, len(numbers))
        spots = " ".join("{},{}".format(*place(*point)) for point in points)
        dashed = number >= COLOURS
        lines.append(Curve(name, number % COLOURS, dashed, spots, _legend(trainings[name], points)))
    return LossChart(
        curves=lines,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=[(place(tick, 0)[0], f"{tick:g}") for tick in x_ticks if tick <= width],
        y_ticks=[(place(0, tick)[1], f"{tick:g}") for tick in y_ticks],
    )


def _loss(log: Mapping[str, Any]) -> Iterator[Point]:
    """(step, loss), in at most `MAX_POINTS` points; a loss that is no finite number has no place in a chart."""
    points = [(entry["step"], entry["loss"]) for entry in log.get("curve", []) if math.isfinite(entry["loss"])]
    size = math.ceil(len(points) / MAX_POINTS)
    for start in range(0, len(points), size or 1):
        bin_ = points[start : start + size]
        yield bin_[-1][0], sum(loss for _, loss in bin_) / len(bin_)


def _legend(log: Mapping[str, Any], points: Sequence[Point]) -> str:
    rows, seconds = sum(log.get("rows", {}).values()), log.get("wall_seconds", 0)
    told = [f"loss {points[0][1]:.2f} → {points[-1][1]:.2f}", f"{log.get('steps', points[-1][0])} steps"]
    told += [f"{rows:,} rows"] * bool(rows) + [f"{seconds / 60:.1f} min"] * bool(seconds)
    return ", ".join(told)


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 up to the first one that is not below `highest`."""
    rough = max(highest, 1e-6) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * number for number in range(math.ceil(round(highest / step, 6)) + 1)]
