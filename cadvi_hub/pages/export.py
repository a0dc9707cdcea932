"""The first two tabs as files: a page that needs no server and loads nothing but the pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup
from tqdm import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_file, write_text, writing
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.core.output import open_output
from cadvi_hub.pages.columns import notes
from cadvi_hub.pages.evaluations import FILTERS, Evaluations
from cadvi_hub.pages.pictures import Address, Picture, file_name, shown
from cadvi_hub.pages.rendering import (
    drops_html,
    page_html,
    pair_html,
    question_html,
    row_anchor,
    row_position,
    scores_html,
)
from cadvi_hub.pages.rows import DataRows, open_sets
from cadvi_hub.pages.scores import score_tables
from cadvi_hub.pages.settings import ViewSettings

PAGE, PICTURES = "index.html", "pictures"
POLICY = "default-src 'none'; img-src &#39;self&#39; file:"


def export(settings: ViewSettings) -> Path:
    """Write `settings.export`/index.html and its pictures; equal input gives equal bytes.

    An earlier page and its pictures are replaced when the new ones are complete.

    Returns:
        The page.

    Raises:
        InputError: there is nothing to show, a folder or file that cannot be read, or a folder that cannot be written,
            has files of others or is written by another process.
    """
    if not settings.data and not settings.results:
        raise InputError("view", "there is nothing to show", "Name --data, or folders of results")
    if settings.rows < 1:
        raise InputError("rows", "it must be at least 1", "Name how many rows to show")
    folder = Path(settings.export or "")
    with open_output(folder, "cadvi view --export", _written_before_records) as output:
        output.check([PAGE])
        with output.replacing(last=PAGE) as new:
            _write(settings, new)
    return folder / PAGE


def _write(settings: ViewSettings, folder: Path) -> None:
    number = settings.rows
    store = ImageFolders(settings.images, search=True) if settings.images else None

    def address(picture: Picture) -> str:
        name = f"{PICTURES}/{file_name(picture)}"
        with writing(folder, every_error=True):
            (folder / name).write_bytes(picture.data)
        return name

    with writing(folder, every_error=True):
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    sets = [
        (name, _about(rows, number), drops_html(rows.report), list(_pairs(name, rows, number, address, store)))
        for name, rows in (open_sets(settings.data) if settings.data else {}).items()
    ]
    questions = open_sets(settings.questions) if settings.questions and settings.results else {}
    evaluations = Evaluations(settings.results, questions)
    answers, kinds = _answers(evaluations, number, address, store)
    results = evaluations.results
    page = page_html(
        "site.html.jinja",
        images="'self' file:",
        has_filters=True,
        sets=sets,
        scores=scores_html(score_tables(results), notes(results)) if results else "",
        answers=answers,
        tasks=evaluations.tasks,
        models=list(results),
        kinds={kind: words for kind, words in FILTERS.items() if kind in kinds},
    )
    # A prediction may hold half a character.
    write_text(folder / PAGE, page.encode("utf-8", "replace").decode())


def _written_before_records(folder: Path) -> list[str]:
    """What an earlier version wrote: a page with our policy, and pictures that are named after their content."""
    try:
        is_ours = POLICY in read_file(folder / PAGE).decode("utf-8")
    except (OSError, ValueError):
        return []
    pictures = [path for path in (folder / PICTURES).glob("*") if re.fullmatch(r"[0-9a-f]{20}\.(png|webp)", path.name)]
    return [PAGE, *(f"{PICTURES}/{path.name}" for path in pictures)] if is_ours else []


def _about(rows: DataRows, number: int) -> str:
    """What the rows are, and which of them are shown."""
    columns = rows.columns()
    if "question" in columns:
        what = "Questions about two pictures, with the right answer."
    elif "commonalities" in columns:
        what = "Two pictures, what they have in common and how they differ, as a model learns it."
    else:
        what = "Pictures and conversations about them, as a model learns them."
    if rows.total and rows.total > number:
        what += f" Here are {number:,} of {rows.total:,} rows, spread evenly."
    return what


def _pairs(name: str, rows: DataRows, number: int, address: Address, store: ImageStore | None) -> Iterator[Markup]:
    for index in tqdm(_spread(rows.total, number), desc=f"rows of {name}", unit="row", disable=None):
        row = rows.row(index)
        if row is None:
            return
        pictures = [shown(image, address, store) for image in row.get("images") or ()]
        yield pair_html(row, pictures, row_anchor(name, row["id"]), row_position(index, rows.total))


def _answers(
    evaluations: Evaluations, number: int, address: Address, store: ImageStore | None
) -> tuple[list[Markup], set[str]]:
    """Questions of every set, and the kinds of their answers."""
    answers: list[Markup] = []
    kinds: set[str] = set()
    for task in evaluations.tasks:
        found = evaluations.matching(task)
        for place in tqdm(_spread(len(found), number), desc=f"questions of {task}", unit="question", disable=None):
            question = evaluations.question(task, found[place])
            pictures = [shown(image, address, store) for image in question.images]
            answers.append(question_html(question, pictures, f"{place + 1:,} of {len(found):,}"))
            kinds.update(question.kinds)
    return answers, kinds


def _spread(total: int | None, number: int) -> list[int]:
    """`number` places spread evenly over `total`, each once; the first ones if the total is not known."""
    if total is None or total <= number:
        return list(range(number if total is None else total))
    return [place * total // number for place in range(number)]
