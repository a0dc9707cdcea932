"""SEED-Bench v1: multiple-choice questions about one image (types 1 to 9) or a video (types 10 to 12).

`{"questions": [{question_id, question_type_id, data_id, data_type, question, choice_a … choice_d, answer, segment?}],
"question_type": {name: number}}`. A video is asked about by two frames of its segment (`video.py`): of the whole video
(10, Something-Something v2), between two seconds (11, Epic-Kitchens) or two frames (12, Breakfast).
Format: https://github.com/AILab-CVC/SEED-Bench/blob/main/DATASET.md (CC-BY-NC-4.0)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.eval.benchmarks.question import Question, named, prompt_text
from cadvi_hub.eval.benchmarks.reading import make_all, rows_at
from cadvi_hub.eval.benchmarks.video import frame_names
from cadvi_hub.sources.rows import Row, identifier, items, text, unreadable

LETTERS = ("A", "B", "C", "D")
TYPES = (  # as `question_type` at the file's end numbers them, from 1
    "scene_understanding",
    "instance_identity",
    "instance_attributes",
    "instance_location",
    "instances_counting",
    "spatial_relation",
    "instance_interaction",
    "visual_reasoning",
    "text_understanding",
    "action_recognition",
    "action_prediction",
    "procedure_understanding",
)
_FIRST_VIDEO_TYPE = 10
_UNITS = {10: "", 11: "seconds", 12: "frames"}


def read_seed_image(path: Path, _seed: int) -> Iterator[Question]:
    """Yield the questions about images, in the file's order.

    Raises:
        InputError: a bad row, with file and row.
    """
    return _read(path, video=False)


def read_seed_video(path: Path, _seed: int) -> Iterator[Question]:
    """Yield the questions about videos, in the file's order.

    Raises:
        InputError: a bad row, with file and row.
    """
    return _read(path, video=True)


def _read(path: Path, video: bool) -> Iterator[Question]:
    def make(row: Row, place: str) -> Question | None:
        number = row.get("question_type_id")
        if not isinstance(number, int) or not 1 <= number <= len(TYPES):
            raise unreadable(f"question_type_id {number!r} is not one of 1 to {len(TYPES)}")
        if (number >= _FIRST_VIDEO_TYPE) != video:
            return None
        names = _frames(row, number) if video else (text(row, "data_id"),)
        choices = [identifier(row, f"choice_{letter.lower()}") for letter in LETTERS]
        answer = text(row, "answer")
        if answer not in LETTERS:
            raise unreadable(f"answer {answer!r} is not one of {', '.join(LETTERS)}")
        question = prompt_text("four_choices", question=text(row, "question"), choices=choices, frames=video)
        question_id = identifier(row, "question_id")
        category = TYPES[number - 1]
        return Question(question_id, named(*names), question, LETTERS, answer, path.name, place, category)

    return filter(None, make_all(path, rows_at(path, "questions"), make))


def _frames(row: Row, number: int) -> tuple[str, str]:
    unit = _UNITS[number]
    if not unit:
        return frame_names(text(row, "data_id"), None, unit)
    segment = items(row, "segment")
    if len(segment) != 2 or not all(isinstance(end, int | float) and end >= 0 for end in segment):
        raise unreadable("segment is not a start and an end")
    return frame_names(text(row, "data_id"), segment, unit)
