"""Summaries as a benchmark: both images and a request to compare them; the reference is the summary of a built row.

The folder is that of a data set that `cadvi build v1`, `v2` or `cad_qa` wrote (`data/cad_qa`): rows with `images`,
`commonalities` and `differences`. The judge compares a model's summary with the reference (paper, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.parquet import read_rows
from cadvi_hub.core.schema import Aspect, CadSummary, Difference
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.eval.benchmarks.benchmark import F1_ABOUT, Benchmark, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, prompt_text
from cadvi_hub.eval.benchmarks.reading import make_all
from cadvi_hub.sources.rows import Row, identifier, items, mapping, text, unreadable

NO_SUMMARY = "the row has no summary"
_COLUMNS = ["id", "images", "source", "commonalities", "differences"]


def read_summaries(path: Path, flags: Drops) -> Iterator[Question]:
    """Yield one question per row that has a summary, in the order of files and rows; `flags` counts the others.

    Raises:
        InputError: no parquet file, one that does not read or lacks a column, or a bad row, with file and row.
    """
    question = prompt_text("compare_images", wording=0)

    def make(row: Row, place: str) -> Question | None:
        if not text(row, "commonalities"):
            flags.add(NO_SUMMARY, place)
            return None
        try:
            told = [mapping(item, "a difference") for item in items(row, "differences")]
            differences = tuple(Difference(Aspect(text(item, "aspect")), text(item, "text")) for item in told)
        except ValueError as error:
            raise unreadable(str(error)) from error
        images = tuple(mapping(image, "an image") for image in items(row, "images"))
        if len(images) != 2:
            raise unreadable(f"{len(images)} images, not 2")
        answer = render_summary(CadSummary(row["commonalities"], differences))
        return Question(
            identifier(row, "id"),
            tuple({"bytes": image["bytes"], "path": image["path"]} for image in images),
            question,
            (),
            answer,
            text(row, "source"),
            place,
        )

    files = sorted(path.glob("*.parquet"))
    if not files:
        raise InputError(str(path), "no parquet file is there", "Name the folder of a built data set, as data/cad_qa")
    for file in files:
        rows = read_rows(
            file, _COLUMNS, needed=_COLUMNS, hint="Name the folder of a data set with summaries", batch_size=16
        )
        numbered = ((f"row {number}", row) for number, row in enumerate(rows))
        yield from filter(None, make_all(file, numbered, make))


BENCHMARK = Benchmark(
    name="cad_summary",
    columns=(ReportColumn("token_f1", "token F1", None, f"Summaries of what differs. {F1_ABOUT}"),),
    max_tokens=512,  # ours; the paper's summaries have 157 words on average
    judge_prompt="judge_summary",
    question_file=False,
    summaries=read_summaries,
)
