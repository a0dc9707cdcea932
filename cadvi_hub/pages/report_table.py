"""Scores of several models, column by column, and the tables that a terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cadvi_hub.pages.report_columns import Column, Results, has, has_any, notes, tables

MAX_NAME = 22  # characters; with seven columns of 14 a line has 120
CELL, COLUMNS_IN_A_LINE = 14, 7
PAPER_NOTE = "The paper's models on the paper's questions (arXiv 2406.09240, Table 1):"


class Cell(NamedTuple):
    """A score, its 95 % interval, how many answers or groups it counts, and whether none is higher."""

    value: float
    interval: tuple[float, float] | None
    n: int
    best: bool


def cells(results: Results, columns: Sequence[Column], best: bool = True) -> dict[str, list[Cell | None]]:
    """Model → a cell per column, None where the model was not asked."""
    highest = [
        max((tasks[column.task][column.metric] for tasks in results.values() if has(tasks, column)), default=None)
        for column in columns
    ]
    return {
        model: [
            _cell(tasks[column.task], column, top if best else None) if has(tasks, column) else None
            for column, top in zip(columns, highest, strict=True)
        ]
        for model, tasks in results.items()
    }


def _cell(scores: Mapping[str, Any], column: Column, highest: float | None) -> Cell:
    value, interval = scores[column.metric], scores.get(f"{column.metric}_interval")
    n = scores.get(f"{column.metric}_n", scores["n"])
    return Cell(value, (interval[0], interval[1]) if interval else None, n, value == highest)


def sizes(column: Sequence[Cell | None]) -> str:
    """How many answers or groups a column counts; the smallest and largest number where the models differ."""
    counts = sorted({cell.n for cell in column if cell})
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "–"


def format_tables(results: Results, paper: Results | None = None) -> str:
    """The main tables as plain text of at most 120 columns: a row per model, % with the 95 % interval in whole %.

    Args:
        results: of the models.
        paper: the paper's numbers, which stand apart below the first table.
    """
    lines: list[str] = []
    for table in tables(results):
        for start in range(0, len(table.columns) if table.main else 0, COLUMNS_IN_A_LINE):
            columns = table.columns[start : start + COLUMNS_IN_A_LINE]
            lines += [*(["", table.title] if lines else []), *_lines(results, columns)]
            theirs = [column for column in columns if paper and has_any(paper, column)]
            if paper and theirs and table.title == "Scores":
                lines += ["", PAPER_NOTE, *_lines(paper, theirs)]
    return "\n".join([*lines, "", *notes(results)]).rstrip()


def _lines(results: Results, columns: Sequence[Column]) -> Iterator[str]:
    rows = cells(results, columns)
    width = min(MAX_NAME, max(map(len, [*rows, "% [95 % interval]"])))
    any_chance = any(column.chance is not None for column in columns)
    lines: list[tuple[str, list[str]]] = [
        ("", [column.title for column in columns]),
        ("", [column.unit for column in columns]),
        ("% [95 % interval]", [f"n {sizes(column)}" for column in zip(*rows.values(), strict=True)]),
        *([("chance", [column.text(column.chance) for column in columns])] if any_chance else []),
        *((model, list(map(_text, row, columns))) for model, row in rows.items()),
    ]
    for name, texts in lines:
        name = "".join(filter(str.isprintable, name))
        name = name if len(name) <= width else name[: width - 1] + "…"
        yield (f"{name:<{width}}" + "".join(f" {text:<{CELL - 1}}" for text in texts)).rstrip()


def _text(cell: Cell | None, column: Column) -> str:
    """Score and interval in at most 13 characters."""
    if cell is None:
        return "–"
    if column.top > 1:
        digits, sign, joined, scale = (1, 1), "", "–", 1
    elif column.low < 0:
        digits, sign, joined, scale = (0, 0), "+", ", ", 100
    else:
        digits, sign, joined, scale = (1, 0), "", "–", 100
    value = f"{scale * cell.value:{sign}.{digits[0]}f}".replace("100.0", "100")
    ends = joined.join(f"{scale * end:{sign}.{digits[1]}f}" for end in cell.interval or ())
    return f"{value} [{ends}]" if ends else value
