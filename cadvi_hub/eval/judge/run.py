"""Open answers rated by an LLM from question, reference and answer (paper, section 4.2: CaD-QA and CaD summaries).

The judge reads what `cadvi evaluate` stored; no model runs again, and no picture is read. We do not use lighteval's
`JudgeLLM`: it takes only five OpenAI models, stores no reply, so that a stopped run asks everything again, ends at the
first request that fails for good, and runs inside the evaluation, so that a new judge would need all answers again.
Ours is behind the same seam as the annotator (`generation.chat.Generator`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, write_json
from cadvi_hub.core.output import open_output
from cadvi_hub.eval.benchmarks.stored import read_texts
from cadvi_hub.eval.comparison import read_predictions
from cadvi_hub.eval.evaluate import question_places
from cadvi_hub.eval.intervals import mean_and_interval, wilson_interval
from cadvi_hub.eval.judge.files import check_open, open_judged, rate_sets, read_judged, written_before_records
from cadvi_hub.eval.judge.model import Judge
from cadvi_hub.eval.judge.rating import HIGHEST, PROMPTS, Answered
from cadvi_hub.eval.judge.settings import JudgeSettings
from cadvi_hub.eval.scoring import answered, clusters

Row = dict[str, Any]


def run(settings: JudgeSettings) -> str:
    """`judge_answers`, with its scores as a table."""
    judged = judge_answers(settings)
    lines = [f"judge: {judged['judge']}"]
    if any(scores["unreadable"] for scores in judged["tasks"].values()):
        store = Path(settings.results) / "judged" / "replies.sqlite"
        lines.append(f"unreadable replies are in {store}; --judge.retry_unreadable true asks again")
    return "\n".join([*lines, *(_line(task, scores) for task, scores in judged["tasks"].items())])


def judge_answers(settings: JudgeSettings) -> dict[str, Any]:
    """Rate the predictions of `settings.tasks` and write, below `settings.results`/judged:

    - replies.sqlite: every reply, so that a stopped run goes on, and a rerun asks only what was refused;
    - <judge>/<task>.jsonl: per prediction `index`, `id`, `group`, `rating` (None where it cannot be read), `reason`,
      `readable`, `fault` and `cut`, in the order of the predictions;
    - <judge>/judge.json: what this function returns. `evaluate` leaves it alone.

    Returns:
        `judge` (name and revision), `endpoint` (what it says about the weights), and `tasks`: task → `rating` (mean of
        the readable ones, 0 to 5; absent where there is none), `rating_interval` (normal, 95 %), `rating_n`,
        `unreadable` (share of all, with its interval), `faults` (how many by kind), `cut` (answers that were too long
        and shown in part), `n`; and, with every score, `judge`, `judge_prompt` (SHA-256 of the prompt),
        `judge_decoding`, and `predictions` (SHA-256 of what was rated). Tasks that this judge rated before stay.

    Raises:
        InputError: a task that is not open or has no predictions; predictions of other questions; no judge is named,
            it cannot be reached, or the endpoint serves another model than before; files of others, or another process
            that rates by this judge.
    """
    results = Path(settings.results)
    chosen = _chosen(settings)
    places = question_places(settings.data, chosen)
    to_rate = {task: list(answered_of(results, task, place)) for task, place in places.items()}
    judge = Judge(settings.judge, results / "judged" / "replies.sqlite")

    def scores_of(task: str, rows: list[Row]) -> Row:
        return (
            rating_scores(rows, clusters(task, rows))
            | judge.described(task)
            | {"predictions": _digest(_predictions(results, task))}
        )

    file = results / "judged" / judge.folder_name / "judge.json"
    with open_output(file.parent, "cadvi judge run", written_before_records(file.name, "predictions")) as output:
        output.claim([file.name, *(f"{task}.jsonl" for task in to_rate)])
        identity, earlier = open_judged(file, judge, "predictions")
        judged = identity | {"tasks": earlier}
        write_json(file, judged)  # it says who rates before anything is asked
        return rate_sets(judge, file, judged, to_rate, scores_of)


def read_ratings(results: Path) -> dict[str, dict[str, Row]]:
    """Judge → task → scores, as `judge_answers` gives them, of all judges that have rated the answers in `results`.

    Raises:
        InputError: a file that cannot be read, or ratings of other answers than those that are there now.
    """
    found = {}
    for file in sorted(Path(results).glob("judged/*/judge.json")):
        judged = read_judged(file, "predictions")
        for task, scores in judged["tasks"].items():
            if not {"n", "rating_n"} <= scores.keys():
                raise InputError(
                    str(file), f"it does not say how many answers to {task} it rates", "Run `cadvi judge run` again"
                )
            if scores["predictions"] != _digest(_predictions(results, task)):
                problem = f"it rates other answers to {task} than those of {results}, which were written later"
                raise InputError(str(file), problem, "Run `cadvi judge run` again")
        if judged["tasks"]:
            found[judged["judge"]] = judged["tasks"]
    return found


def rating_scores(rated: Sequence[Mapping[str, Any]], shared: Sequence[str] | None = None) -> Row:
    """The mean rating of at least one rated answer, and what could not be read.

    Args:
        rated: rows as `Rated` has them.
        shared: per row, what it shares with the answers that depend on it; None where all are independent.
    """
    readable = [place for place, row in enumerate(rated) if row["readable"]]
    values = [rated[place]["rating"] for place in readable]
    faults = Counter(row["fault"] for row in rated if not row["readable"])
    scores: Row = {}
    if values:
        mean, interval = mean_and_interval(
            [value / HIGHEST for value in values],
            clusters=None if shared is None else [shared[place] for place in readable],
        )
        scores = {"rating": HIGHEST * mean, "rating_interval": [HIGHEST * bound for bound in interval]}
    unreadable = faults.total()
    return scores | {
        "rating_n": len(values),
        "unreadable": unreadable / len(rated),
        "unreadable_interval": list(wilson_interval(unreadable, len(rated))),
        "faults": dict(sorted(faults.items())),
        "cut": sum(row["cut"] for row in rated),
        "n": len(rated),
    }


def rating_text(scores: Mapping[str, Any]) -> str:
    """A mean rating with its interval, "3.21 [3.02–3.40]", or a dash where nothing could be read."""
    if "rating" not in scores:
        return "–"
    low, high = scores["rating_interval"]
    return f"{scores['rating']:.2f} [{low:.2f}–{high:.2f}]"


def _chosen(settings: JudgeSettings) -> list[str]:
    check_open(settings.tasks)
    results = Path(settings.results)
    chosen = list(settings.tasks) or [task for task in PROMPTS if _predictions(results, task).is_file()]
    if not chosen:
        problem = f"it has no predictions for {' or '.join(PROMPTS)}"
        raise InputError(str(results), problem, "Run `cadvi evaluate` on one of these sets first")
    return chosen


def answered_of(results: Path, task: str, place: str) -> Iterator[tuple[Row, Answered]]:
    """Index, id and group of each prediction of a set that has an answer, and its texts."""
    rows, questions = answered(read_predictions(results, task)), read_texts(place, task)
    for row in rows:
        asked = questions[row["index"]] if 0 <= row["index"] < len(questions) else {}
        if any(asked.get(key) != row[key] for key in ("id", "answer")):
            problem = f"question {row['id']!r} is not row {row['index']} of {place}, or has another answer there"
            hint = "Name the data that the model was evaluated on"
            raise InputError(str(_predictions(results, task)), problem, hint)
        texts = Answered(asked["question"], asked["answer"], row["prediction"])
        yield {key: row[key] for key in ("index", "id", "group")}, texts


def _predictions(results: Path, task: str) -> Path:
    """Where `evaluate` stored the answers to set `task`."""
    return results / "predictions" / f"{task}.jsonl"


def _digest(file: Path) -> str:
    """SHA-256 of a file of predictions, in hexadecimal; InputError if it cannot be read."""
    try:
        return hashlib.sha256(read_file(file)).hexdigest()
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error})", "Evaluate the model on this set") from error


def _line(task: str, scores: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{number} {problem}" for problem, number in scores["faults"].items())
    facts = [f"n {scores['rating_n']} of {scores['n']}", f"unreadable {100 * scores['unreadable']:.1f} %"]
    facts += [f"({faults})"] if faults else []
    facts += [f"cut {scores['cut']}"] if scores["cut"] else []
    return f"  {task:<14}{rating_text(scores)} of {HIGHEST}, {', '.join(facts)}".replace(", (", " (")
