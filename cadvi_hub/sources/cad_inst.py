"""CaD-Inst as its authors published it, without pictures; rows get our schema, and the pictures join later.

Configs `Phase1` and `Phase2`: `id`, `image`, `conversations`, in Phase1 `clip_sim_score`; config `CaD_QA_eval` (split
`test`): `id`, `image`, `question`, `answer`. `image` and `conversations` are Python lists written as strings; `image`
holds two file names, which are looked for in `source.images`. The authors' own JSON files, where the two are lists,
are read as well: `source.path` is the file.
Format: https://huggingface.co/datasets/wlin21at/CaD-Inst
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import asdict

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import CadSummary, Provenance
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.sources.built import BuiltRow
from cadvi_hub.sources.cad_qa_file import PairQuestion, pair_question
from cadvi_hub.sources.dataset import dataset_rows, load_source
from cadvi_hub.sources.llava_mix import messages_of
from cadvi_hub.sources.rows import Row, identifier, items, read_rows, text, two_images, unreadable
from cadvi_hub.sources.settings import SourceSettings

LONGEST_LIST = 50_000  # characters of a list written as a string; the parser's memory grows with them


def read_cad_inst(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[BuiltRow]:
    """Yield one record per row of Phase1 or Phase2, with the columns of `v1_features` and `v2_features`.

    Captions, context, shared nouns and annotator stay empty. The summary is read from the first answer; commonalities
    and differences stay empty if that answer has another layout.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "id", "image", "conversations")

    def make_record(row: Row) -> BuiltRow:
        names = two_images(_list(row, "image"), images)
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
    """Yield one record per question of CaD_QA_eval; question and answer are not changed.

    Questions with an empty answer are dropped and counted.

    Raises:
        InputError: no such data set or column, or a bad row if `settings.bad_rows` is `refuse`.
    """
    dataset = load_source(settings, "id", "image", "question", "answer")

    def make_record(row: Row) -> PairQuestion:
        names = two_images(_list(row, "image"), images)
        return pair_question(identifier(row, "id"), names, text(row, "question"), text(row, "answer"), settings)

    return read_rows(settings.path, dataset_rows(dataset, settings), make_record, settings, drops)


def _list(row: Row, key: str) -> list[Row | str]:
    """The list at `key`, or the one that a string writes in Python's notation; only literals are read, no code is run.

    The Hub's parquet files have such strings, the authors' own JSON files have lists.
    """
    if isinstance(row.get(key), list):
        return items(row, key)
    written = text(row, key)
    if len(written) > LONGEST_LIST:
        raise unreadable(f"{key!r} has more than {LONGEST_LIST} characters")
    try:
        return items({key: ast.literal_eval(written)}, key)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise unreadable(f"{key!r} is not a list written as a string") from error


def _score(row: Row) -> float | None:
    """CLIP similarity of the two images, or None if it is missing."""
    score = row.get("clip_sim_score")
    if score is None or (isinstance(score, float) and math.isnan(score)):
        return None
    if not isinstance(score, int | float) or isinstance(score, bool):
        raise unreadable("'clip_sim_score' is not a number")
    return float(score)
