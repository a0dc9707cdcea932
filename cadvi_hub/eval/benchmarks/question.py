"""What a benchmark question is, for all sets alike, and the wording of ours.

The text of a question file is used unchanged. Upstream annotations have captions but no questions: they get our
wording, from the prompt files, in the form of the paper's question files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, EmbeddedImage
from cadvi_hub.sources.rows import unreadable

Images = tuple[EmbeddedImage, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose pictures are not read yet.

    Attributes:
        images: in prompt order; without bytes where the picture is to be looked up by its `path`.
        text: the whole prompt, `<image>` where each image goes.
        options: what an answer can be; empty for open questions.
        source: name of the file or data set that it comes from.
        place: where it is in that file, for messages.
        category: results are also counted by category; "" for none.
        group: the same for questions that count together; "" for a question that counts alone.
        swap_words: two words of the question and its options that change places when its two images do; () if nobody
            knows what is then right, None if the set knows.
    """

    id: str
    images: Images
    text: str
    options: tuple[str, ...]
    answer: str
    source: str
    place: str
    category: str = ""
    group: str = ""
    swap_words: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures."""
        return tuple(image["path"] or "" for image in self.images)

    def row(self, task: str, images: list[EmbeddedImage]) -> dict[str, Any]:
        """The row (`schema.question_features()`) with `images` in the place of ours."""
        return {
            "id": self.id,
            "images": images,
            "question": self.text,
            "options": list(self.options),
            "answer": self.answer,
            "source": self.source,
            "task": task,
            "category": self.category,
            "group": self.group or self.id,
            "swap_words": None if self.swap_words is None else list(self.swap_words),
        }


class PictureSource(Protocol):
    """Where the pictures of a set come from."""

    def embed(self, image: EmbeddedImage) -> EmbeddedImage:
        """The encoded picture under its name; PictureError where there is none."""
        ...


def named(*names: str) -> Images:
    """Pictures to be looked up by name."""
    return tuple({"bytes": None, "path": name} for name in names)


def prompt_text(name: str, **values: Any) -> str:
    """The one user turn of prompt `name` as a question's text."""
    (turn,) = render_prompt(name, **values)
    return "".join(IMAGE_PLACEHOLDER if part["type"] == "image" else part["text"] for part in turn["content"])


def embedded(value: Any, column: str) -> EmbeddedImage:
    """The picture in a column of a data set, or the name of its file.

    Raises:
        RowError: it is neither.
    """
    if isinstance(value, str) and value.strip():
        return {"bytes": None, "path": value.strip()}
    if isinstance(value, dict) and (value.get("bytes") or value.get("path")):
        return {"bytes": value.get("bytes"), "path": value.get("path")}
    raise unreadable(f"{column} holds no image")


def which_image(
    question_id: str, right: str, wrong: str, caption: str, source: str, place: str, seed: int, category: str = ""
) -> Question:
    """Two images and the caption of one; which comes first is drawn by `seed` and the question's id."""
    order = (right, wrong) if draws_first(seed, question_id) else (wrong, right)
    answer = IMAGE_LETTERS[order.index(right)]
    return Question(question_id, named(*order), which_text(caption), IMAGE_LETTERS, answer, source, place, category)


def caption_pair(
    group: str, images: Images, captions: tuple[str, str], source: str, place: str, seed: int, category: str
) -> Iterator[Question]:
    """Two questions over the same two images, `group_0` and `group_1`, one with the caption of each image.

    Which image comes first is drawn by `seed` and the group's id, so that the half does not tell the answer.
    """
    order = images if draws_first(seed, group) else images[::-1]
    for half, caption in enumerate(captions):
        answer = IMAGE_LETTERS[half if order is images else 1 - half]
        name = f"{group}_{half}"
        yield Question(name, order, which_text(caption), IMAGE_LETTERS, answer, source, place, category, group)


def which_text(caption: str) -> str:
    """The text of the question which of two images suits `caption`."""
    return prompt_text("which_image", caption=" ".join(caption.split()), show_images=True)


def draws_first(seed: int, name: str) -> bool:
    """Whether the first of two comes first, drawn by `seed` and `name`."""
    return random.Random(f"{seed}/which image first/{name}").random() < 0.5
