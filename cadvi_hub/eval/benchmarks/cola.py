"""COLA's multi-object setting in full: 210 entries `[image1_url, caption1, image2_url, caption2]` of one JSON list.

Captions hold the same objects and attributes, combined differently. Pictures are Visual Genome's, known by the last
part of their URL (`2414605.jpg`).
Format: https://github.com/arijitray1993/COLA (MIT)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.core.json_stream import list_rows
from cadvi_hub.eval.benchmarks.benchmark import PAIRS, Benchmark, PaperResults, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, caption_pair, named
from cadvi_hub.eval.benchmarks.reading import make_all
from cadvi_hub.sources.rows import Row, unreadable


def read_cola(path: Path, seed: int) -> Iterator[Question]:
    """Yield two questions per entry, in the file's order; entries are numbered from 0, as in the paper's file.

    Raises:
        InputError: the file is no list, or a bad entry, with file and row.
    """
    rows = ((position, {"entry": entry, "number": number}) for number, (position, entry) in enumerate(list_rows(path)))

    def make(row: Row, place: str) -> list[Question]:
        entry = row["entry"]
        if not (isinstance(entry, list) and len(entry) == 4 and all(isinstance(text, str) for text in entry)):
            raise unreadable("not [image1_url, caption1, image2_url, caption2]")
        first, caption, second, other = entry
        names = (first.rpartition("/")[2], second.rpartition("/")[2])
        if not all((*names, caption.strip(), other.strip())):
            raise unreadable("a URL without a file name, or an empty caption")
        return list(caption_pair(str(row["number"]), named(*names), (caption, other), path.name, place, seed, ""))

    for questions in make_all(path, rows, make):
        yield from questions


ABOUT = "The same things and properties, combined differently; a pair counts when both captions find their picture."
BENCHMARK = Benchmark(
    name="cola",
    columns=(ReportColumn(PAIRS, "pairs", 1 / 4, ABOUT),),
    options=IMAGE_LETTERS,
    grouping=PAIRS,
    swaps=True,
    upstream=read_cola,
    paper=PaperResults(PAIRS, 210, (20.00, 8.10, 25.71, 13.33, 32.38, 11.90, 24.76, 7.62, 12.38, 40.95, 43.33)),
    provenance=Provenance(
        "arijitray1993/COLA", "MIT", "all columns seen", "in the question file, the id of a question tells its answer"
    ),
)
