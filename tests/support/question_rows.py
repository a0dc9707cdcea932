"""The rows of a question file, as a build embeds them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cadvi_hub.eval.benchmarks.pictures import Pictures
from cadvi_hub.eval.benchmarks.question_file import read_question_file


def read_questions(file: Path, images: Path, task: str) -> Iterator[dict[str, Any]]:
    """The rows of `file`, in its order, with the pictures of the folder `images`."""
    pictures = Pictures([images], search=False)
    for question in read_question_file(file, task):
        yield question.row(task, [pictures.embed(image) for image in question.images])
