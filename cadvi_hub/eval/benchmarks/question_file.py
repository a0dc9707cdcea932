"""The question files that the paper's authors published, and others of that form.

JSON lines with the keys `image` (file names below the image folder), `text` (the whole question, `<image>` where each
image goes), `answer`, `question_id` and, for SVO Probes, `category`. Questions are used as they stand. Lines of the
set `single_image` may list their own `options`.
Format: the question files published with the paper (arXiv 2406.09240)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.question import Question, named
from cadvi_hub.eval.benchmarks.reading import json_lines, make_all
from cadvi_hub.eval.benchmarks.registry import find_benchmark
from cadvi_hub.sources.rows import Row, identifier, items, text, unreadable


def read_question_file(path: Path, task: str) -> Iterator[Question]:
    """Yield the questions of file `path`, in its order.

    Raises:
        InputError: unknown task; torn line, missing key, answer that is no option, or another number of placeholders
            than of images (each with file and line); a pair whose halves do not follow each other, or half a pair.
    """
    benchmark = find_benchmark(task, str(path))

    def make(row: Row, place: str) -> Question:
        return _question(row, benchmark, path.name, place)

    questions = make_all(path, json_lines(path), make)
    if not benchmark.in_pairs:
        yield from questions
        return
    seen: set[str] = set()
    for group, members in groupby(questions, key=lambda question: question.group):
        halves = list(members)
        if len(halves) != 2 or group in seen:
            problem = f"pair {group!r} has {len(halves)} question(s) in a row, not 2"
            if group in seen:
                problem = f"pair {group!r} is there a second time"
            raise InputError(str(path), problem, "Put both questions of a pair under each other, once")
        seen.add(group)
        yield from halves


def _question(row: Row, benchmark: Benchmark, source: str, place: str) -> Question:
    names, question, answer = items(row, "image"), text(row, "text"), text(row, "answer")
    question_id = identifier(row, "question_id")
    options = row.get("options", []) if benchmark.own_options else benchmark.options
    if not isinstance(options, (list, tuple)) or not all(isinstance(value, str) for value in (*options, *names)):
        raise unreadable("image and options must be lists of strings")
    placeholders = question.count(IMAGE_PLACEHOLDER)
    if not benchmark.images == len(names) == placeholders:
        found = f"{len(names)} images and {placeholders} {IMAGE_PLACEHOLDER} in the text"
        raise unreadable(f"{found}, where {benchmark.name} has {benchmark.images}")
    if options and answer not in options:
        raise unreadable(f"answer {answer!r} is not among {', '.join(options)}")
    group = _group(question_id) if benchmark.in_pairs else ""
    category = benchmark.category(row) if benchmark.category else ""
    return Question(question_id, named(*names), question, tuple(options), answer, source, place, category, group)


def _group(question_id: str) -> str:
    group, _, half = question_id.rpartition("_")
    if not group or half not in ("0", "1"):
        raise unreadable(f"question_id {question_id!r} of a pair's question must end in _0 or _1")
    return group
