"""What evaluations, trainings and data sets show: tables, results.json, Markdown, and a page that loads nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, read_json, write_text, writing
from cadvi_hub.core.output import open_output
from cadvi_hub.eval.benchmarks.registry import SWAPPED
from cadvi_hub.eval.comparison import Comparison, compare_predictions, read_predictions
from cadvi_hub.eval.paper_results import paper_results
from cadvi_hub.pages.charts import bar_charts, loss_chart
from cadvi_hub.pages.columns import Results, notes
from cadvi_hub.pages.evaluations import FILTERS, Evaluations
from cadvi_hub.pages.rendering import page_html, render_markdown, scores_html
from cadvi_hub.pages.samples import MAX_QUESTIONS, PER_FILTER, question_sets, sample_answers, sample_data_set
from cadvi_hub.pages.scores import format_tables, score_tables
from cadvi_hub.pages.settings import ReportSettings

DATA_SETS = ("v1", "v2")
FILES = ("results.json", "report.md", "index.html")

logger = logging.getLogger(__name__)


def report(settings: ReportSettings) -> str:
    """Write `out/results.json`, `out/report.md` and `out/index.html`.

    Returns:
        The tables, the note and the path of the page.

    Raises:
        InputError: `out` has files of others or another process writes to it; whatever `collect` and `write_report`
            raise.
    """
    out = Path(settings.out)
    with open_output(out, "cadvi report", _written_before_records) as output:
        output.check(FILES)
        with output.replacing(last="index.html") as new:
            results = collect(replace(settings, out=new))
            write_report(replace(settings, out=new), results)
    page = out / "index.html"
    shown = format_tables(results, paper_results() if settings.paper else None)
    return "\n\n".join(filter(None, (shown, settings.note, f"Page: {page}")))


def collect(settings: ReportSettings) -> dict[str, dict[str, dict[str, Any]]]:
    """The scores of all models, written to `out/results.json` too.

    Returns:
        Model → task → metric → value, with "<metric>_interval" and "n" as `evaluate` gives them, and the judges'
        ratings as `Evaluations` adds them.

    Raises:
        InputError: no models, a folder that does not exist, results that cannot be read, or `out` cannot be written.
    """
    if not settings.models:
        raise InputError("models", "none is given", "Name at least one folder of an evaluation")
    folders = [settings.data, settings.questions, *settings.models.values(), *settings.trainings.values()]
    for folder in folders:
        if folder and not Path(folder).is_dir():
            raise InputError(str(folder), "no such folder", "Check the folders of the report")
    results = Evaluations(settings.models).results
    _write(Path(settings.out) / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def write_report(settings: ReportSettings, results: Results) -> Path:
    """Write `out/report.md` and the page `out/index.html`, a file that loads nothing; equal input gives equal bytes.

    What is missing (a task, a data set, a training's log) is left out or shown as a dash.

    Returns:
        The page.

    Raises:
        InputError: a file of the data sets, questions or predictions that cannot be read, an unknown baseline,
            matplotlib is not installed, or `out` cannot be written.
    """
    baseline = settings.baseline or next(iter(results))
    comparisons, refused = compare_all(settings, baseline, results)
    tables = score_tables(results, paper_results() if settings.paper else None)
    facts = {
        "note": settings.note,
        "tables": tables,
        "notes": notes(results),
        "baseline": baseline,
        "comparisons": comparisons,
        "refused": refused,
    }
    _write(Path(settings.out) / "report.md", render_markdown("report.md.jinja", **facts))

    answers = sample_answers(Evaluations(settings.models, question_sets(settings.questions)), settings.seed)
    sampled = [sample_data_set(Path(settings.data) / name, settings.seed) for name in DATA_SETS if settings.data]
    data_sets = [each for each in sampled if each]
    if missing := answers.missing + sum(each.missing for each in data_sets):
        logger.warning("%d pictures of the report cannot be shown; the page says why", missing)
    page = page_html(
        "report.html.jinja",
        **facts,
        images="data:",
        scores=scores_html(tables, notes(results), {table.title: bar_charts(table) for table in tables if table.main}),
        loss=loss_chart(_logs(settings.trainings), {name: number for number, name in enumerate(results)}),
        data_sets=data_sets,
        missing=missing,
        models=list(results),
        answers=answers.shown,
        has_filters=bool(answers.shown),
        tasks=answers.tasks,
        kinds={kind: words for kind, words in FILTERS.items() if kind in answers.kinds},
        sampling={"of": answers.total, "each": PER_FILTER, "most": MAX_QUESTIONS, "seed": settings.seed},
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
        raise InputError("baseline", f"{baseline!r} is not a model of the report", f"Use one of {', '.join(results)}")
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


def folders_by_key(key: str, arguments: Sequence[str]) -> dict[str, dict[str, str]]:
    """The key of `cadvi report` and `cadvi view` with the folders before the first key."""
    return {key: named_folders(arguments)}


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


def _written_before_records(out: Path) -> Sequence[str]:
    """What an earlier version wrote to its folder: scores by model and task, and the pages about them."""
    try:
        results = json.loads(read_file(out / "results.json"))
        scores = [found for model in results.values() for found in model.values()]
        is_ours = bool(scores) and all("n" in found for found in scores) and (out / "report.md").is_file()
        return FILES if is_ours else ()
    except (OSError, ValueError, AttributeError, TypeError):
        return ()


def _logs(trainings: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Name → training.json, of the trainings that have one."""
    files = {name: Path(folder) / "training.json" for name, folder in trainings.items()}
    return {name: read_json(file, "Train again") for name, file in files.items() if file.is_file()}


def _write(path: Path, text: str) -> Path:
    with writing(path, every_error=True):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.encode("utf-8", "replace").decode())  # a prediction may hold half a character
    return path
