"""What came of evaluations, trainings and data sets: a table, results.json, and one page that stands on its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cadvi_hub.errors import InputError
from cadvi_hub.eval.report_charts import COLOURS, loss_chart, panels
from cadvi_hub.eval.report_samples import TWO_IMAGE_TASKS, sample_answers, sample_pairs
from cadvi_hub.eval.report_table import COLUMNS, Column, category_columns, cells, format_table, percent, sizes

__all__ = ["ReportSettings", "collect", "format_table", "report", "write_page"]

DATA_SETS = ("v1", "v2")
Results = dict[str, dict[str, dict[str, Any]]]


@dataclass
class ReportSettings:
    """What is reported.

    Attributes:
        models: model name → folder that `evaluate` wrote (results.json, predictions/), in the order of the rows.
        data: folder of built data sets; `v1` and `v2` in it are shown.
        questions: folder with `<task>/test.parquet`, the questions that the models answered.
        out: folder for results.json and index.html.
        trainings: name → output folder of a training (training.json).
        note: what a reader must know about these results, in plain words; stands beside them.
        seed: of the choice of samples.
    """

    models: dict[str, Path]
    data: Path
    questions: Path
    out: Path
    trainings: dict[str, Path] = field(default_factory=dict)
    note: str = ""
    seed: int = 0


def report(settings: ReportSettings) -> str:
    """Write `out/results.json` and `out/index.html`; returns the table, the note and where the page lies.

    Errors as of the two steps.
    """
    results = collect(settings)
    page = write_page(settings, results)
    return "\n\n".join(filter(None, (format_table(results), settings.note, f"Page: {page}")))


def collect(settings: ReportSettings) -> Results:
    """The scores of all models, written to `out/results.json` too.

    Returns:
        Model → task → metric → value between 0 and 1, with "<metric>_interval" and "n" as `evaluate` gives them.

    Raises:
        InputError: no models, a folder that does not exist, results that cannot be read, or `out` cannot be written.
    """
    if not settings.models:
        raise InputError("models", "none is given", "Name at least one model and its evaluation folder")
    folders = [settings.data, settings.questions, *settings.models.values(), *settings.trainings.values()]
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(str(folder), "no such folder", "Check the folders of the report")
    results = {model: _scores(Path(folder) / "results.json") for model, folder in settings.models.items()}
    _write(Path(settings.out) / "results.json", json.dumps(results, indent=2) + "\n")
    return results


def write_page(settings: ReportSettings, results: Results) -> Path:
    """Write `out/index.html`: a single file that loads nothing; equal input gives equal bytes.

    What lacks (a task, a data set, a training's log) is left out or shown as a dash.

    Raises:
        InputError: a file of the data sets, questions or predictions that cannot be read, or `out` cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    table = cells(results, COLUMNS)
    tables = [("", COLUMNS), *((task, category_columns(results, task)) for task in ("svo_probes", "eqben"))]
    logs = {name: _json(Path(folder) / "training.json") for name, folder in settings.trainings.items()}
    colours = {name: number % COLOURS for number, name in enumerate(results)}
    shown = next((name for name in ("v2", "v1") if name in results), list(results)[-1])
    environment = Environment(
        loader=PackageLoader("cadvi_hub.eval", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    page = environment.get_template("report.html.jinja").render(
        note=settings.note,
        tables=[_table(title, columns, results) for title, columns in tables if columns],
        panels=panels(COLUMNS, table),
        loss=loss_chart({name: log for name, log in logs.items() if log}, colours),
        data_sets=[data_set for name in DATA_SETS if (data_set := _data_set(settings, name))],
        model=shown,
        answers=_answers(settings, shown),
    )
    return _write(Path(settings.out) / "index.html", page)


def _scores(file: Path) -> dict[str, dict[str, Any]]:
    scores = _json(file)
    if scores is None:
        raise InputError(str(file), "no such file", "Evaluate the model first")
    if not all(isinstance(metrics, dict) and "n" in metrics for metrics in scores.values()):
        raise InputError(str(file), "these are not results of an evaluation", "Evaluate the model again")
    return scores


def _table(title: str, columns: tuple[Column, ...], results: Results) -> dict[str, Any]:
    rows = cells(results, columns)
    counts = [sizes(column) for column in zip(*rows.values(), strict=True)]
    return {"title": title, "columns": list(zip(columns, counts, strict=True)), "rows": rows}


def _data_set(settings: ReportSettings, name: str) -> dict[str, Any] | None:
    """A finished data set: its build report and sample pairs; None if there is none."""
    folder = Path(settings.data) / name
    build = _json(folder / "build.json")
    if build is None:
        return None
    try:
        files, counted = build["files"], {"rows": build["rows"], "pair_counts": build["pair_counts"]}
        drops = {reason: entry["count"] for reason, entry in build["drops"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(str(folder / "build.json"), f"not a build's report ({error!r})", "Build it again") from error
    return {"name": name, "pairs": sample_pairs(folder, files, settings.seed), "drops": drops, **counted}


def _answers(settings: ReportSettings, model: str) -> list[dict[str, Any]]:
    """Per two-image task that `model` was asked: sample answers, and how many were right and wrong."""
    base = settings.models.get("base") if model != "base" else None
    found = []
    for task in TWO_IMAGE_TASKS:
        samples, right, wrong = sample_answers(
            Path(settings.models[model]), Path(base) if base else None, Path(settings.questions), task, settings.seed
        )
        if samples:
            found.append({"task": task, "samples": samples, "right": right, "wrong": wrong})
    return found


def _json(file: Path) -> dict[str, Any] | None:
    """The JSON object in `file`; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(str(file), f"cannot be read ({error})", "Make it again") from error
    if not isinstance(content, Mapping):
        raise InputError(str(file), "does not hold a JSON object", "Make it again")
    return dict(content)


def _write(path: Path, text: str) -> Path:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode("utf-8", "replace"))  # a prediction may hold half a character
        part.replace(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error})", "Make room or choose another folder") from error
    return path
