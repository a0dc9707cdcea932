"""What a judge leaves in its folder: the ratings of each set, and one file with its name and its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json, write_json, write_json_lines
from cadvi_hub.eval.judge.model import Judge
from cadvi_hub.eval.judge.rating import PROMPTS, Answered
from cadvi_hub.eval.scoring import are_scores

Row = dict[str, Any]
_HINT = "Remove it and run the judge again"


def check_open(tasks: Sequence[str]) -> None:
    """Make sure that a judge can rate the answers of all `tasks`; raises InputError if not."""
    if closed := sorted(set(tasks) - set(PROMPTS)):
        problem = f"{', '.join(closed)}: a judge rates open answers, and these have none"
        raise InputError("tasks", problem, f"Use some of {', '.join(PROMPTS)}")


def read_judged(file: Path, needed: str) -> Row:
    """A judge's results; nothing if the file is not there.

    Args:
        file: `judge.json` or `check.json`.
        needed: a key that the scores of every set must have.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    if not file.exists():
        return {}
    content = read_json(file, _HINT)
    tasks = content.get("tasks")
    known = isinstance(content.get("endpoint"), dict) and isinstance(content.get("judge"), str)
    if not (known and isinstance(tasks, dict) and all(are_scores(s) and needed in s for s in tasks.values())):
        raise InputError(str(file), "it does not hold the results of a judge", _HINT)
    return content


def written_before_records(name: str, needed: str) -> Callable[[Path], list[str]]:
    """What a judge of an earlier version wrote to its folder, if it holds `name`, which `read_judged` can read."""
    return lambda folder: [name, *(f"{task}.jsonl" for task in PROMPTS)] if read_judged(folder / name, needed) else []


def open_judged(file: Path, judge: Judge, needed: str) -> tuple[Row, Row]:
    """Find out who rates.

    Returns:
        `judge`, its name, and `endpoint`, what the endpoint says about the weights, now or earlier; and task → scores
        of the sets that the file holds.

    Raises:
        InputError: the file cannot be read, or the endpoint serves another model than earlier.
    """
    earlier = read_judged(file, needed)
    served, served_earlier = judge.served(), earlier.get("endpoint", {})
    if served and served_earlier and served != served_earlier:
        problem = f"the endpoint serves {served}; the stored ratings are by {served_earlier}"
        raise InputError(f"judge {judge.name}", problem, "Give the new weights a name with --judge.revision")
    return {"judge": judge.name, "endpoint": served or served_earlier}, earlier.get("tasks", {})


def rate_sets(
    judge: Judge,
    file: Path,
    judged: Row,
    sets: Mapping[str, Sequence[tuple[Row, Answered]]],
    scores_of: Callable[[str, list[Row]], Row],
) -> Row:
    """Let `judge` rate the answers of each set; a set's rows and scores are written as soon as it is done.

    Args:
        judge: who rates.
        file: where `judged` goes; `<task>.jsonl` with the rows is written beside it.
        judged: what the file holds so far, with `tasks`.
        sets: task → the answers, each with the columns that its row has before the rating.
        scores_of: task and rated rows → scores.

    Returns:
        What the file holds in the end.
    """
    for task, answers in sets.items():
        ratings = judge.rate(task, [answered for _, answered in answers])
        rows = [row | rated._asdict() for (row, _), rated in zip(answers, ratings, strict=True)]
        judged = judged | {"tasks": judged["tasks"] | {task: scores_of(task, rows)}}
        write_json_lines(file.with_name(f"{task}.jsonl"), rows)
        write_json(file, judged)
    return judged
