"""The records that cross rooms, and the Features of every published config.

An image is a dict `{"bytes": …, "path": …}`, as `datasets.Image(decode=False)` stores it. `messages` is what TRL's
SFTTrainer reads: a role and content parts in prompt order, with an image part where each image goes; image parts
have `text=None` and take the images of the row in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datasets import Features

IMAGE_PLACEHOLDER = "<image>"
LONGEST_CAPTION = 10_000  # characters, about 1,700 words; spaCy takes ten seconds for this many brackets


class Aspect(StrEnum):
    """The six aspects of a CaD summary (paper, section 3.1)."""

    OBJECT_TYPES = "Object types"
    ATTRIBUTES = "Attributes"
    COUNTS = "Counts"
    ACTIONS = "Actions"
    LOCATIONS = "Locations"
    RELATIVE_POSITIONS = "Relative positions"


class EmbeddedImage(TypedDict):
    """An encoded picture and its original file name; `bytes` is None if the row only refers to the picture."""

    bytes: bytes | None
    path: str | None


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image and one of its captions; `image` is a file name below the source's image folder."""

    image_id: str
    image: str
    caption: str
    source: str


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two images to compare, by file name below their image folder.

    Pairs mined from captions have `captions` and `shared_nouns`. Pairs of similar images have a `context`: a
    difference note that a person wrote.
    """

    pair_id: str
    images: tuple[str, str]
    source: str
    captions: tuple[str, str] | tuple[()] = ()
    shared_nouns: tuple[str, ...] = ()
    context: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One aspect in which two images differ."""

    aspect: Aspect
    text: str


@dataclass(frozen=True, slots=True)
class CadSummary:
    """Commonalities and differences (CaD) of two images: one paragraph, and one text per aspect that differs."""

    commonalities: str
    differences: tuple[Difference, ...]


def summary_of(row: Mapping[str, Any]) -> CadSummary:
    """The summary in the columns of a built row.

    Raises:
        KeyError, TypeError, ValueError: a column is missing, or does not hold what a build writes.
    """
    differences = (Difference(Aspect(item["aspect"]), item["text"]) for item in row["differences"])
    return CadSummary(row["commonalities"], tuple(differences))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who wrote a row: model (name and revision), SHA-256 of the prompt template, decoding settings as JSON."""

    annotator: str
    prompt_hash: str
    decoding: str


Part = dict[str, Any]
Message = dict[str, Any]


def content_parts(text: str) -> list[Part]:
    """Split a prompt at its `<image>` placeholders into text and image parts, in order, without empty texts.

    An empty prompt gives one empty text, because SmolVLM's template refuses a message without parts.
    """
    parts: list[Part] = []
    for index, piece in enumerate(text.split(IMAGE_PLACEHOLDER)):
        if index:
            parts.append({"type": "image", "text": None})
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts or [{"type": "text", "text": ""}]


def message(role: str, text: str) -> Message:
    """One chat message; `<image>` in `text` becomes an image part."""
    return {"role": role, "content": content_parts(text)}


def _messages() -> Any:
    from datasets import List, Value

    string = Value("string")
    return List({"role": string, "content": List({"type": string, "text": string})})


def _features(**columns: Any) -> Features:
    from datasets import Features, Image, List, Value

    string = Value("string")
    common = {"id": string, "images": List(Image()), "messages": _messages(), "source": string}
    return Features({name: kind for name, kind in {**common, **columns}.items() if kind is not None})


def instruct_features() -> Features:
    """Single-image or text-only instruction rows (the LLaVA mix and its stand-ins)."""
    return _features()


def _summary_columns() -> dict[str, Any]:
    from datasets import List, Value

    string = Value("string")
    return {
        "commonalities": string,
        "differences": List({"aspect": string, "text": string}),
        "shared_nouns": List(string),
        "annotator": string,
        "prompt_hash": string,
        "decoding": string,
    }


def v1_features() -> Features:
    """CaD-Inst V1: two images, two turns (summary; which image a caption belongs to)."""
    from datasets import List, Value

    score = Value("float32")  # null without a CLIP model
    return _features(captions=List(Value("string")), clip_sim_score=score, **_summary_columns())


def v2_features() -> Features:
    """CaD-Inst V2: two similar images, a summary written from the images and an older difference note."""
    from datasets import Value

    return _features(context=Value("string"), **_summary_columns())


def preferences_features() -> Features:
    """Preference pairs as TRL reads them: a question about two images, the better answer and the worse one.

    `rejection` is the kind of the worse answer (`annotation.preferences.Rejection`); the last three columns say who
    wrote the better one.
    """
    from datasets import Value

    string = Value("string")
    turns = {name: _messages() for name in ("prompt", "chosen", "rejected")}
    written = dict.fromkeys(("annotator", "prompt_hash", "decoding"), string)
    return _features(messages=None, **turns, rejection=string, **written)


def cad_qa_features() -> Features:
    """CaD-QA: an open question about two images with its reference answer."""
    from datasets import List, Value

    string = Value("string")
    columns = {"question": string, "answer": string, "captions": List(string)}
    return _features(messages=None, **columns, **_summary_columns())


def question_features() -> Features:
    """Benchmark questions, all sets alike.

    `question` is the full prompt with `<image>` for each image; `options` is empty for open questions; `group` joins
    the questions that only count if all of them are right (EQBEN, COLA), otherwise it equals `id`. `swap_words` are
    the two words that change places when the images do; null where the set itself knows what is then right.
    """
    from datasets import List, Value

    string = Value("string")
    return _features(
        messages=None,
        question=string,
        options=List(string),
        answer=string,
        task=string,
        category=string,
        group=string,
        swap_words=List(string),
    )
