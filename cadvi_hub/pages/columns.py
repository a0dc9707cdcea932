"""What the tables of scores contain: which metric of which set is in which column, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cadvi_hub.eval.benchmarks.benchmark import CONSISTENCY
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED
from cadvi_hub.eval.scoring import PREFIX

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]  # model → task → metric → value


class Column(NamedTuple):
    """One metric of one task: heading, what is counted, the score of guessing (if known), in words, range."""

    title: str
    task: str
    metric: str
    unit: str
    chance: float | None
    about: str
    low: float = 0.0
    top: float = 1.0

    def text(self, value: float | None) -> str:
        """A share in %, a bias in % with its sign, a rating as it is; a dash for None."""
        if value is None:
            return "–"
        if self.top > 1:
            return f"{value:.2f}"
        return f"{100 * value:{'+.1f' if self.low < 0 else '.1f'}}".replace("100.0", "100")

    def interval_text(self, interval: tuple[float, float]) -> str:
        """An interval in the unit of `text`."""
        return (", " if self.low < 0 else "–").join(map(self.text, interval))


class Table(NamedTuple):
    """Columns shown together.

    `best`: whether the highest score is the best; `main`: whether the table is also shown in a terminal and drawn.
    """

    title: str
    about: str
    columns: tuple[Column, ...]
    best: bool = True
    main: bool = True


def columns(results: Results | None = None) -> tuple[Column, ...]:
    """The columns of all sets (of those with `results`, if given), those of sets that compare images first."""
    names = BENCHMARKS.in_order({task for tasks in results.values() for task in tasks}) if results else BENCHMARKS
    order = sorted((BENCHMARKS[name] for name in names), key=lambda benchmark: not benchmark.compares)
    return tuple(
        Column(each.name, each.name, shown.metric, shown.unit, shown.chance, shown.about)
        for each in order
        for shown in each.columns
    )


def tables(results: Results) -> list[Table]:
    """The tables for `results`, the paper's first; columns in which no model has a score are left out."""
    closed = [column for column in columns(results) if not BENCHMARKS[column.task].is_open]
    both = [column for column in closed if BENCHMARKS[column.task].swaps and column.metric != CONSISTENCY]
    sets = [column for column in closed if is_main(column)]
    tolerant, shown = PREFIX["tolerant"], BENCHMARKS.in_order(task for tasks in results.values() for task in tasks)
    found = [
        Table("Scores", "An answer to a choice is right only when it is exactly the option.", _with_ratings(results)),
        Table(
            "Tolerant reading",
            "The same answers, read as a person would: “A.”, “(a)”, “the first image”, “yes”.",
            tuple(column._replace(metric=tolerant + column.metric) for column in closed),
        ),
        Table(
            "Unreadable answers",
            "Answers that are no option; they count as wrong.",
            tuple(column._replace(metric="unreadable", unit="of answers", chance=None) for column in sets),
            best=False,
        ),
        Table(
            "Unreadable answers, tolerant reading",
            "Answers in which a person would find no option either.",
            tuple(column._replace(metric=f"{tolerant}unreadable", unit="of answers", chance=None) for column in sets),
            best=False,
            main=False,
        ),
        Table(
            "Images swapped",
            "The same questions with the two images in the other order.",
            tuple(column._replace(task=column.task + SWAPPED) for column in both),
            main=False,
        ),
        Table(
            "Right in both orders",
            "A question counts when it is right with the images in either order.",
            tuple(
                column._replace(metric=f"both_orders_{column.metric}", chance=column.chance and column.chance**2)
                for column in both
            ),
        ),
        Table(
            "Position bias",
            "How much more often than is right the first image (above 0) or the second (below 0) was chosen, over "
            "both orders.",
            tuple(
                column._replace(metric="position_bias", unit="bias", chance=0.0, low=-1.0)
                for column in both
                if is_main(column)
            ),
            best=False,
        ),
        Table(
            "Likeliest option",
            "The option that the model finds likeliest, without writing an answer.",
            tuple(
                column._replace(metric="ranked_accuracy", unit="accuracy", chance=1 / len(options))
                for column in sets
                if (options := BENCHMARKS[column.task].options)
            ),
            main=False,
        ),
        *(Table(f"{task} by category", "", category_columns(results, task)) for task in shown),
    ]
    present = [
        table._replace(columns=tuple(each for each in table.columns if has_any(results, each))) for table in found
    ]
    return [present[0], *(table for table in present[1:] if table.columns)]


def _with_ratings(results: Results) -> tuple[Column, ...]:
    """The columns of the paper's table; the ratings of a set come right after it, a column per judge."""
    judges = judge_names(results)
    rated: list[Column] = []
    for column in columns(results):
        rated.append(column)
        if BENCHMARKS[column.task].is_open and is_main(column):
            rated += [
                Column(
                    column.task,
                    column.task,
                    f"rating_{judge}",
                    f"rating [{number}]",
                    None,
                    "Mean rating from 0 to 5 by an LLM that reads question, reference answer and answer.",
                    top=5.0,
                )
                for number, judge in enumerate(judges, start=1)
            ]
    return tuple(rated)


def judge_names(results: Results) -> list[str]:
    """The judges of all results, in the order of their first rating; a judge's number is its place here."""
    named = (scores.get("judges", {}) for tasks in results.values() for scores in tasks.values())
    return list(dict.fromkeys(judge for judges in named for judge in judges))


def notes(results: Results) -> list[str]:
    """What a reader must know about single scores: who judged, what was left out or blanked."""
    lines = []
    for number, judge in enumerate(judge_names(results), start=1):
        unread = {
            f"{model} {task}": count
            for model, tasks in results.items()
            for task, scores in tasks.items()
            if (count := scores.get("judges", {}).get(judge, 0))
        }
        counts = ", ".join(f"{name} {count}" for name, count in unread.items())
        lines.append(f"[{number}] rated by {judge}" + (f"; unreadable ratings, left out: {counts}" if counts else ""))
    models_of: dict[str, list[str]] = {}
    for model, tasks in results.items():
        for task, scores in tasks.items():
            unswapped = scores.get("not_swapped_n")
            facts = [scores[key] for key in ("images", "questions") if key in scores]
            for fact in [*facts, *([f"{unswapped} questions were asked in one order only"] if unswapped else [])]:
                models_of.setdefault(f"{task}: {fact}", []).append(model)
    return [*lines, *(f"{fact} ({', '.join(models)})" for fact, models in models_of.items())]


def category_columns(results: Results, task: str) -> tuple[Column, ...]:
    """A column per category of `task` that any of the results has; categories that the set does not list, by name."""
    whole = next(column for column in columns(results) if column.task == task)
    prefix = f"{whole.metric}_"
    names = {
        metric.removeprefix(prefix)
        for tasks in results.values()
        for metric in tasks.get(task, {})
        if metric.startswith(prefix) and f"{metric}_interval" in tasks[task]
    }
    listed = BENCHMARKS[task].categories
    order = [*(name for name in listed if name in names), *sorted(names - set(listed))]
    return tuple(whole._replace(title=name, metric=prefix + name, about="") for name in order)


def is_main(column: Column) -> bool:
    """Whether the column has the main metric of its set."""
    return column.metric == BENCHMARKS[column.task].columns[0].metric


def has_any(results: Results, column: Column) -> bool:
    """Whether any model has a score in `column`."""
    return any(has(tasks, column) for tasks in results.values())


def has(tasks: Mapping[str, Mapping[str, Any]], column: Column) -> bool:
    """Whether a model with the scores `tasks` has one in `column`."""
    return column.metric in tasks.get(column.task, {})
