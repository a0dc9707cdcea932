"""CaD-Inst as its authors published it (without pictures), which comes out in our schema, pictures joined in.

Configs `Phase1` and `Phase2`: `id`, `image`, `conversations`, in Phase1 `clip_sim_score`; config `CaD_QA_eval` (split
`test`): `id`, `image`, `question`, `answer`. `image` and `conversations` are Python lists written as strings; `image`
holds two file names, which are looked for in `source.images`.
Format: https://huggingface.co/datasets/wlin21at/CaD-Inst
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import asdict

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, CadSummary, Provenance
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion
from cadvi_hub.sources.dataset import dataset_rows, load_source
from cadvi_hub.sources.llava_mix import messages_of
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

LONGEST_LIST = 50_000  # characters of a list written as a string; the parser's memory grows with them


def read_cad_inst(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[BuiltRow]:
    """Stream one record per row of Phase1 or Phase2, with the columns of `v1_features` and of `v2_features`.

    Unknown stay captions, context, shared nouns and annotator. The summary is read from the first answer; where that
    has another layout, commonalities and differences are empty.

    Raises:
        InputError: no such data set or column, or a bad row where `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "id", "image", "conversations")

    def make_record(row: Row) -> BuiltRow:
        names = _two_images(row, images)
        row = {**row, "conversations": _list(row, "conversations")}
        messages = messages_of(row, len(names))
        try:
            summary = parse_summary(row["conversations"][1]["value"])
        except ValueError:
            summary = CadSummary("", ())
        row_id = identifier(row, "id")
        columns = {
            "id": row_id,
            "messages": messages,
            "source": settings.name,
            "captions": [],
            "context": "",
            **asdict(summary),
            "shared_nouns": [],
            **asdict(Provenance("", "", "")),
            "clip_sim_score": _score(row),
        }
        return BuiltRow(row_id, names, columns)

    return read_rows(settings.path, dataset_rows(dataset, settings), make_record, settings, drops)


def read_cad_inst_questions(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[PairQuestion]:
    """Stream one record per question of CaD_QA_eval; question and answer stay as they stand.

    Questions with an empty answer are dropped and counted.

    Raises:
        InputError: no such data set or column, or a bad row where `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "id", "image", "question", "answer")

    def make_record(row: Row) -> PairQuestion:
        names, question, answer = _two_images(row, images), text(row, "question"), text(row, "answer")
        if (placeholders := question.count(IMAGE_PLACEHOLDER)) != 2:
            raise RowError(UNREADABLE, f"{placeholders} {IMAGE_PLACEHOLDER} for 2 images", "Fix the row")
        if not answer.strip():
            raise EmptyRowError("empty answer")
        return PairQuestion(identifier(row, "id"), names, question, answer, settings.name)

    return read_rows(settings.path, dataset_rows(dataset, settings), make_record, settings, drops)


def _two_images(row: Row, images: ImageStore) -> tuple[str, str]:
    names = _list(row, "image")
    if len(names) != 2:
        raise RowError(UNREADABLE, f"{len(names)} images, which should be 2", "Fix the row")
    first, second = (image_name({"image": name}, "image", images) for name in names)
    return first, second


def _list(row: Row, key: str) -> list[Row | str]:
    """The list that the string at `key` writes in Python's notation; literals alone are read, nothing is run."""
    written = text(row, key)
    if len(written) > LONGEST_LIST:
        raise RowError(UNREADABLE, f"{key!r} has more than {LONGEST_LIST} characters", "Fix the row")
    try:
        return items({key: ast.literal_eval(written)}, key)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise RowError(UNREADABLE, f"{key!r} is no list written as a string", "Fix the row") from error


def _score(row: Row) -> float | None:
    """CLIP similarity of the two images; unknown where the column or the number is missing."""
    score = row.get("clip_sim_score")
    if score is None or (isinstance(score, float) and math.isnan(score)):
        return None
    if not isinstance(score, int | float) or isinstance(score, bool):
        raise RowError(UNREADABLE, "'clip_sim_score' is not a number", "Fix the row")
    return float(score)
