"""MMVP: 150 pairs of images that CLIP takes for the same, with a question about each that has two options.

`Index` (1 to 300, a pair at 2 i − 1 and 2 i), `Question`, `Options` "(a) … (b) …", `Correct Answer` "(a)", and `image`
where the data set embeds it; otherwise the picture is `<Index>.jpg`. A pair counts when both of its answers are right.
Format: https://huggingface.co/datasets/lmms-lab-eval/MMVP; the authors' own Questions.csv has the same columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cadvi_hub.eval.benchmarks.benchmark import PAIRS, Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.benchmarks.question import Question
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, identifier, text, unreadable

_OPTIONS = re.compile(r"\(([a-z])\)\s*(.*?)\s*(?=\([a-z]\)|$)", re.S)
_CORRECTED = {99: "(b)", 100: "(a)", 279: "(b)", 280: "(a)"}  # https://github.com/tsb0601/MMVP/issues/30


def prepare(row: Row, _seed: int) -> Row:
    """The options as a list, the corrected answer, and ids `i_0` and `i_1` of a pair."""
    try:
        index = int(identifier(row, "Index"))
    except ValueError as error:
        raise unreadable("Index is not a number") from error
    pair, half = divmod(index - 1, 2)
    return {
        "id": f"{pair}_{half}",
        "pair": str(pair),
        "question": text(row, "Question"),
        "options": [option for _, option in _OPTIONS.findall(text(row, "Options"))],
        "answer": _CORRECTED.get(index, text(row, "Correct Answer")),
        "image": row.get("image") or f"{index}.jpg",
    }


def flags(question: Question) -> Iterator[tuple[str, str]]:
    """Which answers were corrected."""
    pair, _, half = question.id.partition("_")
    if 2 * int(pair) + int(half) + 1 in _CORRECTED:
        yield "the authors' first answer was wrong, here it is corrected", question.answer


ABOUT = "A picture that CLIP takes for another; a pair counts when the question is answered rightly for both."
COLUMNS = ChoiceSettings(images=["image"], option_columns=["options"], id="id", group="pair")
BENCHMARK = Benchmark(
    name="mmvp",
    columns=(
        ReportColumn(PAIRS, "pairs", 1 / 4, ABOUT),
        ReportColumn("accuracy", "accuracy", 1 / 2, "Single questions of MMVP."),
    ),
    grouping=PAIRS,
    images=1,
    question_file=False,
    upstream=from_columns(COLUMNS, prepare),
    flags=flags,
    provenance=Provenance(
        "lmms-lab-eval/MMVP",
        "see its page; not checked here",
        "all columns seen",
        "four answers of the first publication (99, 100, 279, 280) are wrong; they are corrected here",
    ),
)
