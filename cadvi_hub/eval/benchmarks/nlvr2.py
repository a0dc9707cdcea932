"""NLVR2 in full, dev or test1, whole, balanced or unbalanced: a sentence that is true or false of two images.

JSON lines with `sentence`, `label` ("True" or "False") and `identifier`, `split-set-pair-sentence`; pictures are named
`{split}-{set}-{pair}-img0.png` (left) and `…-img1.png` (right). A sentence goes with up to four pairs of a set; they
are one `group`, in which consistency asks for all to be right.
Format: https://github.com/lil-lab/nlvr/tree/master/nlvr2 (CC-BY-4.0)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.eval.benchmarks.benchmark import CONSISTENCY, Benchmark, PaperResults, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, named, prompt_text
from cadvi_hub.eval.benchmarks.reading import json_lines, make_all
from cadvi_hub.sources.rows import Row, caption, text, unreadable

OPTIONS = ("True", "False")
_IDENTIFIER = re.compile(r"(?P<split>[a-z]+[0-9]*)-(?P<set>[0-9]+)-(?P<pair>[0-9]+)-(?P<sentence>[0-9]+)")


def read_nlvr2(path: Path, _seed: int) -> Iterator[Question]:
    """Yield one question per line, in the file's order; left stays left, since sentences speak of sides.

    Raises:
        InputError: a bad row, with file and line.
    """

    def make(row: Row, place: str) -> Question:
        identifier = _IDENTIFIER.fullmatch(text(row, "identifier"))
        if identifier is None:
            raise unreadable("identifier is not split-set-pair-sentence")
        answer = text(row, "label")
        if answer not in OPTIONS:
            raise unreadable(f"label {answer!r} is neither True nor False")
        stem = identifier[0].rpartition("-")[0]
        question = prompt_text("statement", statement=" ".join(caption(row, "sentence").split()))
        images = named(f"{stem}-img0.png", f"{stem}-img1.png")
        group = f"{identifier['split']}-{identifier['set']}-{identifier['sentence']}"
        return Question(identifier[0], images, question, OPTIONS, answer, path.name, place, group=group)

    return make_all(path, json_lines(path), make)


def _cluster(question_id: str, group: str) -> str:
    """Sentences of one set are asked of the same images, and the same sentence of several pairs."""
    identifier = _IDENTIFIER.fullmatch(question_id)
    return f"{identifier['split']}-{identifier['set']}" if identifier else group


def _category(row: Row) -> str:
    """The kind of statement, where a line of the question file names one."""
    return str(row.get("category", ""))


BENCHMARK = Benchmark(
    name="nlvr2",
    columns=(
        ReportColumn("accuracy", "accuracy", 1 / 2, "A statement about both pictures together: true or false?"),
        ReportColumn(
            CONSISTENCY, "consistency", None, "A statement counts when it is judged right of every two pictures."
        ),
    ),
    options=OPTIONS,
    grouping=CONSISTENCY,
    cluster=_cluster,
    swaps=True,
    category=_category,
    upstream=read_nlvr2,
    paper=PaperResults("accuracy", 150, (58.00, 52.00, 56.67, 60.00, 66.67, 58.67, 60.00, 61.33, 66.00, 66.67, 69.33)),
    provenance=Provenance("lil-lab/nlvr", "CC-BY-4.0", "all columns seen"),
)
