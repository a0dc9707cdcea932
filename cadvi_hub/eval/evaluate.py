"""One model over benchmark tasks, by lighteval's pipeline: its results and details, and our flat table of scores."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, write_json_lines, write_text
from cadvi_hub.core.output import OutputFolder, open_output
from cadvi_hub.core.quiet import without_bars_of_datasets, without_known_warnings
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED
from cadvi_hub.eval.benchmarks.stored import check_complete, missing_questions
from cadvi_hub.eval.models.load import load_model
from cadvi_hub.eval.reader import read_with_model
from cadvi_hub.eval.score_table import format_scores
from cadvi_hub.eval.scoring import task_scores
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.chat import public_name
from cadvi_hub.hub.upload import hub_faults

if TYPE_CHECKING:
    from cadvi_hub.eval.models.base import EvalModel  # imports lighteval

RESULTS, PREDICTIONS = "results.json", "predictions"


def evaluate_and_show(settings: EvaluateSettings) -> str:
    """`evaluate`, with its scores as a table."""
    return format_scores(evaluate(settings))


def evaluate(settings: EvaluateSettings, model: "EvalModel | None" = None) -> dict[str, Any]:
    """Ask `settings.tasks` of one model and write, below `settings.out`:

    - results.json: what this function returns;
    - predictions/<task>.jsonl: per question its row `index` in the set and what `scoring.prediction` gives, with
      `ranked` (the likeliest option) where options are ranked, in the set's order;
    - results/ and details/: lighteval's own files, the details without pictures (the row index finds them).

    With `results_org`, lighteval also pushes its own files to the Hub, after everything is written here.

    A stopped run continues from the stored replies; its results.json and predictions/ are byte-identical to those of
    a run without the stop. (lighteval's own files contain the time.) Both belong to one run: files of an earlier run
    in the same folder are replaced or removed, once those of this run are whole.

    Args:
        settings: what to run.
        model: a model in memory; it replaces the one that `settings.model` names.

    Returns:
        Task → metric → value, "<metric>_interval" → its 95 % interval (Wilson's for shares, normal for token_f1 and
        position_bias), "n" → number of questions; "<metric>_n" where a metric has its own n. Closed sets: accuracy,
        unreadable (answers that are no option; they are wrong), pair_accuracy or consistency, by category too, each
        also as tolerant_<metric>. With `both_orders`, "<task>_swapped" is a task of its own, and the task itself has
        both_orders_accuracy (right in both), position_bias (1: always the first image, −1: always the second), and
        not_swapped_n: questions that were asked in one order only, because their answer in the other is unknown.
        With a `reader`, reader_accuracy is the tolerant one with its readings, reader_read what it read, and
        reader_unreadable what it did not.
        "unanswered" is the share of questions that got no reply, if there are any; all else is then about the rest.
        "images" and "questions" say in words that pictures were blanked or questions are missing,
        and "served" what the endpoint says about the model.

    Raises:
        InputError: unknown task, question set that does not load or is partial, folder that cannot be written, that
            has files of others or that another process writes to, Hub that refuses the results (its token is tried
            before anything is asked).
    """
    places = question_places(settings.data, settings.tasks)
    _check_name(settings)
    with open_output(Path(settings.out), "cadvi evaluate", _written_before_records) as output:
        output.check([RESULTS, *(f"{PREDICTIONS}/{task}{order}.jsonl" for task in places for order in ("", SWAPPED))])
        return _evaluate(settings, places, output, model)


def _evaluate(
    settings: EvaluateSettings, places: Mapping[str, str], output: OutputFolder, model: "EvalModel | None"
) -> dict[str, Any]:
    from huggingface_hub import HfFileSystem
    from lighteval.logging.evaluation_tracker import EvaluationTracker

    from cadvi_hub.eval.models.blank_images import BlankImages
    from cadvi_hub.eval.pipeline import TaskPipeline
    from cadvi_hub.eval.tasks import task_configs

    without_known_warnings()
    out = output.path
    tracker = EvaluationTracker(
        output_dir=str(out),
        push_to_hub=bool(settings.results_org),
        hub_results_org=settings.results_org,
        public=settings.public,
    )
    hub = f"results for {settings.results_org} on {tracker.api.endpoint}"
    if settings.results_org:
        with hub_faults(hub):
            tracker.api.whoami()
    notes = {task: _notes(task, place, settings) for task, place in places.items()}
    model = model or load_model(
        settings.model,
        out,
        settings.name,
        settings.batch_size,
        settings.endpoint,
        settings.retry_unreadable,
        settings.dtype,
    )
    if served := model.served():  # before anything is asked, as the key of each reply has it
        notes = {task: note | {"served": served} for task, note in notes.items()}
    pipeline = TaskPipeline(
        configs=task_configs(places, settings.max_tokens, settings.both_orders, settings.rank_options),
        tracker=tracker,
        model=BlankImages(model.config, model) if settings.blank_images else model,
        max_samples=settings.max_samples,
    )
    untyped: Any = pipeline  # lighteval's own methods lack types
    untyped.evaluate()
    answered = pipeline.answered()
    rows = {task: found.predictions for task, found in answered.items()}
    if settings.reader.model:
        asked = {task: found.asked for task, found in answered.items()}
        rows = read_with_model(rows, asked, settings.reader, out / "reader_replies.sqlite")
    scores = {
        task: task_scores(task, rows, settings.both_orders, found.shares) | notes[task.removesuffix(SWAPPED)]
        for task, found in answered.items()
    }
    with output.replacing(last=RESULTS) as new:
        (new / PREDICTIONS).mkdir()
        for task, predictions in rows.items():
            write_json_lines(new / PREDICTIONS / f"{task}.jsonl", predictions)
        write_text(new / RESULTS, json.dumps(scores, indent=2) + "\n")
    for config in tracker.task_config_logger.tasks_configs.values():
        config.hf_repo = public_name(config.hf_repo)  # results do not contain a path of this machine
    with hub_faults(hub) if settings.results_org else nullcontext(), without_bars_of_datasets():
        HfFileSystem.clear_instance_cache()  # otherwise it misses what an earlier evaluation of this process pushed
        untyped.save_and_push_results()
    return scores


def question_places(data: Mapping[str, str] | str, tasks: Sequence[str]) -> dict[str, str]:
    """Set → the folder or Hub repo id of its questions, for the sets that are asked for.

    Args:
        data: folder of question sets or Hub repo id, or a mapping of set to either.
        tasks: names of the sets; empty takes all that `data` has.

    Raises:
        InputError: unknown task, or one that has no place.
    """
    places = {} if isinstance(data, str) else data
    if unknown := [task for task in {*tasks, *places} if task not in BENCHMARKS]:
        raise InputError("tasks", f"unknown: {', '.join(sorted(unknown))}", f"Use some of {', '.join(BENCHMARKS)}")
    if not isinstance(data, str) and (lacking := set(tasks) - set(places)):
        raise InputError("data", f"it has no place for {', '.join(sorted(lacking))}", "Add these tasks to data")
    chosen = set(tasks) or (_present(data) if isinstance(data, str) else set(places))
    return {task: data if isinstance(data, str) else data[task] for task in BENCHMARKS.in_order(chosen)}


def _check_name(settings: EvaluateSettings) -> None:
    """Make sure that the model's name in the results cannot lead out of the folder: lighteval makes folders of it."""
    name = settings.name or Path(settings.model).name
    parts = name.split("/")
    if len(parts) > 2 or any(part in ("", ".", "..") or not part.isprintable() or len(part) > 200 for part in parts):
        hint = "Give a name such as llava or owner/llava with --name"
        raise InputError("name", f"{name!r} cannot name a model in the results", hint)


def _written_before_records(out: Path) -> list[str]:
    """What an earlier version wrote to its folder: scores by task, and the predictions of these tasks."""
    try:
        scores = json.loads(read_file(out / RESULTS))
        if scores and all(task.removesuffix(SWAPPED) in BENCHMARKS and "n" in found for task, found in scores.items()):
            return [RESULTS, *(f"{PREDICTIONS}/{task}.jsonl" for task in scores)]
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    return []


def _notes(task: str, place: str, settings: EvaluateSettings) -> dict[str, str]:
    """Facts that a reader of the scores must know."""
    notes = {"images": "images blanked"} if settings.blank_images else {}
    if not settings.allow_partial:
        check_complete(place, task)
    elif missing := missing_questions(place, task):
        notes["questions"] = f"partial: {missing} missing"
    return notes


def _present(data: str) -> set[str]:
    """The sets that a folder or Hub repo has."""
    if Path(data).is_dir():
        found = {file.parent.name for file in Path(data).glob("*/*.parquet") if file.parent.name in BENCHMARKS}
    else:
        from datasets import get_dataset_config_names

        try:
            found = {name for name in get_dataset_config_names(data) if name in BENCHMARKS}
        except (OSError, ValueError) as error:
            raise InputError(
                f"data {data}", f"no question sets ({error})", "Make them with `cadvi benchmarks`"
            ) from error
    if not found:
        raise InputError(f"data {data}", "it has no question set", "Make one with `cadvi benchmarks`")
    return found
