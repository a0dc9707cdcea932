"""Ratings that judges gave, as the report shows them: a judge is a model, its revision and its prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.core.errors import InputError


class Rating(NamedTuple):
    """One answer's rating from 0 to 5, None if it could not be read, and the reason that the judge gave."""

    value: float | None
    reason: str


def with_ratings(scores: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, dict[str, Any]]:
    """The scores of an evaluation with the ratings of its answers: "rating_<judge>" with interval and n as any metric
    has, where one could be read, and "judges": judge → how many ratings could not.

    Raises:
        InputError: ratings that cannot be read, or of other answers than those in `folder`.
    """
    from cadvi_hub.eval.judge.run import read_ratings as read_scores

    found = {task: dict(metrics) for task, metrics in scores.items()}
    for model, tasks in read_scores(folder).items():
        for task in set(tasks) & set(found):
            rated, judge = tasks[task], _judge(model, tasks[task])
            found[task].setdefault("judges", {})[judge] = rated["n"] - rated["rating_n"]
            if "rating" in rated:
                metric = f"rating_{judge}"
                found[task] |= {metric: rated["rating"], f"{metric}_n": rated["rating_n"]}
                found[task][f"{metric}_interval"] = rated["rating_interval"]
    return found


def read_ratings(folder: Path, task: str) -> dict[str, dict[int, Rating]]:
    """Judge → index of the question → rating, of one set.

    Raises:
        InputError: a file that cannot be read.
    """
    found = {}
    for file in sorted(folder.glob(f"judged/*/{task}.jsonl")):
        try:
            judged = json.loads((file.parent / "judge.json").read_bytes())
            rows = [json.loads(line) for line in file.read_bytes().splitlines()]
            ratings = {row["index"]: Rating(row["rating"], row["reason"] or "") for row in rows}
            found[_judge(judged["judge"], judged["tasks"][task])] = ratings
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(str(file), f"cannot be read ({error!r})", "Run `cadvi judge run` again") from error
    return found


def _judge(model: str, scores: Mapping[str, Any]) -> str:
    return f"{model}, prompt {scores['judge_prompt'][:12]}"
