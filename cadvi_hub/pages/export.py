"""The first two tabs as files: a page that needs no server and loads nothing but the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.pages.evaluations import Evaluations
from cadvi_hub.pages.pictures import Address, Picture, file_name, shown
from cadvi_hub.pages.rendering import drops_html, pair_html, question_html, scores_html, site_html
from cadvi_hub.pages.rows import DataRows, open_sets
from cadvi_hub.pages.view import ViewSettings
from cadvi_hub.pairing.nouns import load_tagger

PICTURES = "pictures"


def export(settings: ViewSettings) -> Path:
    """Write `settings.export`/index.html and its pictures; equal input gives equal bytes.

    Returns:
        The page.

    Raises:
        InputError: there is nothing to show, a folder or file that cannot be read, or the folder cannot be written.
    """
    if not settings.data and not settings.results:
        raise InputError("view", "there is nothing to show", "Name --data, or folders of results")
    if settings.rows < 1:
        raise InputError("rows", "it must be at least 1", "Name how many rows to show")
    folder = Path(settings.export or "")
    store = ImageFolders(settings.images, search=True) if settings.images else None
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)

        def address(picture: Picture) -> str:
            name = f"{PICTURES}/{file_name(picture)}"
            (folder / name).write_bytes(picture.data)
            return name

        sets = open_sets(settings.data) if settings.data else {}
        parts = [
            (
                name,
                _about(rows, settings.rows),
                drops_html(rows.report),
                list(_pairs(name, rows, settings.rows, address, store)),
            )
            for name, rows in sets.items()
        ]
        evaluations = Evaluations(settings.results, settings.questions) if settings.results else None
        page = site_html(
            sets=parts,
            scores=scores_html(evaluations.results) if evaluations else "",
            answers=list(_questions(evaluations, settings.rows, address, store)) if evaluations else [],
            tasks=evaluations.tasks if evaluations else [],
        )
        part = folder / "index.html.part"
        part.write_bytes(page.encode("utf-8", "replace"))  # a prediction may hold half a character
        return part.replace(folder / "index.html")
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error})", "Make room or choose another folder") from error


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


def _pairs(name: str, rows: DataRows, number: int, address: Address, store: ImageStore | None) -> Iterator[str]:
    tagger = load_tagger() if "captions" in rows.columns() else None
    for index in tqdm(_spread(rows.total, number), desc=f"rows of {name}", unit="row", disable=None):
        row = rows.row(index)
        if row is None:
            return
        pictures = [shown(image, address, store) for image in row.get("images") or ()]
        position = f"Row {index + 1:,}" + (f" of {rows.total:,}" if rows.total else "")
        link = "#" + quote(f"{name}/{row['id']}", safe="")
        yield pair_html(row, pictures, link, tagger, position)


def _questions(evaluations: Evaluations, number: int, address: Address, store: ImageStore | None) -> Iterator[str]:
    for task in evaluations.tasks:
        found = evaluations.matching(task)
        for place in tqdm(_spread(len(found), number), desc=f"questions of {task}", unit="question", disable=None):
            question = evaluations.question(task, found[place])
            pictures = [shown(image, address, store) for image in question.images]
            yield question_html(question, pictures, f"{place + 1:,} of {len(found):,}")


def _spread(total: int | None, number: int) -> list[int]:
    """`number` places spread evenly over `total`, each once; the first ones where nobody knows the total."""
    if total is None or total <= number:
        return list(range(number if total is None else total))
    return [place * total // number for place in range(number)]
