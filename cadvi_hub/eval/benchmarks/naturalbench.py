"""NaturalBench: two images and two questions that each have another answer for each image.

`Index`, `Image_0`, `Image_1`, `Question_0`, `Question_1`, the four answers `Image_<i>_Question_<j>`, `Question_Type`
(yes_no, or multiple_choice, whose options A and B are part of the question), `Source`. One image is asked about at a
time. Its scores: of single answers, of questions (right for both images), of images (both questions right), of groups.
Format: https://huggingface.co/datasets/BaiqiL/NaturalBench
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Joint, Provenance, ReportColumn, whole_group
from cadvi_hub.eval.benchmarks.question import Question, embedded, prompt_text
from cadvi_hub.eval.benchmarks.reading import make_all, source_rows
from cadvi_hub.sources.rows import Row, identifier, text, unreadable

_OPTIONS = {"yes_no": ("Yes", "No"), "multiple_choice": ("A", "B")}


def read_naturalbench(path: Path, _seed: int) -> Iterator[Question]:
    """Yield the four questions of each row, image by image.

    Raises:
        InputError: a bad row, with its file and place.
    """
    for source, rows in source_rows(path):
        for questions in make_all(source, rows, lambda row, place, name=source.name: _square(row, name, place)):  # type: ignore[misc]
            yield from questions


def _square(row: Row, source: str, place: str) -> list[Question]:
    group, kind = identifier(row, "Index"), text(row, "Question_Type")
    if kind not in _OPTIONS:
        raise unreadable(f"Question_Type {kind!r} is not one of {', '.join(_OPTIONS)}")
    made = []
    for image in (0, 1):
        picture = embedded(row.get(f"Image_{image}"), f"Image_{image}")
        for question in (0, 1):
            options, answer = _OPTIONS[kind], text(row, f"Image_{image}_Question_{question}").strip()
            if answer not in options:
                raise unreadable(f"Image_{image}_Question_{question} is {answer!r}, not {' or '.join(options)}")
            asked = prompt_text(
                "choices",
                question=text(row, f"Question_{question}"),
                images=1,
                options=options,
                letters=options if kind == "multiple_choice" else "",
                listed=False,
            )
            name = f"{group}_q{question}i{image}"
            made.append(Question(name, (picture,), asked, options, answer, source, place, kind, group))
    return made


BENCHMARK = Benchmark(
    name="naturalbench",
    columns=(
        ReportColumn("group_accuracy", "groups", 1 / 16, "Two pictures, two questions: all four answers are right."),
        ReportColumn("question_accuracy", "questions", 1 / 4, "A question is answered rightly for both pictures."),
        ReportColumn("image_accuracy", "images", 1 / 4, "Both questions about a picture are answered rightly."),
        ReportColumn("accuracy", "accuracy", 1 / 2, "Single answers of NaturalBench."),
    ),
    images=1,
    joint=(
        Joint("group_accuracy", 4, whole_group),
        Joint("question_accuracy", 2, lambda question_id, _: question_id[:-2]),
        Joint("image_accuracy", 2, lambda question_id, group: f"{group}_{question_id[-2:]}"),
    ),
    question_file=False,
    upstream=read_naturalbench,
    provenance=Provenance("BaiqiL/NaturalBench", "Apache-2.0", "all columns seen"),
)
