"""Multiple-choice questions about one or more images, from named columns: your own sets, and many published ones.

You name the columns (`columns` of the settings), so that no file has to be rewritten. A question that has `<image>`
for each of its images is used as it stands; otherwise the images are put in front of it, and the options after it.
Options are words, which the model writes, or texts under the letters A, B, C …; the right answer is given as an option
or as its letter. A question without options is open: any text is an answer, and it is right where it equals the
reference.

A published set is `from_columns(…)` with its columns, and a function that makes them of a row where they need work.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.json_stream import parse_json
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, embedded, prompt_text
from cadvi_hub.eval.benchmarks.reading import make_all, source_rows
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, identifier, text, unreadable

Prepare = Callable[[Row, int], Row | None]  # a row and the seed → a row of the columns; None leaves it out

_LETTER = re.compile(r"\(?([A-Z])[.):]?", re.I)  # "(A)", "A." or "a)"
_LABEL = re.compile(r"\(?([A-Z])[.):]\s+", re.I)  # before an option: "(A) a dog"
_PLACE = "\ue000"  # stands for an image while a prompt is rendered, which takes no image from a value


def from_columns(
    columns: ChoiceSettings, prepare: Prepare | None = None, split: str = ""
) -> Callable[[Path, int], Iterator[Question]]:
    """A reader of published files, (path, seed) → questions.

    Args:
        columns: which columns have what.
        prepare: makes these columns of a row; it may raise a RowError.
        split: which split is asked, where a folder has several.
    """

    def read(path: Path, seed: int) -> Iterator[Question]:
        return read_choices(path, columns, None if prepare is None else lambda row: prepare(row, seed), split)

    return read


def read_choices(
    path: Path, columns: ChoiceSettings, prepare: Callable[[Row], Row | None] | None = None, split: str = ""
) -> Iterator[Question]:
    """Yield one question per row of `path`, in the order of files and rows.

    Args:
        path: a file (`.csv`, `.jsonl`, `.json`, `.parquet`), a folder of them, or what `save_to_disk` wrote.
        columns: which columns have what.
        prepare: makes these columns of a row; None leaves the row out.
        split: which files of a folder are read, by their names; "" reads all.

    Raises:
        InputError: columns that are not there, or a bad row, with file and line.
    """
    if not columns.images:
        raise InputError("columns.images", "it names no column", "Name the columns that hold the image files")
    if columns.swap_words and len(set(map(str.casefold, columns.swap_words))) != 2:
        raise InputError("columns.swap_words", "it needs two different words", 'Name two, as ["first", "second"]')
    return _read(path, columns, prepare or (lambda row: row), split)


def _read(path: Path, columns: ChoiceSettings, prepare: Callable[[Row], Row | None], split: str) -> Iterator[Question]:
    count = 0
    for source, rows in source_rows(path, split):

        def make(row: Row, place: str, source: Path = source) -> Question | None:
            nonlocal count
            count += 1
            prepared = prepare(row)
            return None if prepared is None else _question(prepared, columns, str(count), source.name, place)

        yield from filter(None, make_all(source, rows, make))


def _question(row: Row, columns: ChoiceSettings, number: str, source: str, place: str) -> Question:
    needed = [columns.question, columns.answer, *columns.images, *columns.option_columns]
    needed += [name for name in (columns.id, columns.category, columns.group) if name]
    if lacking := [name for name in needed if name not in row]:
        there = ", ".join(map(str, row))
        raise unreadable(
            f"it has no column {', '.join(lacking)}; there are {there}", "Name the columns with --columns.question …"
        )
    images = tuple(embedded(each, name) for name in columns.images for each in _items(row[name]))
    if not images:
        raise unreadable("it has no image")
    given = list(columns.options) or [each for name in columns.option_columns for each in _texts(row[name], name)]
    texts = [option for option in given if IMAGE_PLACEHOLDER not in option]  # several options may be images
    if len(set(texts)) != len(texts) or len(given) > len(string.ascii_uppercase):
        raise unreadable(f"an option is there twice, or more than {len(string.ascii_uppercase)}")
    letters = string.ascii_uppercase[: len(given)] if columns.letters else ""
    options = tuple(letters or given)
    swap_words = tuple(columns.swap_words) if len(images) == 2 else ()
    return Question(
        identifier(row, columns.id) if columns.id else number,
        images,
        _prompt(text(row, columns.question), len(images), given, letters, columns.options_in_question),
        options,
        _answer(identifier(row, columns.answer).strip(), given, letters),
        source,
        place,
        identifier(row, columns.category) if columns.category else "",
        identifier(row, columns.group) if columns.group else "",
        swap_words,
    )


def _answer(answer: str, given: Sequence[str], letters: str) -> str:
    """The right one of the options; with letters, it may be written as an option's text, its letter, or "(a)"."""
    if not given or (not letters and answer in given):
        return answer
    letter = _LETTER.fullmatch(answer)
    if answer in given:
        return letters[given.index(answer)]
    if letter and letter[1].upper() in letters:
        return letter[1].upper()
    raise unreadable(f"answer {answer!r} is not among {', '.join(given)}")


def unlabelled(options: Sequence[str]) -> list[str]:
    """Options without the letters in front of them ("(A) a dog"), if all have the letter of their place."""
    labels = [_LABEL.match(option) for option in options]
    if all(
        label and label[1].upper() == letter for label, letter in zip(labels, string.ascii_uppercase, strict=False)
    ):
        return [option[label.end() :].strip() for option, label in zip(options, labels, strict=True) if label]
    return list(options)


def _items(value: Any) -> list[Any]:
    """One value, or a list of them without those that are null; a CSV field may hold a JSON list."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            return [value]
    return [each for each in (value if isinstance(value, list) else [value]) if each not in ("", None)]


def _texts(value: Any, column: str) -> Sequence[str]:
    texts = _items(value)
    if not all(isinstance(each, str) and each.strip() for each in texts):
        raise unreadable(f"{column} must be a text or a list of texts")
    return [each.strip() for each in texts]


def _prompt(question: str, images: int, options: Sequence[str], letters: str, is_listed: bool | None) -> str:
    """The whole question. Images have their places in it (or in its options), or come in front of it."""
    places = sum(each.count(IMAGE_PLACEHOLDER) for each in (question, *([] if is_listed else options)))
    if places not in (0, images):
        raise unreadable(f"{images} image(s) and {places} {IMAGE_PLACEHOLDER} in the question")
    if places and is_listed is None and question.count(IMAGE_PLACEHOLDER) == images:
        return question
    values = [each.replace(IMAGE_PLACEHOLDER, _PLACE) for each in (question, *options)]
    rendered = prompt_text(
        "choices",
        question=values[0],
        images=0 if places else images,
        options=values[1:],
        letters=letters,
        listed=not is_listed,
    )
    return rendered.replace(_PLACE, IMAGE_PLACEHOLDER)


BENCHMARK = Benchmark(
    name="choices",
    columns=(ReportColumn("accuracy", "accuracy", None, "Questions of your own about one or more pictures."),),
    own_options=True,
    own_columns=True,
    question_file=False,
    swaps=True,
)
