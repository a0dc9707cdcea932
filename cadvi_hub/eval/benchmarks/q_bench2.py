"""Q-Bench2, its pairs: which of two images has more noise, blur or light?

`id`, `image1`, `image2`, `question`, `option0` … `option3` ("N/A" where there is none), `question_type` (0 yes or no,
1 how, 2 what), `question_concern` (0 to 3), `correct_choice` (a letter). The split dev has answers that are public.
Format: https://huggingface.co/datasets/q-future/Q-Bench2-HF
"""

from __future__ import annotations

from cadvi_hub.eval.benchmarks.benchmark import CATEGORIES, Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.choices import from_columns
from cadvi_hub.eval.settings import ChoiceSettings
from cadvi_hub.sources.rows import Row, identifier, unreadable

_TYPES = {"0": "yes_or_no", "1": "how", "2": "what"}
_OPTIONS = tuple(f"option{number}" for number in range(4))


def prepare(row: Row, _seed: int) -> Row:
    """The options that are there, and type and concern of the question."""
    kind, concern = identifier(row, "question_type"), identifier(row, "question_concern")
    if kind not in _TYPES:
        raise unreadable(f"question_type {kind!r} is not one of {', '.join(_TYPES)}")
    options = [row[name] for name in _OPTIONS if row.get(name) not in (None, "", "N/A")]
    return {**row, "options": options, "category": f"{_TYPES[kind]}{CATEGORIES}concern_{concern}"}


COLUMNS = ChoiceSettings(
    answer="correct_choice", images=["image1", "image2"], option_columns=["options"], id="id", category="category"
)
BENCHMARK = Benchmark(
    name="q_bench2",
    columns=(ReportColumn("accuracy", "accuracy", None, "Q-Bench2: which of two pictures has the better quality?"),),
    question_file=False,
    upstream=from_columns(COLUMNS, prepare, split="dev"),
    provenance=Provenance("q-future/Q-Bench2-HF", "not stated", "all columns seen"),
)
