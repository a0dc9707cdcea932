"""Open answers rated by an LLM from question, reference and answer (paper, section 4.2: CaD-QA and CaD summaries).

The judge reads what `cadvi evaluate` stored; no model is run again, and no picture is looked at. lighteval's own
`JudgeLLM` is not used: it takes five OpenAI models by name and no others, keeps no reply, so that a stopped run asks
everything again, ends with the first request that fails for good, and runs inside the evaluation, so that a new judge
would need all answers once more. Ours sits behind the seam that the annotator uses (`generation.Generator`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.stored import read_texts
from cadvi_hub.eval.comparison import read_predictions
from cadvi_hub.eval.evaluate import EvaluateSettings, question_places
from cadvi_hub.eval.judge.files import file_digest, predictions_file, read_judged, write_json, write_rows
from cadvi_hub.eval.judge.model import Judge, JudgeModelSettings
from cadvi_hub.eval.judge.rating import HIGHEST, PROMPTS, Answered
from cadvi_hub.eval.scoring import mean_and_interval, wilson_interval

Row = dict[str, Any]


@dataclass
class JudgeSettings:
    """What is rated, and by whom.

    Attributes:
        results: folder that `evaluate` wrote (predictions/); ratings go to its `judged/<judge>/`.
        data: the question sets that the model was asked: a folder or Hub repo id, or a mapping of task to either.
        tasks: names of the sets, cad_qa and cad_summary; none takes those of them that have predictions.
        judge: the model that rates.
    """

    results: Path
    data: dict[str, str] | str
    tasks: Sequence[str] = ()
    judge: JudgeModelSettings = field(default_factory=JudgeModelSettings)


def run(settings: JudgeSettings) -> str:
    """`judge_answers`, with its scores as a table."""
    judged = judge_answers(settings)
    lines = [f"judge: {judged['judge']}"]
    return "\n".join([*lines, *(_line(task, scores) for task, scores in judged["tasks"].items())])


def judge_answers(settings: JudgeSettings) -> dict[str, Any]:
    """Rate the predictions of `settings.tasks` and write, below `settings.results`/judged:

    - replies.sqlite: every reply, so that a stopped run goes on, and a rerun asks nothing but what was refused;
    - <judge>/<task>.jsonl: per prediction `index`, `id`, `rating` (None where it cannot be read), `reason`,
      `readable`, `problem` and `cut`, in the order of the predictions;
    - <judge>/judge.json: what this function returns. `evaluate` leaves it alone.

    Returns:
        `judge` (name and revision), `endpoint` (what that tells of its weights), and `tasks`: task → `rating` (mean of
        the readable ones, 0 to 5; absent where there is none), `rating_interval` (normal, 95 %), `rating_n`,
        `unreadable` (share of all, with its interval), `faults` (how many by kind), `cut` (answers that were too long
        and shown in part), `n`; and, beside every score, `judge`, `judge_prompt` (SHA-256 of the prompt),
        `judge_decoding`, and `predictions` (SHA-256 of what was rated). Tasks rated earlier by this judge stay.

    Raises:
        InputError: a task that is not open, or without predictions; questions that are not those of the predictions;
            no judge is named, it cannot be asked, or the endpoint serves another model than before.
    """
    results = Path(settings.results)
    chosen = _chosen(settings)
    places = question_places(EvaluateSettings(model="", data=settings.data, out=results, tasks=chosen))
    answered = {task: _answered(results, task, place) for task, place in places.items()}
    judge = Judge(settings.judge, results / "judged" / "replies.sqlite")
    folder = results / "judged" / judge.folder_name
    judged = _begun(folder, judge)
    for task, (rows, texts) in answered.items():
        rated = [
            {"index": row["index"], "id": row["id"], **rating}
            for row, rating in zip(rows, judge.rate(task, texts), strict=True)
        ]
        scores = rating_scores(rated) | judge.described(task)
        judged["tasks"][task] = scores | {"predictions": file_digest(predictions_file(results, task))}
        write_rows(folder / f"{task}.jsonl", rated)
        write_json(folder / "judge.json", judged)
    return judged


def read_ratings(results: Path) -> dict[str, dict[str, Row]]:
    """Judge → task → scores, as `judge_answers` gives them, of all judges that have rated the answers in `results`.

    Raises:
        InputError: a file that cannot be read, or ratings of other answers than those which are there now.
    """
    found = {}
    for file in sorted(Path(results).glob("judged/*/judge.json")):
        judged = read_judged(file, "predictions")
        for task, scores in judged["tasks"].items():
            if scores["predictions"] != file_digest(predictions_file(results, task)):
                problem = f"it rates other answers to {task} than those of {results}, which were written later"
                raise InputError(str(file), problem, "Run `cadvi judge run` again")
        if judged["tasks"]:
            found[judged["judge"]] = judged["tasks"]
    return found


def rating_scores(rated: Sequence[Mapping[str, Any]]) -> Row:
    """The mean rating of at least one rated answer, and what could not be read."""
    values = [row["rating"] for row in rated if row["readable"]]
    faults = Counter(row["fault"] for row in rated if not row["readable"])
    scores: Row = {}
    if values:
        mean, interval = mean_and_interval([value / HIGHEST for value in values])
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


def check_open(tasks: Sequence[str]) -> None:
    """Make sure that a judge can rate the answers of all `tasks`; raises InputError if not."""
    if closed := sorted(set(tasks) - set(PROMPTS)):
        problem = f"{', '.join(closed)}: a judge rates open answers, and these have none"
        raise InputError("tasks", problem, f"Use some of {', '.join(PROMPTS)}")


def judge_identity(judge: Judge, earlier: Mapping[str, Any]) -> Row:
    """`judge`, its name, and `endpoint`, what that tells of its weights, or told `earlier` if it does not answer now.

    Raises:
        InputError: the endpoint serves another model than earlier.
    """
    told, told_earlier = judge.told(), earlier.get("endpoint", {})
    if told and told_earlier and told != told_earlier:
        problem = f"the endpoint serves {told}; the stored ratings are by {told_earlier}"
        raise InputError(f"judge {judge.name}", problem, "Tell the two apart with --judge.revision")
    return {"judge": judge.name, "endpoint": told or told_earlier}


def _chosen(settings: JudgeSettings) -> list[str]:
    check_open(settings.tasks)
    results = Path(settings.results)
    chosen = list(settings.tasks) or [task for task in PROMPTS if predictions_file(results, task).is_file()]
    if not chosen:
        problem = f"it has no predictions for {' or '.join(PROMPTS)}"
        raise InputError(str(results), problem, "Run `cadvi evaluate` on one of these sets first")
    return chosen


def _answered(results: Path, task: str, place: str) -> tuple[list[Row], list[Answered]]:
    """The predictions of a set, and the texts of each."""
    rows, questions = read_predictions(results, task), read_texts(place, task)

    def texts() -> Iterator[Answered]:
        for row in rows:
            asked = questions[row["index"]] if 0 <= row["index"] < len(questions) else {}
            if any(asked.get(key) != row[key] for key in ("id", "answer")):
                problem = f"question {row['id']!r} is not row {row['index']} of {place}, or has another answer there"
                hint = "Name the data that the model was evaluated on"
                raise InputError(str(predictions_file(results, task)), problem, hint)
            yield Answered(asked["question"], asked["answer"], row["prediction"])

    return rows, list(texts())


def _begun(folder: Path, judge: Judge) -> Row:
    """What this judge has rated already, and who it is; written before anything is asked."""
    file = folder / "judge.json"
    earlier = read_judged(file, "predictions")
    judged = judge_identity(judge, earlier) | {"tasks": earlier.get("tasks", {})}
    write_json(file, judged)
    return judged


def _line(task: str, scores: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{number} {problem}" for problem, number in scores["faults"].items())
    facts = [f"n {scores['rating_n']} of {scores['n']}", f"unreadable {100 * scores['unreadable']:.1f} %"]
    facts += [f"({faults})"] if faults else []
    facts += [f"cut {scores['cut']}"] if scores["cut"] else []
    return f"  {task:<14}{rating_text(scores)} of {HIGHEST}, {', '.join(facts)}".replace(", (", " (")
