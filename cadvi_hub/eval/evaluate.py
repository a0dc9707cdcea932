"""One model over benchmark tasks, by lighteval's pipeline: its results and details, and our flat table of scores."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED
from cadvi_hub.eval.benchmarks.stored import check_complete, missing_questions
from cadvi_hub.eval.models.load import load_model
from cadvi_hub.eval.score_table import format_scores
from cadvi_hub.eval.scoring import task_scores
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.chat import public_name
from cadvi_hub.hub.upload import hub_faults

if TYPE_CHECKING:
    from lighteval.logging.info_loggers import DetailsLogger
    from lighteval.models.abstract_model import LightevalModel

Row = dict[str, Any]


def evaluate_and_show(settings: EvaluateSettings) -> str:
    """`evaluate`, with its scores as a table."""
    return format_scores(evaluate(settings))


def evaluate(settings: EvaluateSettings, model: "LightevalModel | None" = None) -> dict[str, Any]:
    """Ask `settings.tasks` of one model and write, below `settings.out`:

    - results.json: what this function returns;
    - predictions/<task>.jsonl: per question its row `index` in the set and what `scoring.prediction` gives, with
      `ranked` (the likeliest option) where options are ranked, in the set's order;
    - results/ and details/: lighteval's own files, the details without pictures (the row index finds them).

    With `results_org`, lighteval pushes its own files to the Hub, too, when all is written here.

    A run that was stopped goes on from the stored replies; its results.json and predictions/ are then the same to the
    byte as without the stop. (Lighteval's own files bear the time.) Both are of one run: what an earlier one in the
    same folder, perhaps of another model or over other sets, left there is replaced or removed.

    Args:
        settings: what to run.
        model: a model in memory, in place of the one that `settings.model` names.

    Returns:
        Task → metric → value, "<metric>_interval" → its 95 % interval (Wilson's for shares, normal for token_f1 and
        position_bias), "n" → number of questions; "<metric>_n" where a metric has its own n. Closed sets: accuracy,
        unreadable (answers that are no option; they are wrong), pair_accuracy or consistency, by category too, each
        also as tolerant_<metric>. With `both_orders`, "<task>_swapped" is a task of its own, and the task itself has
        both_orders_accuracy (right in both), position_bias (−1 to 1), and not_swapped_n: questions that were asked in
        one order only, for nobody knows the answer in the other. "images" and "questions" say in words that pictures
        were blanked or questions are missing.

    Raises:
        InputError: unknown task, question set that does not load or is partial, folder that cannot be written, Hub
            that refuses the results (its token is tried before anything is asked).
    """
    from huggingface_hub import HfFileSystem
    from lighteval.logging.evaluation_tracker import EvaluationTracker

    from cadvi_hub.eval.models.blank_images import BlankImages
    from cadvi_hub.eval.pipeline import TaskPipeline
    from cadvi_hub.eval.tasks import task_configs

    places = question_places(settings)
    out = Path(settings.out)
    try:
        (out / "predictions").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(out), f"cannot be written ({error})", "Choose another folder") from error
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
    model = model or load_model(settings.model, out, settings.name, settings.batch_size, settings.endpoint)
    pipeline = TaskPipeline(
        configs=task_configs(places, settings.max_tokens, settings.both_orders, settings.rank_options),
        tracker=tracker,
        model=BlankImages(model.config, model) if settings.blank_images else model,  # type: ignore[union-attr]
        max_samples=settings.max_samples,
    )
    pipeline.evaluate()
    details = pipeline.get_details()
    rows = {task.name: _rows(details[name]) for name, task in pipeline.tasks_dict.items() if name in details}
    (out / "results.json").unlink(missing_ok=True)  # it goes with the predictions, which change now
    for file in (out / "predictions").glob("*.jsonl"):
        if file.stem not in rows:  # of another run, perhaps another model's
            file.unlink()
    for task, predictions in rows.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in predictions)
        _write_text("".join(lines), out / "predictions" / f"{task}.jsonl")
    scores = {task: task_scores(task, rows, settings.both_orders) | notes[task.removesuffix(SWAPPED)] for task in rows}
    _write_text(json.dumps(scores, indent=2) + "\n", out / "results.json")
    for config in tracker.task_config_logger.tasks_configs.values():
        config.hf_repo = public_name(config.hf_repo)  # others need not know where it lay on this machine
    with hub_faults(hub) if settings.results_org else nullcontext():
        HfFileSystem.clear_instance_cache()  # it would not see what an earlier evaluation of this process pushed
        pipeline.save_and_push_results()
    return scores


def question_places(settings: EvaluateSettings) -> dict[str, str]:
    """Set → the folder or Hub repo id of its questions, for the sets that are asked for.

    Raises:
        InputError: unknown task, or one that has no place.
    """
    data = settings.data if isinstance(settings.data, dict) else dict.fromkeys(BENCHMARKS, str(settings.data))
    if unknown := {*settings.tasks, *data} - set(BENCHMARKS):
        raise InputError("tasks", f"unknown: {', '.join(sorted(unknown))}", f"Use some of {', '.join(BENCHMARKS)}")
    if lacking := set(settings.tasks) - set(data):
        raise InputError("data", f"it has no place for {', '.join(sorted(lacking))}", "Add these tasks to data")
    if settings.tasks or isinstance(settings.data, dict):
        chosen = set(settings.tasks or data)
    else:
        chosen = _present(settings.data)
    return {task: data[task] for task in BENCHMARKS if task in chosen}


def _notes(task: str, place: str, settings: EvaluateSettings) -> dict[str, str]:
    """What a reader of the scores must know."""
    notes = {"images": "images blanked"} if settings.blank_images else {}
    if not settings.allow_partial:
        check_complete(place, task)
    elif missing := missing_questions(place, task):
        notes["questions"] = f"partial: {missing} missing"
    return notes


def _present(data: str) -> set[str]:
    """The sets that a folder or Hub repo has."""
    if Path(data).is_dir():
        found = {task for task in BENCHMARKS if any(Path(data, task).glob("*.parquet"))}
    else:
        from datasets import get_dataset_config_names

        try:
            found = set(get_dataset_config_names(data)) & set(BENCHMARKS)
        except (OSError, ValueError) as error:
            raise InputError(
                f"data {data}", f"no question sets ({error})", "Make them with `cadvi benchmarks`"
            ) from error
    if not found:
        raise InputError(f"data {data}", "it has no question set", "Make one with `cadvi benchmarks`")
    return found


def _rows(details: "list[DetailsLogger.Detail]") -> list[Row]:
    """The predictions of one task; its details come into the set's order and lose their pictures."""
    from cadvi_hub.eval.tasks import predicted

    details.sort(key=lambda detail: int(detail.doc.id))  # lighteval's id is the row's index; it shuffles the rows
    rows: dict[int, Row] = {}
    ranked: dict[int, str] = {}
    for detail in details:
        index, doc, response = int(detail.doc.id), detail.doc, detail.model_response
        doc.images = None  # else every picture is encoded into the details
        if response.text:
            rows[index] = {"index": index, **predicted(doc, response)}
        else:
            likeliest = max(range(len(doc.choices)), key=response.logprobs.__getitem__)
            ranked[index] = doc.choices[likeliest]
    return [row | ({"ranked": ranked[index]} if ranked else {}) for index, row in rows.items()]


def _write_text(text: str, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
