"""Rows that fit: all image tokens are counted, and only the end of a conversation is cut."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Value, concatenate_datasets
from jinja2 import TemplateError
from PIL import ExifTags, UnidentifiedImageError
from transformers import LlavaOnevisionProcessor, ProcessorMixin, SmolVLMProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_encoded
from cadvi_hub.core.schema import Message

REPLACE = "Replace the picture, or remove the row"
WHOLE, FEWER_TURNS, SHORTER_ANSWER, DROPPED = range(4)  # what happens to a row
CUT = {FEWER_TURNS: "later turns", SHORTER_ANSWER: "end of an answer"}


def no_room(max_tokens: int) -> str:
    """Why a row is dropped."""
    return f"images and question leave no room in {max_tokens} tokens"


@dataclass(frozen=True)
class Fitted:
    """Rows that fit, and what was dropped or cut.

    Attributes:
        dataset: columns images, messages and length (tokens, image tokens included).
        dropped: dropped rows, by reason.
        cut: rows that lost text, by kind: later turns, or the end of an answer. In the latter case the messages are
            whole here, and the collator cuts the tokens, because a shorter text may be tokenized differently.
    """

    dataset: Dataset
    dropped: dict[str, int]
    cut: dict[str, int]


def image_size(data: pa.Buffer) -> list[int]:
    """[height, width] of an encoded picture as it is displayed, in pixels. Also checks that the file is complete.

    A JPEG or WebP file is complete if its end is right, and a PNG file if its checksums are right. None is decoded.

    Raises:
        OSError: not a picture, or incomplete. For damaged files Pillow also raises other errors.
    """
    content = data.to_pybytes()  # some of Pillow's readers cannot read lines of a pa.BufferReader
    with open_encoded(content) as image:
        width, height = image.size
        # getexif would decode a PNG, to look for a chunk after its pixels.
        has_exif = image.format != "PNG" or "exif" in image.info
        is_turned = has_exif and image.getexif().get(ExifTags.Base.Orientation, 1) > 4  # by 90°, as in `datasets`
        if image.format == "PNG":
            image.verify()
        elif not _ends_well(content, image.format):
            image.load()
    return [width, height] if is_turned else [height, width]


def _ends_well(content: bytes, kind: str | None) -> bool:
    """Whether an encoded picture is certainly complete."""
    if kind in ("JPEG", "MPO"):
        return content.endswith(b"\xff\xd9")  # the marker EOI (ITU-T T.81, B.1.1.3)
    if kind == "WEBP":  # a RIFF file: bytes 4 to 7 hold its length minus 8
        return len(content) >= int.from_bytes(content[4:8], "little") + 8
    return False


class RowCounter:
    """Counts the tokens of the rows of one data set.

    Args:
        name: the data set's name in errors.
        processor: its template renders the messages, and it knows the number of tokens of a picture by its size.
        max_tokens: longest row.

    Raises:
        InputError: the processor cannot count image tokens.
    """

    def __init__(self, name: str, processor: ProcessorMixin, max_tokens: int):
        self.name, self.max_tokens = name, max_tokens
        self.processor: Any = processor
        problem = None
        if isinstance(processor, LlavaOnevisionProcessor):
            problem = "it counts every picture as if it were the only one of its row"
        elif not isinstance(processor, SmolVLMProcessor) and not hasattr(processor, "_get_num_multimodal_tokens"):
            problem = "it does not say how many tokens a picture takes"  # vLLM needs the same method
        if problem:
            raise InputError(type(processor).__name__, problem, "Choose a model of another family")

    def __call__(self, rows: pa.Table, indices: list[int]) -> pa.Table:
        """Columns messages (what remains of them), length, and outcome; `indices` are the row numbers for errors."""
        messages = rows["messages"].to_pylist()
        images = self._image_tokens(rows["images"], indices)
        texts = [self._render(turns, index) for turns, index in zip(messages, indices, strict=True)]
        kept, lengths, outcomes = [], [], []
        counted = self.processor.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        for turns, index, taken, tokens, text in zip(messages, indices, images, counted, texts, strict=True):
            if not any(turn["role"] == "assistant" for turn in turns):
                hint = "Remove the row: there is nothing to learn"
                raise InputError(self._place(index), "it has no assistant message", hint)
            if (places := text.count(self.processor.image_token)) != len(taken):
                problem = f"{places} image places for {len(taken)} images"
                raise InputError(self._place(index), problem, "Give each image its place")
            extra = sum(taken) - len(taken)  # the place itself already counts as one token
            length, outcome = len(tokens) + extra, WHOLE
            if length > self.max_tokens:
                turns, length, outcome = self._shorten(turns, index, extra)
            kept.append(turns)
            lengths.append(length)
            outcomes.append(outcome)
        columns = [pa.array(kept, rows.schema.field("messages").type), pa.array(lengths, pa.int32())]
        return pa.table([*columns, pa.array(outcomes, pa.int8())], names=["messages", "length", "outcome"])

    def _place(self, index: int) -> str:
        return f"data set {self.name!r}, row {index}"

    def _render(self, turns: list[Message], index: int, **template: Any) -> str:
        try:
            text: str = self.processor.apply_chat_template(turns, **template)
            return text
        except (TemplateError, TypeError) as error:
            problem = f"the chat template refuses it ({error})"
            raise InputError(self._place(index), problem, "Fix its messages") from error

    def _image_tokens(self, images: pa.ChunkedArray, indices: list[int]) -> list[list[int]]:
        """Per row, the number of tokens of each of its images."""
        counts = pc.list_value_length(images).fill_null(0).to_pylist()
        owners = iter(np.repeat(indices, counts).tolist())
        sizes = []
        for chunk in pc.list_flatten(images).chunks:
            for data in chunk.field("bytes"):
                index = next(owners)
                if not data.is_valid:
                    hint = "Add them with cadvi build … --source.format built --source.images '[…]'"
                    problem = "its rows name their pictures but do not hold them"
                    raise InputError(f"data set {self.name!r}", problem, hint)
                try:
                    sizes.append(image_size(data.as_buffer()))
                except UnidentifiedImageError as error:  # its text only names the buffer
                    raise InputError(self._place(index), "a picture of it is damaged", REPLACE) from error
                except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, its own …
                    problem = f"a picture of it is damaged or too large ({error})"
                    raise InputError(self._place(index), problem, REPLACE) from error
        tokens = iter(self._tokens_of(sizes) if sizes else [])
        return [[next(tokens) for _ in range(count)] for count in counts]

    def _tokens_of(self, sizes: list[list[int]]) -> list[int]:
        """Number of tokens of a picture of each size."""
        if not isinstance(self.processor, SmolVLMProcessor):
            counts: list[int] = self.processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"]
            return counts
        # SmolVLM2's processor cannot count, but it writes the text for a picture of given rows and columns of tiles.
        grids = [self.processor.image_processor.get_number_of_image_patches(*size, {})[1:] for size in sizes]
        tokens = {}
        for rows, columns in set(grids):
            place = self.processor.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0)
            tokens[rows, columns] = len(self.processor.tokenizer(place, add_special_tokens=False)["input_ids"])
        return [tokens[grid] for grid in grids]

    def _shorten(self, turns: list[Message], index: int, extra: int) -> tuple[list[Message], int, int]:
        """What remains of a conversation that is too long, its length, and its outcome.

        Every image stays. So a row must keep at least a part of the first answer after the last image.
        """
        last_image = max((i for i, turn in enumerate(turns) if _has_image(turn)), default=-1)
        answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant" and i > last_image]

        def length(number: int, **template: Any) -> int:
            text = self._render(turns[:number], index, **template)
            return len(self.processor.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) + extra

        fitting = bisect_right(answers, self.max_tokens, key=lambda answer: length(answer + 1))
        if fitting:
            end = answers[fitting - 1] + 1
            return turns[:end], length(end), FEWER_TURNS
        if not answers or length(answers[0], add_generation_prompt=True) >= self.max_tokens:
            return [], 0, DROPPED
        return turns[: answers[0] + 1], self.max_tokens, SHORTER_ANSWER


def _has_image(turn: Message) -> bool:
    return any(part["type"] == "image" for part in turn["content"])


def fit_rows(
    dataset: Dataset, name: str, processor: ProcessorMixin, max_tokens: int, num_proc: int | None = None
) -> Fitted:
    """The rows of a data set that fit, in their order. Text is cut where that makes a row fit.

    Later turns are removed first, each as a whole. If the first answer (after the last image) alone is too long, its
    end is cut. A row whose images and question leave no room for an answer is dropped.

    Args:
        dataset: columns images and messages; no picture is decoded or copied.
        name: the data set's name in errors.
        processor: of the model to tune, with the template that marks the answers.
        max_tokens: longest row, image tokens included.
        num_proc: processes that count.

    Raises:
        InputError: a row has more or fewer image places than images, a missing or damaged picture, no answer, or
            messages that the template refuses; or the processor cannot count image tokens.
    """
    counted = dataset.with_format("arrow").map(
        RowCounter(name, processor, max_tokens),
        batched=True,
        with_indices=True,
        remove_columns=dataset.column_names,
        features=Features(
            {"messages": dataset.features["messages"], "length": Value("int32"), "outcome": Value("int8")}
        ),
        num_proc=num_proc,
        desc=f"Counting tokens of {name}",
    )
    outcomes = counted.with_format("numpy")["outcome"][:]
    counts = np.bincount(outcomes, minlength=DROPPED + 1).tolist()
    counted = counted.remove_columns("outcome").with_format(None)
    joined = concatenate_datasets([dataset.select_columns("images"), counted], axis=1)
    return Fitted(
        joined.select(np.flatnonzero(outcomes != DROPPED)) if counts[DROPPED] else joined,
        {no_room(max_tokens): counts[DROPPED]},
        {kind: counts[outcome] for outcome, kind in CUT.items()},
    )
