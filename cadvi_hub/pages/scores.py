"""Tables of several models' scores, as the terminal, Markdown and the pages show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cadvi_hub.pages.columns import Column, Results, Table, has, notes, tables

MAX_NAME = 22  # characters; with seven columns of 14 a line has 120
CELL, COLUMNS_IN_A_LINE = 14, 7
PAPER_NOTE = "The paper's models on the paper's questions (arXiv 2406.09240, Table 1):"


class Cell(NamedTuple):
    """A score, its 95 % interval, how many answers or groups it counts, and whether none is higher."""

    value: float
    interval: tuple[float, float] | None
    n: int
    best: bool


class ScoreTable(NamedTuple):
    """A table with the cells of its columns: model → a cell per column, None if the model was not asked.

    `paper` has the paper's own models in the same columns.
    """

    title: str
    about: str
    columns: Sequence[Column]
    rows: Mapping[str, Sequence[Cell | None]]
    main: bool
    paper: ScoreTable | None = None

    @property
    def sizes(self) -> list[str]:
        """How many answers or groups each column counts; the smallest and largest number if the models differ."""
        return [_size(column) for column in zip(*self.rows.values(), strict=True)]

    @property
    def any_chance(self) -> bool:
        """Whether the score of guessing is known for any column."""
        return any(column.chance is not None for column in self.columns)

    def part(self, places: Sequence[int]) -> ScoreTable:
        """The table of the columns at `places`."""
        rows = {model: [row[place] for place in places] for model, row in self.rows.items()}
        columns, paper = [self.columns[place] for place in places], self.paper and self.paper.part(places)
        return self._replace(columns=columns, rows=rows, paper=paper)


def score_tables(results: Results, paper: Results | None = None) -> list[ScoreTable]:
    """The tables of all models.

    Args:
        results: of the models.
        paper: the paper's numbers, which go with the first table.
    """
    first, *others = (_filled(table, results, table.best) for table in tables(results))
    theirs = _filled(tables(results)[0], paper, best=False) if paper else None
    return [first._replace(paper=theirs), *others]


def _filled(table: Table, results: Results, best: bool) -> ScoreTable:
    highest = [
        max((tasks[column.task][column.metric] for tasks in results.values() if has(tasks, column)), default=None)
        for column in table.columns
    ]
    rows = {
        model: [
            _cell(tasks[column.task], column, top if best else None) if has(tasks, column) else None
            for column, top in zip(table.columns, highest, strict=True)
        ]
        for model, tasks in results.items()
    }
    return ScoreTable(table.title, table.about, table.columns, rows, table.main)


def _cell(scores: Mapping[str, Any], column: Column, highest: float | None) -> Cell:
    value, interval = scores[column.metric], scores.get(f"{column.metric}_interval")
    n = scores.get(f"{column.metric}_n", scores["n"])
    return Cell(value, (interval[0], interval[1]) if interval else None, n, value == highest)


def _size(column: Sequence[Cell | None]) -> str:
    counts = sorted({cell.n for cell in column if cell})
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "–"


def format_tables(results: Results, paper: Results | None = None) -> str:
    """The main tables as plain text of at most 120 columns: a row per model, % with the 95 % interval in whole %."""
    lines: list[str] = []
    for table in score_tables(results, paper):
        for start in range(0, len(table.columns) if table.main else 0, COLUMNS_IN_A_LINE):
            places = range(len(table.columns))[start : start + COLUMNS_IN_A_LINE]
            lines += [*(["", table.title] if lines else []), *_lines(table.part(places))]
            if paper_table := table.paper:
                known = [place for place in places if any(row[place] for row in paper_table.rows.values())]
                lines += ["", PAPER_NOTE, *_lines(paper_table.part(known))] if known else []
    return "\n".join([*lines, "", *notes(results)]).rstrip()


def _lines(table: ScoreTable) -> Iterator[str]:
    columns = table.columns
    width = min(MAX_NAME, max(map(len, [*table.rows, "% [95 % interval]"])))
    lines: list[tuple[str, list[str]]] = [
        ("", [column.title for column in columns]),
        ("", [column.unit for column in columns]),
        ("% [95 % interval]", [f"n {size}" for size in table.sizes]),
        *([("chance", [column.text(column.chance) for column in columns])] if table.any_chance else []),
        *((model, list(map(_text, row, columns))) for model, row in table.rows.items()),
    ]
    for name, texts in lines:
        yield (f"{label(name, width):<{width}}" + "".join(f" {text:<{CELL - 1}}" for text in texts)).rstrip()


def label(name: str, most: int) -> str:
    """`name` in at most `most` printable characters."""
    name = "".join(filter(str.isprintable, name))
    return name if len(name) <= most else name[: most - 1] + "…"


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
