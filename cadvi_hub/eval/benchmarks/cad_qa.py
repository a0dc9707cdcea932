"""CaD-QA: open questions about two images, answered in sentences (paper, section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.eval.benchmarks.benchmark import F1_ABOUT, Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question

_LONGEST_ANSWER = 100  # words, as in `cadvi build cad_qa`
_PLACE = re.compile(rf"(?:Image \d+:)?[ \t]*{IMAGE_PLACEHOLDER}")


def flags(question: Question) -> Iterator[tuple[str, str]]:
    """What is doubtful about a question and its reference answer."""
    from cadvi_hub.annotation.question_flags import question_flags  # takes a tenth of a second to import
    from cadvi_hub.annotation.question_layout import QuestionAnswer

    turn = QuestionAnswer(_PLACE.sub("", question.text), question.answer)
    return iter(question_flags(turn, max_words=_LONGEST_ANSWER))


BENCHMARK = Benchmark(
    name="cad_qa",
    columns=(ReportColumn("token_f1", "token F1", None, f"Open questions about two pictures. {F1_ABOUT}"),),
    max_tokens=256,
    judge_prompt="judge_answer",
    flags=flags,
    provenance=Provenance(
        "wlin21at/CaD-Inst",
        "MIT",
        "all columns seen",
        "14 answers have leaked turns, some are cut off, one is a refusal",
    ),
)
