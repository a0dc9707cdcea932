"""Open questions about two images with reference answers: CaD-QA's question file.

`cad_qa.jsonl` holds one JSON object per line: `image`, two file names below the folder, `text`, the full question with
one `<image>` for each image, `answer`, and `question_id`.
Format: the question file published with the paper (arXiv 2406.09240)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.sources.rows import (
    UNREADABLE,
    EmptyRowError,
    Row,
    RowError,
    identifier,
    image_name,
    items,
    read_rows,
    text,
)
from cadvi_hub.sources.settings import SourceSettings

FILE = "cad_qa.jsonl"


@dataclass(frozen=True, slots=True)
class PairQuestion:
    """An open question about two images, given as file names below the folder, and its reference answer."""

    id: str
    images: tuple[str, str]
    question: str
    answer: str
    source: str


def read_cad_qa_file(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[PairQuestion]:
    """Stream one record per question, in the file's order; question and answer stay as they stand.

    Questions with an empty answer are dropped and counted.

    Raises:
        InputError: no question file, or a bad row where `settings.bad_rows` is `refuse`.
    """

    def make_record(row: Row) -> PairQuestion:
        names, question = items(row, "image"), text(row, "text")
        placeholders = question.count(IMAGE_PLACEHOLDER)
        if not len(names) == placeholders == 2:
            problem = f"{len(names)} images and {placeholders} {IMAGE_PLACEHOLDER} in 'text', which should be 2 each"
            raise RowError(UNREADABLE, problem, "Fix the row")
        first, second = (image_name({"image": name}, "image", images) for name in names)
        answer = text(row, "answer")
        if not answer.strip():
            raise EmptyRowError("empty answer")
        return PairQuestion(identifier(row, "question_id"), (first, second), question, answer, settings.name)

    file = settings.path / FILE
    return read_rows(file, json_lines(file), make_record, settings, drops)
