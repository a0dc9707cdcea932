"""A set of your own: multiple-choice questions about one or more images, in JSON lines or a CSV file.

You name the columns (`columns` of the settings), so that no file has to be rewritten. A question that has `<image>`
for each of its images is used as it stands; otherwise the images are put in front of it, and the options after it.
Options are words, which the model writes, or texts under the letters A, B, C …; the right answer is given as an option
or as its letter. A question without options is open: any text is an answer, and it is right where it equals the
reference.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, named, prompt_text
from cadvi_hub.eval.benchmarks.reading import csv_rows, json_lines, make_all
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, identifier, text, unreadable


def read_choices(path: Path, columns: ChoiceSettings) -> Iterator[Question]:
    """Yield one question per row of `path` (`.csv`, or JSON lines), in the file's order.

    Raises:
        InputError: columns that are not there, or a bad row, with file and line.
    """
    needed = [columns.question, columns.answer, *columns.images, *columns.option_columns]
    needed += [name for name in (columns.id, columns.category, columns.group) if name]
    rows = csv_rows(path, needed) if path.suffix.lower() == ".csv" else json_lines(path)
    number = 0

    def make(row: Row, place: str) -> Question:
        nonlocal number
        number += 1
        if lacking := [name for name in needed if name not in row]:
            raise unreadable(
                f"it has no column {', '.join(lacking)}", "Name the columns with --columns.question and so on"
            )
        names = [name for column in columns.images for name in _texts(row[column], column)]
        if not names:
            raise unreadable("it has no image")
        given = list(columns.options) or [each for name in columns.option_columns for each in _texts(row[name], name)]
        if len(set(given)) != len(given) or len(given) > len(string.ascii_uppercase):
            raise unreadable(f"an option is there twice, or more than {len(string.ascii_uppercase)}")
        letters = string.ascii_uppercase[: len(given)] if columns.letters else ""
        options, answer = tuple(letters or given), identifier(row, columns.answer).strip()
        if letters and answer in given:
            answer = letters[given.index(answer)]
        if options and answer not in options:
            raise unreadable(f"answer {answer!r} is not among {', '.join(given)}")
        return Question(
            identifier(row, columns.id) if columns.id else str(number),
            named(*names),
            _prompt(text(row, columns.question), len(names), given, letters),
            options,
            answer,
            path.name,
            place,
            identifier(row, columns.category) if columns.category else "",
            identifier(row, columns.group) if columns.group else "",
        )

    if not columns.images:
        raise InputError("columns.images", "it names no column", "Name the columns that hold the image files")
    return make_all(path, rows, make)


def _texts(value: Any, column: str) -> Sequence[str]:
    """One text, or a list of them; a CSV field may hold a JSON list."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise unreadable(f"{column} is not a JSON list ({error})") from error
    texts = value if isinstance(value, list) else [value] if value not in ("", None) else []
    if not all(isinstance(each, str) and each.strip() for each in texts):
        raise unreadable(f"{column} must be a text or a list of texts")
    return [each.strip() for each in texts]


def _prompt(question: str, images: int, options: Sequence[str], letters: str) -> str:
    if placeholders := question.count(IMAGE_PLACEHOLDER):
        if placeholders != images:
            raise unreadable(f"{images} image(s) and {placeholders} {IMAGE_PLACEHOLDER} in the question")
        return question
    return prompt_text("choices", question=question, images=images, options=options, letters=letters)


BENCHMARK = Benchmark(
    name="choices",
    columns=(ReportColumn("accuracy", "accuracy", None, "Questions of your own about one or more pictures."),),
    own_options=True,
    own_columns=True,
    question_file=False,
)
