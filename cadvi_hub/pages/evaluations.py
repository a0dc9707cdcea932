"""Evaluations as a reader looks into them: scores with judges' ratings, and single questions with all answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, read_json
from cadvi_hub.core.json_stream import parse_json
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED, benchmark_of
from cadvi_hub.eval.judge.run import read_ratings as read_rating_scores
from cadvi_hub.eval.scoring import are_scores, is_prediction
from cadvi_hub.eval.text_scores import token_f1
from cadvi_hub.pages.columns import judge_names
from cadvi_hub.pages.rows import DataRows

CHANGED = "changed"
FILTERS = {  # kind of an answer → in words
    "right": "right",
    "wrong": "wrong",
    "unreadable": "unreadable, not one of the options",
    "order-inconsistent": "changes when the pictures are swapped",
    "open": "open, neither right nor wrong",
    CHANGED: "changed between the two runs",
}


class Reply(NamedTuple):
    """What a model answered: its text, "right", "wrong", "unreadable" or "open", and that in words."""

    text: str
    outcome: str
    verdict: str


class Prediction(NamedTuple):
    """A line of a predictions file: the question, its right answer, the reply, and its kinds (of `FILTERS`)."""

    id: str
    answer: str
    reply: Reply
    is_read: bool
    correct: bool
    kinds: tuple[str, ...]


class Said(NamedTuple):
    """One model's reply, that with the images swapped (None if it was not asked), its kinds, its ratings in words."""

    model: str
    reply: Reply
    swapped: Reply | None
    kinds: Sequence[str]
    ratings: Sequence[str]


class AskedQuestion(NamedTuple):
    """A question with its right answer, what each model said, and the kinds of all these answers.

    `images` are as a row has them; they and `text` are empty if no question set was given.
    """

    task: str
    id: str
    images: Sequence[Mapping[str, Any]]
    text: str
    answer: str
    said: Sequence[Said]
    kinds: Sequence[str]


# Judge → index of the question → rating from 0 to 5 (None if it could not be read), and the judge's reason.
Ratings = dict[str, dict[int, tuple[float | None, str]]]
Predictions = dict[str, dict[int, Prediction]]  # model → index of the question → prediction


class _Task(NamedTuple):
    """All answers to one set, those with the images swapped, and the questions on which two runs differ."""

    answers: Predictions
    swapped: Predictions
    changed: frozenset[int]


class Evaluations:
    """The evaluations in `folders` (name → folder that `evaluate` wrote) over the sets of `questions` (name → rows).

    Raises:
        InputError: results that cannot be read, or ratings of other answers.
    """

    def __init__(self, folders: Mapping[str, Path], questions: Mapping[str, DataRows] | None = None):
        self.folders = {name: Path(folder) for name, folder in folders.items()}
        self.results: dict[str, dict[str, dict[str, Any]]] = {
            name: _scores(folder) for name, folder in self.folders.items()
        }
        self.tasks = BENCHMARKS.in_order(task for scores in self.results.values() for task in scores)
        self._questions = questions or {}
        self._of_task = lru_cache(2)(self._read)  # a set of 54,000 questions takes some 60 MB per model
        self._ratings = lru_cache(8)(_read_ratings)

    def kinds(self, task: str) -> dict[str, dict[int, tuple[str, ...]]]:
        """Model → index of the question → kinds of its answer; a model that has no predictions has no answers.

        Raises:
            InputError: predictions that cannot be read.
        """
        answers = self._of_task(task).answers
        return {model: {index: each.kinds for index, each in found.items()} for model, found in answers.items()}

    def matching(self, task: str, model: str = "", kind: str = "") -> list[int]:
        """Indices of the questions of `task` that any model, or `model`, answered so: one of `FILTERS`; "" takes all.

        Raises:
            InputError: predictions that cannot be read.
        """
        changed = self._of_task(task).changed
        found = {
            index
            for name, kinds in self.kinds(task).items()
            for index, each in kinds.items()
            if model in ("", name) and (not kind or kind in each or (kind == CHANGED and index in changed))
        }
        return sorted(found)

    def question(self, task: str, index: int) -> AskedQuestion:
        """One question of `task`, with all that was said to it.

        Raises:
            InputError: predictions or questions that cannot be read, or predictions made on other questions.
        """
        read = self._of_task(task)
        said = {model: found[index] for model, found in read.answers.items() if index in found}
        first = next(iter(said.values()))
        row: Mapping[str, Any] | None = {"id": first.id, "images": (), "question": ""}
        if task in self._questions:
            row = self._questions[task].row(index)
        if row is None or {row["id"]} != {each.id for each in said.values()}:
            other = "there is no row" if row is None else "another question than one that was answered is in row"
            hint = "Give the questions of the evaluations, or evaluate again"
            raise InputError(f"questions of {task}", f"{other} {index}", hint)
        judges = judge_names(self.results)
        answers = []
        for model, each in said.items():
            swapped = read.swapped.get(model, {}).get(index)
            ratings = _rating_lines(self._ratings(self.folders[model], task), judges, index)
            answers.append(Said(model, each.reply, swapped.reply if swapped else None, each.kinds, ratings))
        kinds = list(dict.fromkeys(kind for each in said.values() for kind in each.kinds))
        kinds += [CHANGED] * (index in read.changed)
        return AskedQuestion(task, row["id"], row["images"], row["question"], first.answer, answers, kinds)

    def _read(self, task: str) -> _Task:
        asked = {model: folder for model, folder in self.folders.items() if task in self.results[model]}
        swapped = {model: dict(_predictions(folder, task + SWAPPED)) for model, folder in asked.items()}
        answers: Predictions = {}
        for model, folder in asked.items():
            answers[model] = {}
            for index, each in _predictions(folder, task):
                other = swapped[model].get(index)
                if other and each.is_read and other.is_read and each.correct != other.correct:
                    each = each._replace(kinds=(*each.kinds, "order-inconsistent"))
                answers[model][index] = each
        changed: frozenset[int] = frozenset()
        if len(answers) == len(self.folders) == 2:
            first, second = answers.values()
            changed = frozenset(index for index in set(first) & set(second) if _differ(first[index], second[index]))
        return _Task(answers, swapped, changed)


def _scores(folder: Path) -> dict[str, dict[str, Any]]:
    """The scores of an evaluation with the ratings of its answers: "rating_<judge>" with interval and n, as any metric
    has, if one could be read, and "judges": judge → number of ratings that could not be read."""
    scores = read_json(folder / "results.json", "Evaluate the model first, or again if that was stopped")
    if not scores or not all(are_scores(metrics) and "n" in metrics for metrics in scores.values()):
        problem = "these are not results of an evaluation"
        raise InputError(str(folder / "results.json"), problem, "Name a folder that `cadvi evaluate` wrote")
    for model, tasks in read_rating_scores(folder).items():
        for task in set(tasks) & set(scores):
            rated, judge = tasks[task], _judge(model, tasks[task])
            scores[task].setdefault("judges", {})[judge] = rated["n"] - rated["rating_n"]
            if "rating" in rated:
                metric = f"rating_{judge}"
                scores[task] |= {metric: rated["rating"], f"{metric}_n": rated["rating_n"]}
                scores[task][f"{metric}_interval"] = rated["rating_interval"]
    return scores


def _predictions(folder: Path, task: str) -> Iterator[tuple[int, Prediction]]:
    """The index and the rest of each of one model's predictions; none if it was not asked."""
    file = folder / "predictions" / f"{task}.jsonl"
    if not file.is_file():
        return
    number = 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007  (the message names it)
                row = parse_json(line)
                if not is_prediction(row):
                    raise ValueError("it is not a prediction")
                reply = _reply(row, task)
                is_read = row.get("strict") is not None
                yield (
                    row["index"],
                    Prediction(row["id"], row["answer"], reply, is_read, row["correct"], (reply.outcome,)),
                )
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"cannot be read (no {error})" if isinstance(error, KeyError) else f"cannot be read ({error})"
        raise InputError(f"{file}, line {number}", problem, "Evaluate the model again") from error


def _reply(row: Mapping[str, Any], task: str) -> Reply:
    """A row of predictions in words."""
    text = row["prediction"]
    if benchmark_of(task).is_open:
        return Reply(text, "open", f"token F1 {100 * token_f1(row['prediction'], row['answer']):.0f} %")
    if row["strict"] is not None:
        outcome = "right" if row["correct"] else "wrong"
        return Reply(text, outcome, outcome)
    if row["tolerant"] is None:
        return Reply(text, "unreadable", "unreadable")
    outcome = "right" if row["tolerant_correct"] else "wrong"
    return Reply(text, "unreadable", f"unreadable; tolerant: {row['tolerant']}, {outcome}")


def _differ(first: Prediction, second: Prediction) -> bool:
    """Whether one answer is right and the other is not; open answers differ by their text."""
    outcomes = {first.reply.outcome, second.reply.outcome}
    return len(outcomes) > 1 or (outcomes == {"open"} and first.reply.text.strip() != second.reply.text.strip())


def _rating_lines(ratings: Ratings, judges: Sequence[str], index: int) -> list[str]:
    """What judges said of an answer, a line each; a judge's number is its place in `judges`, from 1."""
    lines = []
    for judge, by_index in ratings.items():
        if index in by_index:
            value, reason = by_index[index]
            said = "unreadable rating" if value is None else f"rating {value:g} of 5"
            lines.append(f"{said} [{judges.index(judge) + 1}]" + (f": {reason}" if reason else ""))
    return lines


def _read_ratings(folder: Path, task: str) -> Ratings:
    """The ratings of one evaluation's answers to `task`.

    Raises:
        InputError: a file that cannot be read.
    """
    found = {}
    for file in sorted(folder.glob(f"judged/*/{task}.jsonl")):
        try:
            judged = parse_json(read_file(file.parent / "judge.json"))
            rows = [parse_json(line) for line in read_file(file).splitlines()]
            ratings = {row["index"]: (row["rating"], row["reason"] or "") for row in rows}
            found[_judge(judged["judge"], judged["tasks"][task])] = ratings
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(str(file), f"cannot be read ({error!r})", "Run `cadvi judge run` again") from error
    return found


def _judge(model: str, scores: Mapping[str, Any]) -> str:
    """A judge is a model, its revision and its prompt."""
    return f"{model}, prompt {scores['judge_prompt'][:12]}"
