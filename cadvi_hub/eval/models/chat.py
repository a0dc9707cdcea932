"""Questions as chats: what a model, local or served, is asked, in which order, and how its answers come back."""

import io
import logging
from collections import defaultdict
from typing import Literal

from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.eval.models.base import Unanswered, specific
from cadvi_hub.eval.models.row_images import RowImages
from cadvi_hub.generation.chat import ChatRequest, Decoding, Failed, Generator, ask

IMAGE = "<image>"  # stands in a question where an image goes
_HINT = "Use a model that takes such prompts, or leave the question out of the set"
_SHOWN = 5  # questions without an answer that the log names
PictureFormat = Literal["BMP", "PNG"]


logger = logging.getLogger(__name__)


def greedy_answers(generator: Generator, docs: list[Doc], picture_format: PictureFormat) -> list[ModelResponse]:
    """One greedy answer per question, in their order, at most its `generation_size` tokens long.

    Questions of one group, which mostly share their pictures, are asked one after the other, in both orders of the
    pictures: a local model encodes the pictures once, and a server finds them in its prefix cache.

    Args:
        generator: the model.
        docs: the questions.
        picture_format: BMP is the bare pixels, for a model in this process; PNG is what every endpoint reads, as it
            does the bytes that a question set holds.

    A question without a reply (a content filter, an error that it alone causes) is `Unanswered`; a rerun asks it
    again.

    Raises:
        InputError: `chat_request` cannot make a request, or no question at all got an answer.
    """
    order, answers = asking_order(docs), dict[int, ModelResponse]()
    failed: list[InputError] = []
    for index, outcome in ask(generator, order, lambda index: chat_request(docs[index], picture_format)):
        if isinstance(outcome, Failed):
            failed.append(InputError(_place(docs[index]), f"no answer ({outcome.reason})", _HINT))
            answers[index] = Unanswered(input=docs[index].query, text=[""], reason=outcome.reason)
        else:
            answers[index] = ModelResponse(input=docs[index].query, text=[outcome.answer])
    if failed and len(failed) == len(docs):
        raise failed[0]
    for fault in failed[:_SHOWN]:
        logger.warning("%s: %s", fault.where, fault.problem)
    if failed:
        logger.warning("%d of %d questions got no answer; run again to ask only these", len(failed), len(docs))
    return [answers[index] for index in range(len(docs))]


def asking_order(docs: list[Doc]) -> list[int]:
    """Positions in `docs`: short answers first, long questions first, groups together, their tasks one by one."""
    longest: defaultdict[str, int] = defaultdict(int)
    for doc in docs:
        group = specific(doc)["group"]
        longest[group] = max(longest[group], len(doc.query))

    def place(index: int) -> tuple[int, int, str, str, int]:
        doc, group = docs[index], specific(docs[index])["group"]
        return doc.generation_size or 0, -longest[group], group, doc.task_name, -len(doc.query)

    return sorted(range(len(docs)), key=place)


def chat_request(doc: Doc, picture_format: PictureFormat = "BMP") -> ChatRequest:
    """The question as one user turn, each image where its placeholder is.

    Raises:
        InputError: `doc` has few-shot examples, another number of images than placeholders, or a damaged image.
    """
    if doc.fewshot_samples:
        raise InputError(f"task {doc.task_name}", "few-shot examples are not supported", "Use the task as `name|0`")
    images, places = doc.images or [], doc.query.count(IMAGE)
    if len(images) != places:
        problem = f"its text has {places} {IMAGE} and {len(images)} images are there"
        raise InputError(_place(doc), problem, "Fix the row, so that each image has its place in the text")
    try:
        if isinstance(images, RowImages) and picture_format == "PNG":
            pictures = tuple(images.encoded())  # as PNG: 24 ms for 1.4, ten times the bytes (640 × 480)
        else:
            pictures = tuple(_encode(image, picture_format) for image in images)
    except (OSError, SyntaxError) as error:  # Pillow reads a file's pixels late
        problem = f"one of its pictures does not decode ({error})"
        raise InputError(_place(doc), problem, "Replace the picture, or remove the question from the set") from error
    return ChatRequest([message("user", doc.query)], pictures, Decoding(max_tokens=doc.generation_size or 256))


def _place(doc: Doc) -> str:
    return f"{doc.task_name}, question {specific(doc)['id']}"


def _encode(image: Image.Image, picture_format: PictureFormat) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, picture_format, **({"compress_level": 1} if picture_format == "PNG" else {}))
    return buffer.getvalue()
