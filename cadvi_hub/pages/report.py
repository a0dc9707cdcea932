"""What came of evaluations, trainings and data sets: tables, results.json, Markdown, and a page that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.comparison import Comparison, compare_predictions, read_predictions
from cadvi_hub.eval.paper_results import paper_results
from cadvi_hub.eval.scoring import SWAPPED
from cadvi_hub.hub.cards import Verbatim, escape
from cadvi_hub.pages.report_answers import KINDS, MAX_QUESTIONS, PER_FILTER, sample_questions
from cadvi_hub.pages.report_charts import COLOURS, loss_chart, panels
from cadvi_hub.pages.report_columns import Results, Table, notes, tables
from cadvi_hub.pages.report_ratings import with_ratings
from cadvi_hub.pages.report_samples import DataSet, read_json, sample_data_set
from cadvi_hub.pages.report_table import PAPER_NOTE, cells, format_tables, sizes

DATA_SETS = ("v1", "v2")


@dataclass
class ReportSettings:
    """What is reported.

    Attributes:
        models: model name → folder that `evaluate` wrote (results.json, predictions/, and judged/ where a judge rated
            it), in the order of the rows. `cadvi report FOLDER NAME=FOLDER …` is the short form.
        data: folder of built data sets; `v1` and `v2` in it are shown.
        questions: folder with `<task>/test*.parquet`, the questions that the models answered; without it, answers are
            shown without pictures.
        out: folder for results.json, report.md and index.html.
        trainings: name → output folder of a training (training.json).
        baseline: the model that every other one is compared with, question by question; "" takes the first.
        paper: whether the paper's numbers stand below ours. They are of other models, and comparable only with scores
            on the paper's own questions.
        note: what a reader must know about these results, in plain words; stands beside them.
        seed: of the choice of samples, and of the bootstrap.
    """

    models: dict[str, Path]
    data: Path | None = None
    questions: Path | None = None
    out: Path = Path("report")
    trainings: dict[str, Path] = field(default_factory=dict)
    baseline: str = ""
    paper: bool = False
    note: str = ""
    seed: int = 0


def report(settings: ReportSettings) -> str:
    """Write `out/results.json`, `out/report.md` and `out/index.html`.

    Returns:
        The tables, the note and where the page lies.

    Errors as of the two steps.
    """
    results = collect(settings)
    page = write_report(settings, results)
    shown = format_tables(results, paper_results() if settings.paper else None)
    return "\n\n".join(filter(None, (shown, settings.note, f"Page: {page}")))


def collect(settings: ReportSettings) -> dict[str, dict[str, dict[str, Any]]]:
    """The scores of all models, written to `out/results.json` too.

    Returns:
        Model → task → metric → value, with "<metric>_interval" and "n" as `evaluate` gives them, and judges' ratings
        as `report_ratings.with_ratings` does.

    Raises:
        InputError: no models, a folder that does not exist, results that cannot be read, or `out` cannot be written.
    """
    if not settings.models:
        raise InputError("models", "none is given", "Name at least one folder of an evaluation")
    folders = [settings.data, settings.questions, *settings.models.values(), *settings.trainings.values()]
    for folder in folders:
        if folder and not Path(folder).is_dir():
            raise InputError(str(folder), "no such folder", "Check the folders of the report")
    results = {model: with_ratings(_scores(Path(folder)), Path(folder)) for model, folder in settings.models.items()}
    _write(Path(settings.out) / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def write_report(settings: ReportSettings, results: Results) -> Path:
    """Write `out/report.md` and the page `out/index.html`, a file that loads nothing; equal input gives equal bytes.

    What lacks (a task, a data set, a training's log) is left out or shown as a dash.

    Returns:
        The page.

    Raises:
        InputError: a file of the data sets, questions or predictions that cannot be read, an unknown baseline, or
            `out` cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    baseline = settings.baseline or next(iter(results))
    comparisons, refused = compare_all(settings, baseline, results)
    facts = {
        "note": settings.note,
        "tables": [_table(table, results, settings.paper) for table in tables(results)],
        "notes": notes(results),
        "paper_note": PAPER_NOTE,
        "baseline": baseline,
        "comparisons": comparisons,
        "refused": refused,
    }
    keys: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    keys["loader"] = PackageLoader("cadvi_hub.pages", "templates")
    # HTML escaping is not enough for Markdown: `finalize` escapes every value for both.
    markdown = Environment(keep_trailing_newline=True, finalize=escape, **keys)  # noqa: S701
    markdown.filters["own"] = Verbatim  # what was formatted here
    markdown.filters["whole"] = lambda text: Verbatim(escape(text, most=2000))
    _write(Path(settings.out) / "report.md", markdown.get_template("report.md.jinja").render(facts))

    environment = Environment(autoescape=True, **keys)
    script = environment.get_template("report.js.jinja").render()
    logs = {name: read_json(Path(folder) / "training.json") for name, folder in settings.trainings.items()}
    colours = {name: number % COLOURS for number, name in enumerate(results)}
    models = {name: Path(folder) for name, folder in settings.models.items()}
    questions = Path(settings.questions) if settings.questions else None
    answers, asked = sample_questions(models, results, questions, settings.seed)
    kinds = [kind for kind in KINDS if any(kind in said.kinds for answer in answers for said in answer.said)]
    page = environment.get_template("report.html.jinja").render(
        **facts,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        loss=loss_chart({name: log for name, log in logs.items() if log}, colours),
        data_sets=_data_sets(settings),
        models=list(results),
        answers=answers,
        sampling={"of": asked, "each": PER_FILTER, "most": MAX_QUESTIONS, "seed": settings.seed, "kinds": kinds},
    )
    return _write(Path(settings.out) / "index.html", page)


def compare_all(
    settings: ReportSettings, baseline: str, results: Results
) -> tuple[list[tuple[str, Comparison]], list[str]]:
    """Every other model beside `baseline` on the sets that both were asked, and what cannot be compared, in words.

    Raises:
        InputError: an unknown baseline, or predictions that cannot be read.
    """
    from tqdm import tqdm

    if baseline not in results:
        raise InputError("baseline", f"{baseline!r} is no model of the report", f"Use one of {', '.join(results)}")
    pairs = [
        (model, task)
        for model in results
        for task in results[model]
        if model != baseline and task in results[baseline] and not task.endswith(SWAPPED)
    ]
    found, refused = [], []
    for model, task in tqdm(pairs, desc="comparing models", unit="set", disable=None):
        folders = [Path(settings.models[name]) for name in (baseline, model)]
        if not all((folder / "predictions" / f"{task}.jsonl").is_file() for folder in folders):
            refused.append(f"{model}, {task}: not both have predictions")
            continue
        first, second = (read_predictions(folder, task) for folder in folders)
        try:
            found += [(model, each) for each in compare_predictions(task, first, second, seed=settings.seed)]
        except InputError as error:  # they were asked different questions: the scores can be shown all the same
            refused.append(f"{model}, {error.where}: {error.problem}")
    return found, refused


def named_folders(arguments: Sequence[str]) -> dict[str, str]:
    """Name → folder, of arguments `FOLDER` or `NAME=FOLDER`; a folder alone is named by its last part.

    Raises:
        InputError: two of one name.
    """
    folders: dict[str, str] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or Path(argument).is_dir():
            name, folder = Path(argument).resolve().name, argument
        if name in folders:
            problem = f"{folders[name]} and {folder} would both be named {name!r}"
            raise InputError("results", problem, "Name them: NAME=FOLDER")
        folders[name] = folder
    return folders


def _scores(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / "results.json"
    scores = read_json(file)
    if scores is None:
        raise InputError(str(file), "no such file", "Evaluate the model first")
    if not scores or not all(isinstance(metrics, dict) and "n" in metrics for metrics in scores.values()):
        raise InputError(str(file), "these are not results of an evaluation", "Evaluate the model again")
    return scores


def _table(table: Table, results: Results, paper: bool) -> dict[str, Any]:
    rows = cells(results, table.columns, table.best)
    theirs = cells(paper_results(), table.columns, best=False) if paper and table.title == "Scores" else {}
    return {
        "title": table.title,
        "about": table.about,
        "columns": list(zip(table.columns, map(sizes, zip(*rows.values(), strict=True)), strict=True)),
        "rows": rows,
        "panels": panels(table.columns, rows) if table.main else [],
        "paper": theirs,
        "paper_sizes": [sizes(column) for column in zip(*theirs.values(), strict=True)],
    }


def _data_sets(settings: ReportSettings) -> list[DataSet]:
    if settings.data is None:
        return []
    sets = (sample_data_set(Path(settings.data) / name, settings.seed) for name in DATA_SETS)
    return [each for each in sets if each]


def _write(path: Path, text: str) -> Path:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode("utf-8", "replace"))  # a prediction may hold half a character
        part.replace(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error})", "Make room or choose another folder") from error
    return path
