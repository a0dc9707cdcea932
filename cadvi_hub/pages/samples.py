"""What a report shows of data sets and answers: rows and questions drawn by a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.evaluations import Evaluations
from cadvi_hub.pages.pictures import thumbnail
from cadvi_hub.pages.rendering import drops_html, pair_html, question_html, row_anchor
from cadvi_hub.pages.rows import DataRows

PAIRS = 6  # shown per data set
PER_FILTER = 3  # questions of a set that are drawn for each model and kind of answer
MAX_QUESTIONS = 18  # of a set, so that a page of ten sets has 360 thumbnails at most


class DataSet(NamedTuple):
    """A finished data set as the page shows it: what its build counted, sample rows as HTML, and the number of their
    pictures that cannot be shown."""

    name: str
    rows: int
    drops: Markup
    pair_counts: Mapping[str, int]
    pairs: Sequence[Markup]
    missing: int


class Answers(NamedTuple):
    """Single questions with all answers as HTML, the number of questions they are drawn from, their sets and kinds of
    answers, and the number of their pictures that cannot be shown."""

    shown: Sequence[Markup]
    total: int
    tasks: Sequence[str]
    kinds: Set[str]
    missing: int


def sample_data_set(folder: Path, seed: int) -> DataSet | None:
    """`PAIRS` rows of the data set that a build made in `folder`, in its order; None if there is none.

    Raises:
        InputError: a file that cannot be read.
    """
    if not (folder / "build.json").is_file():
        return None
    report = DataRows(str(folder), []).report
    try:
        files = [str(folder / Path(name).name) for name in report["files"]]
        drops, number, pair_counts = {"drops": report["drops"]}, report["rows"], report["pair_counts"]
    except (KeyError, TypeError) as error:
        raise InputError(str(folder / "build.json"), f"not a build's report ({error!r})", "Build it again") from error
    rows = DataRows(str(folder), files)
    total = rows.total or 0
    pairs, missing = [], 0
    for index in sorted(random.Random(f"{seed}/{folder.name}").sample(range(total), min(PAIRS, total))):
        row = rows.row(index) or {}
        pictures = [thumbnail(image, f"{folder.name} row {index}") for image in row["images"]]
        missing += sum(not picture.url for picture in pictures)
        pairs.append(pair_html(row, pictures, row_anchor(folder.name, row["id"])))
    return DataSet(folder.name, number, drops_html(drops), pair_counts, pairs, missing)


def question_sets(folder: Path | None) -> dict[str, DataRows]:
    """Name → rows, of the question sets in `folder`."""
    files: dict[str, list[str]] = {}
    for file in sorted(Path(folder).glob("*/test*.parquet")) if folder else ():
        files.setdefault(file.parent.name, []).append(str(file))
    return {name: DataRows(str(Path(folder or "") / name), names) for name, names in files.items()}


def sample_answers(evaluations: Evaluations, seed: int) -> Answers:
    """Questions of all sets, such that every filter of the page finds some.

    Raises:
        InputError: a file that cannot be read, or predictions made on other questions.
    """
    shown: list[Markup] = []
    tasks: list[str] = []
    kinds: set[str] = set()
    total = missing = 0
    for task in evaluations.tasks:
        of_models = evaluations.kinds(task)
        total += len({index for found in of_models.values() for index in found})
        chosen = choose(of_models, f"{seed}/{task}")
        tasks += [task] if chosen else []
        for index in chosen:
            question = evaluations.question(task, index)
            pictures = [thumbnail(image, f"{task} question {question.id}") for image in question.images]
            missing += sum(not picture.url for picture in pictures)
            shown.append(question_html(question, pictures))
            kinds.update(question.kinds)
    return Answers(shown, total, tasks, kinds, missing)


def choose(kinds: Mapping[str, Mapping[int, Sequence[str]]], seed: str) -> list[int]:
    """Indices of questions, at most `MAX_QUESTIONS`: up to `PER_FILTER` for each model and kind of answer.

    Each model and kind gets its first question before any gets its second.

    Args:
        kinds: model → index → kinds of its answer.
        seed: of the order in which questions are taken.
    """
    indices = sorted({index for of_model in kinds.values() for index in of_model})
    random.Random(seed).shuffle(indices)
    filters = {
        index: [(model, kind) for model, of_model in kinds.items() for kind in of_model.get(index, ())]
        for index in indices
    }
    chosen: set[int] = set()
    filled: Counter[tuple[str, str]] = Counter()
    for wanted in range(1, PER_FILTER + 1):
        for index in indices:
            has_room = any(filled[each] < wanted for each in filters[index])
            if has_room and index not in chosen and len(chosen) < MAX_QUESTIONS:
                chosen.add(index)
                filled.update(filters[index])
    return sorted(chosen)
