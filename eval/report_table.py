"""Scores of several models as a table: what stands in which column, and the form that a terminal shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cadvi_hub.eval.benchmarks import SVO_CATEGORIES

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]  # model → task → metric → value

MAX_NAME = 22  # characters; with seven columns of 14 a line has 120
CELL = 14


class Column(NamedTuple):
    """One metric of one task: heading, what is counted, the score of a coin toss (where there is one), in words."""

    title: str
    task: str
    metric: str
    unit: str
    chance: float | None
    about: str


COLUMNS = (
    Column("bison", "bison", "accuracy", "accuracy", 0.5, "One caption, two related pictures: which one suits it?"),
    Column(
        "svo_probes",
        "svo_probes",
        "accuracy",
        "accuracy",
        0.5,
        "One sentence, two pictures that differ in the subject, the verb or the object of the sentence.",
    ),
    Column("nlvr2", "nlvr2", "accuracy", "accuracy", 0.5, "A statement about both pictures together: true or false?"),
    Column(
        "eqben",
        "eqben",
        "pair_accuracy",
        "pairs",
        0.25,
        "Two nearly equal pictures and a caption for each; a pair counts when both captions find their picture.",
    ),
    Column(
        "cola",
        "cola",
        "pair_accuracy",
        "pairs",
        0.25,
        "The same things and properties, combined differently; a pair counts when both captions find their picture.",
    ),
    Column(
        "cad_qa",
        "cad_qa",
        "token_f1",
        "token F1",
        None,
        "Open questions about two pictures. Token F1 counts the words shared with the reference answer; it stands in "
        "for the paper's rating by an LLM.",
    ),
    Column(
        "single_image",
        "single_image",
        "accuracy",
        "accuracy",
        None,
        "Questions about a single picture: what a model lost by learning to compare.",
    ),
)


class Cell(NamedTuple):
    """A score between 0 and 1, its 95 % interval, how many answers or pairs it counts, and whether none is higher."""

    value: float
    interval: tuple[float, float] | None
    n: int
    best: bool


def category_columns(results: Results, task: str) -> tuple[Column, ...]:
    """A column per category of `task` that any of the results has, in alphabetic order; SVO Probes' in its own."""
    names = {
        metric.removeprefix("accuracy_")
        for scores in results.values()
        for metric in scores.get(task, {})
        if metric.startswith("accuracy_") and f"{metric}_interval" in scores[task]
    }
    order = [*(name for name in SVO_CATEGORIES if name in names), *sorted(names - set(SVO_CATEGORIES))]
    return tuple(Column(name, task, f"accuracy_{name}", "accuracy", 0.5, "") for name in order)


def cells(results: Results, columns: Sequence[Column]) -> dict[str, list[Cell | None]]:
    """Model → a cell per column, None where the model was not asked."""
    best = [
        max((scores[column.task][column.metric] for scores in results.values() if _has(scores, column)), default=None)
        for column in columns
    ]
    return {
        model: [
            _cell(scores[column.task], column, highest) if _has(scores, column) else None
            for column, highest in zip(columns, best, strict=True)
        ]
        for model, scores in results.items()
    }


def _has(scores: Mapping[str, Mapping[str, Any]], column: Column) -> bool:
    return column.metric in scores.get(column.task, {})


def _cell(scores: Mapping[str, Any], column: Column, highest: float | None) -> Cell:
    value, interval = scores[column.metric], scores.get(f"{column.metric}_interval")
    n = scores.get(f"{column.metric}_n", scores["n"])
    return Cell(value, (interval[0], interval[1]) if interval else None, n, value == highest)


def sizes(column: Sequence[Cell | None]) -> str:
    """How many answers or pairs a column counts; the smallest and largest number where the models differ."""
    counts = sorted({cell.n for cell in column if cell})
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "–"


def percent(value: float | None) -> str:
    """A share in % with one digit, without the sign; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}".replace("100.0", "100")


def format_table(results: Results) -> str:
    """The results as plain text of at most 120 columns: a row per model, % with the 95 % interval in whole %."""
    lines = list(_lines(results, COLUMNS))
    if categories := category_columns(results, "svo_probes"):
        lines += ["", "svo_probes by what differs", *_lines(results, categories)]
    return "\n".join(lines)


def _lines(results: Results, columns: Sequence[Column]) -> Iterator[str]:
    table = cells(results, columns)
    width = min(MAX_NAME, max(map(len, [*table, "% [95 % interval]"])))
    rows = [
        ("", [column.title for column in columns]),
        ("", [column.unit for column in columns]),
        ("% [95 % interval]", [f"n {sizes(column)}" for column in zip(*table.values(), strict=True)]),
        ("chance", [percent(column.chance) for column in columns]),
        *((model, [_text(cell) for cell in row]) for model, row in table.items()),
    ]
    for name, texts in rows:
        name = "".join(filter(str.isprintable, name))
        name = name if len(name) <= width else name[: width - 1] + "…"
        yield (f"{name:<{width}}" + "".join(f" {text:<{CELL - 1}}" for text in texts)).rstrip()


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    interval = f" [{100 * cell.interval[0]:.0f}–{100 * cell.interval[1]:.0f}]" if cell.interval else ""
    return percent(cell.value) + interval
