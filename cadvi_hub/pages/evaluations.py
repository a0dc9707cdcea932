"""One or two evaluations as a reader looks into them: scores, and single questions by how they were answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.question import TASKS
from cadvi_hub.eval.comparison import read_predictions
from cadvi_hub.eval.scoring import OPEN_TASKS, SWAPPED
from cadvi_hub.pages.report_answers import KINDS, Said, answer_kinds, rating_lines, reply_of
from cadvi_hub.pages.report_columns import Results, judge_names
from cadvi_hub.pages.report_ratings import read_ratings, with_ratings
from cadvi_hub.pages.report_samples import read_json
from cadvi_hub.pages.rows import DataRows, open_sets

CHANGED = "changed"
FILTERS = {kind: kind for kind in (*KINDS, CHANGED)} | {  # kind of an answer → in words
    "unreadable": "unreadable, not one of the options",
    "order-inconsistent": "changes when the pictures are swapped",
    "open": "open, neither right nor wrong",
    CHANGED: "changed between the runs",
}

Prediction = dict[str, Any]


@dataclass(frozen=True)
class AskedQuestion:
    """A question with its right answer, what each model said, and the kinds of all these answers.

    `images` are as a row has them; they and `text` are empty where nobody named the questions.
    """

    task: str
    id: str
    images: Sequence[Mapping[str, Any]]
    text: str
    answer: str
    said: Sequence[Said]
    kinds: Sequence[str]


class Evaluations:
    """The evaluations in `folders` (name → folder that `evaluate` wrote) over `questions`, a folder or Hub repo id.

    Raises:
        InputError: results that cannot be read, no place of that name, or more than two evaluations.
    """

    def __init__(self, folders: Mapping[str, Path], questions: str = ""):
        if len(folders) > 2:
            raise InputError("results", f"{len(folders)} are named", "Name one or two; `cadvi report` takes more")
        self.folders = {name: Path(folder) for name, folder in folders.items()}
        self.results: Results = {name: _scores(folder) for name, folder in self.folders.items()}
        self.tasks = [task for task in TASKS if any(task in scores for scores in self.results.values())]
        self._questions: Mapping[str, DataRows] = open_sets(questions) if questions else {}
        self._of_task = lru_cache(2)(self._read)  # a set of 54,000 questions takes some 60 MB

    def matching(self, task: str, model: str = "", kind: str = "") -> list[int]:
        """Indices of the questions of `task` that any model, or `model`, answered so: one of `FILTERS`; "" takes all.

        Raises:
            InputError: predictions that cannot be read.
        """
        kinds = self._of_task(task)[1]
        return [
            index
            for index, of_models in kinds.items()
            if not kind or any(kind in found for name, found in of_models.items() if model in ("", name))
        ]

    def question(self, task: str, index: int) -> AskedQuestion:
        """One question of `task`, with all that was said to it.

        Raises:
            InputError: predictions or questions that cannot be read, or predictions made on other questions.
        """
        predictions, kinds = self._of_task(task)
        said = {model: rows[index] for model, rows in predictions[task].items() if index in rows}
        first = next(iter(said.values()))
        row: Mapping[str, Any] = {"id": first["id"], "images": (), "question": ""}
        if task in self._questions:
            row = self._questions[task].row(index) or {"id": None}
        if {row["id"]} != {each["id"] for each in said.values()}:
            problem = f"row {index} of {task} is another question than one that was answered"
            raise InputError(
                f"questions of {task}", problem, "Give the questions of the evaluations, or evaluate again"
            )
        judges = judge_names(self.results)
        answers = []
        for model, each in said.items():
            swapped = predictions[task + SWAPPED].get(model, {}).get(index)
            ratings = rating_lines(self._ratings(model, task), judges, index)
            answers.append(
                Said(
                    model,
                    reply_of(each, task),
                    reply_of(swapped, task) if swapped else None,
                    kinds[index][model],
                    ratings,
                )
            )
        every = dict.fromkeys(kind for found in kinds[index].values() for kind in found)
        return AskedQuestion(task, row["id"], row["images"], row["question"], first["answer"], answers, list(every))

    def _ratings(self, model: str, task: str) -> Mapping[str, Any]:
        return read_ratings(self.folders[model], task) if task in OPEN_TASKS else {}

    def _read(
        self, task: str
    ) -> tuple[dict[str, dict[str, dict[int, Prediction]]], dict[int, dict[str, tuple[str, ...]]]]:
        """Task, and task with swapped images → model → index → prediction; and index → model → kinds of its answer."""
        asked = {model: folder for model, folder in self.folders.items() if task in self.results[model]}
        predictions = {
            name: {
                model: {row["index"]: row for row in read_predictions(folder, name)}
                for model, folder in asked.items()
                if (folder / "predictions" / f"{name}.jsonl").is_file()
            }
            for name in (task, task + SWAPPED)
        }
        kinds: dict[int, dict[str, tuple[str, ...]]] = {}
        for model, folder in asked.items():
            for index, found in answer_kinds(folder, task).items():
                kinds.setdefault(index, {})[model] = found
        for index, of_models in kinds.items():
            if len(of_models) == 2 and _differ([rows[index] for rows in predictions[task].values()], of_models):
                kinds[index] = {model: (*found, CHANGED) for model, found in of_models.items()}
        return predictions, dict(sorted(kinds.items()))


def _differ(rows: Sequence[Prediction], kinds: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether one of two answers is right and the other not; open answers differ by their text."""
    outcomes = {found[0] for found in kinds.values()}
    return len(outcomes) > 1 or (outcomes == {"open"} and len({row["prediction"].strip() for row in rows}) > 1)


def _scores(folder: Path) -> dict[str, dict[str, Any]]:
    scores = read_json(folder / "results.json")
    if not scores or not all(isinstance(metrics, dict) and "n" in metrics for metrics in scores.values()):
        hint = "Name a folder that `cadvi evaluate` wrote"
        raise InputError(str(folder / "results.json"), "these are no results of an evaluation", hint)
    return with_ratings(scores, folder)
