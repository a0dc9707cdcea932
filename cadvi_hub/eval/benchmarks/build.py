"""`cadvi benchmarks build`: one set from its question file or annotations and its pictures.

out/<task>/test.parquet     the questions whose pictures are all there
out/<task>/missing.jsonl    every picture that is not, with its question and the reason
out/<task>/build.json       what was counted, the faults of the published file, and size and digest of each file
out/<task>/_work/           whole shards of a build under way (`writing.py`)
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from cadvi_hub.builder.counts import Counted
from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files, replacing, write_json
from cadvi_hub.core.manifest import manifest_of
from cadvi_hub.core.output import open_output
from cadvi_hub.eval.benchmarks.choices import read_choices
from cadvi_hub.eval.benchmarks.faults import Faults
from cadvi_hub.eval.benchmarks.pictures import PictureError, Pictures, embedded_rows
from cadvi_hub.eval.benchmarks.question import PictureSource, Question
from cadvi_hub.eval.benchmarks.question_file import read_question_file
from cadvi_hub.eval.benchmarks.reading import local_copy
from cadvi_hub.eval.benchmarks.registry import find_benchmark
from cadvi_hub.eval.benchmarks.under_way import KeptQuestions, StaleShardsError, under_way
from cadvi_hub.eval.benchmarks.writing import (
    COMMAND,
    MISSING_FILE,
    RECORD,
    SHARDS,
    open_card,
    set_before_records,
    write_questions,
)
from cadvi_hub.eval.settings import BenchmarkSettings, Format

_DATA = (".json", ".jsonl", ".csv", ".parquet", ".arrow")


def build_benchmark(settings: BenchmarkSettings) -> str:
    """Write the set and what was counted; returns a summary for the terminal.

    A run that was stopped leaves an older set as it was. Run again with the same settings and questions, it goes on
    after its last whole shard, and the set is the same to the byte as without the stop.

    Raises:
        InputError: settings that do not go together, a bad row (with file and place), not one question with its
            pictures, or a folder that cannot be written or that another build is writing to.
    """
    is_published = not find_benchmark(settings.task, "task").question_file
    place = local_copy(settings.questions) if is_published else settings.questions
    if not (roots := _roots(settings)) and place.is_dir():
        downloaded = place != settings.questions
        roots = [place.parents[1] if downloaded else place]  # the Hub client's cache holds links to files beside them
    settings = replace(settings, questions=place, images=list(roots))
    try:
        return _build(settings)
    except StaleShardsError:
        return _build(settings)  # the shards that a killed run had left are gone now


def _build(settings: BenchmarkSettings) -> str:
    benchmark, task, out = find_benchmark(settings.task, "task"), settings.task, settings.out
    faults = Faults(benchmark)
    questions = Counted(_count(faults.watch(_questions(settings, faults.flags)), task))
    pictures = _pictures(settings)
    with open_card(out):  # refuses now, not at the end
        pass
    with open_output(out / task, COMMAND, set_before_records) as output:
        output.check([SHARDS, RECORD])
        output.claim([MISSING_FILE])
        with under_way(out / task, _inputs(settings)) as shards, replacing(out / task / MISSING_FILE) as file:
            missing = _Missing(file)
            rows = embedded_rows(benchmark, questions, pictures, missing, KeptQuestions(shards))
            written = write_questions(rows, out, missing.questions, kept={task: shards} if shards else {}).get(task, 0)
        if not missing.questions.counts:
            (out / task / MISSING_FILE).unlink()
        if not written:
            problem = f"of {questions.result} questions none has its pictures"
            raise InputError(f"{out / task}", problem, "Check --images; missing.jsonl there names what was looked for")
        report = {
            "config": task,
            "format": _format(settings),
            "seed": settings.seed,
            "questions": questions.result,
            "rows": written,
            "complete": not missing.questions.counts,
            "drops": missing.questions.as_dict(),
            "flags": faults.flags.as_dict(),
            "files": manifest_of(out / task, (out / task).glob(SHARDS)),
        }
        write_json(out / task / RECORD, report)
    return _summary(report)


def _format(settings: BenchmarkSettings) -> Format:
    """The format that is meant.

    Raises:
        InputError: an unknown set, or a format that it does not have.
    """
    benchmark = find_benchmark(settings.task, "task")
    chosen = settings.format or ("question_file" if benchmark.question_file else "upstream")
    if chosen == "upstream" and not (benchmark.upstream or benchmark.summaries or benchmark.own_columns):
        raise InputError("format", f"{benchmark.name} has no upstream annotations", "Use question_file")
    if chosen == "question_file" and benchmark.own_columns:
        raise InputError("format", f"{benchmark.name} is made of columns that you name", "Leave format out")
    if chosen == "question_file" and benchmark.summaries:
        raise InputError("format", f"{benchmark.name} is made of a built data set", "Leave format out")
    return chosen


def _questions(settings: BenchmarkSettings, flags: Drops) -> Iterator[Question]:
    benchmark = find_benchmark(settings.task, "task")
    if benchmark.own_columns and _format(settings):
        return read_choices(settings.questions, settings.columns)
    if _format(settings) == "upstream" and benchmark.upstream:
        return benchmark.upstream(settings.questions, settings.seed)
    if benchmark.summaries:
        return benchmark.summaries(settings.questions, flags)
    return read_question_file(settings.questions, settings.task)


def _roots(settings: BenchmarkSettings) -> Sequence[Path]:
    return [settings.images] if isinstance(settings.images, Path) else settings.images


def _pictures(settings: BenchmarkSettings) -> PictureSource:
    roots = _roots(settings)
    found = find_benchmark(settings.task, "task").pictures if _format(settings) == "upstream" else None
    return (found or Pictures)(roots)


def _inputs(settings: BenchmarkSettings) -> dict[str, Any]:
    """What decides the rows, but for the pictures themselves."""
    path = settings.questions
    files = sorted(file for file in path.rglob("*") if file.suffix in _DATA) if path.is_dir() else [path]
    return {
        "format": _format(settings),
        "seed": settings.seed,
        "questions": digest_of_files([file for file in files if file.is_file()]),
        "images": [str(root.resolve()) for root in _roots(settings)],
        **({"columns": asdict(settings.columns)} if find_benchmark(settings.task, "task").own_columns else {}),
    }


def _count(questions: Iterator[Question], task: str) -> Generator[Question, None, int]:
    """The questions, with a progress bar; returns how many there were."""
    from tqdm import tqdm

    total = 0
    for question in tqdm(questions, desc=task, unit=" questions", disable=None):
        total += 1
        yield question
    return total


class _Missing:
    """Lists pictures that cannot be embedded; `questions` counts those left out, each once."""

    def __init__(self, file: IO[bytes]):
        self.questions = Drops()
        self._file, self._last = file, ""

    def add(self, question: Question, name: str, error: PictureError) -> None:
        line = {"question": question.id, "image": name, "reason": error.reason, "fault": error.problem}
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if question.place + question.id != self._last:
            self._last = question.place + question.id
            self.questions.add(error.reason, f"{question.id}: {name}")


def _summary(report: dict[str, Any]) -> str:
    lines = [f"{report['config']}: {report['rows']} of {report['questions']} questions"]
    for title, key in (("left out", "drops"), ("found in the published file", "flags")):
        for reason, counted in report[key].items():
            lines.append(f"  {title}: {reason}, {counted['count']} (first: {counted['first'][0]})")
    if not report["complete"]:
        lines.append("  the set is partial: missing.jsonl beside it names the pictures, and tasks refuse to score it")
    return "\n".join(lines)
