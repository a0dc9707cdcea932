"""Open questions about two images with reference answers: CaD-QA's question file.

`cad_qa.jsonl` holds one JSON object per line: `image` (two file names below the folder), `text` (the full question
with one `<image>` for each image), `answer`, and `question_id`.
Format: the question file published with the paper (arXiv 2406.09240)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.sources.rows import EmptyRowError, Row, identifier, items, read_rows, text, two_images, unreadable
from cadvi_hub.sources.settings import SourceSettings

FILE = "cad_qa.jsonl"


@dataclass(frozen=True, slots=True)
class PairQuestion:
    """An open question about two images and its reference answer; `images` are file names below the image folder."""

    id: str
    images: tuple[str, str]
    question: str
    answer: str
    source: str


def read_cad_qa_file(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[PairQuestion]:
    """Yield one record per question in file order; question and answer are not changed.

    Questions with an empty answer are dropped and counted.

    Raises:
        InputError: no question file, or a bad row if `settings.bad_rows` is `refuse`.
    """

    def make_record(row: Row) -> PairQuestion:
        names = two_images(items(row, "image"), images)
        return pair_question(identifier(row, "question_id"), names, text(row, "text"), text(row, "answer"), settings)

    file = settings.path / FILE
    return read_rows(file, json_lines(file), make_record, settings, drops)


def pair_question(
    row_id: str, images: tuple[str, str], question: str, answer: str, settings: SourceSettings
) -> PairQuestion:
    """The record of a question file's row.

    Raises:
        RowError: the question does not have one `<image>` per image, or the answer is empty.
    """
    if (placeholders := question.count(IMAGE_PLACEHOLDER)) != 2:
        raise unreadable(f"{placeholders} {IMAGE_PLACEHOLDER} for 2 images")
    if not answer.strip():
        raise EmptyRowError("empty answer")
    return PairQuestion(row_id, images, question, answer, settings.name)
