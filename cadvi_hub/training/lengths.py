"""Rows that fit: all image tokens are counted, and only the end of a conversation is cut."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Value, concatenate_datasets
from jinja2 import TemplateError
from PIL import UnidentifiedImageError
from transformers import ProcessorMixin

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import reason
from cadvi_hub.core.schema import Message, instruct_features
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.image_texts import ImageTexts
from cadvi_hub.training.pixels import UNLIMITED, PixelBudget, image_size
from cadvi_hub.training.rendering import MARKED, fault, has_marks, marks_of, render

REPLACE = "Replace the picture, or remove the row"
FIX = "Fix the row, or remove it"
# What happens to a row
WHOLE, FEWER_TURNS, SHORTER_ANSWER, NO_ROOM, WITH_MARKS, NOT_SWAPPED, NO_QUESTION = OUTCOMES = range(7)
CUT = {FEWER_TURNS: "later turns", SHORTER_ANSWER: "end of an answer"}
FIRST = 64  # rows among which those are that verify the count
VERIFIED = 2  # rows of each number of images that are made into batches, to verify the count


@dataclass(frozen=True)
class Fitted:
    """Rows that fit, and what was dropped or cut.

    Attributes:
        dataset: the columns that were counted, swapped, and length (tokens, image tokens included).
        dropped: dropped rows, by reason.
        cut: rows that lost text, by kind: later turns, or the end of an answer. In the latter case the messages are
            whole here, and the collator cuts the tokens, because a shorter text may be tokenized differently.
    """

    dataset: Dataset
    dropped: dict[str, int]
    cut: dict[str, int]


class RowCounter:
    """Counts the tokens of the rows of one data set, which are conversations.

    Args:
        name: the data set's name in errors.
        processor: of the model to tune, with the template that marks the answers.
        max_tokens: longest row.
        budget: of the pixels of its pictures.

    Raises:
        InputError: the processor does not tell what it writes for an image.
    """

    def __init__(self, name: str, processor: ProcessorMixin, max_tokens: int, budget: PixelBudget = UNLIMITED):
        self.name, self.max_tokens, self.budget = name, max_tokens, budget
        self.processor: Any = processor
        self.image_texts = ImageTexts(processor)

    collator: type[Collator] = Collator  # makes batches of such rows

    @staticmethod
    def features() -> Features:
        """The columns that it reads; all but the images are also in what it returns."""
        features = instruct_features()
        return Features({name: features[name] for name in ("images", "messages")})

    @property
    def reasons(self) -> dict[int, str]:
        """Why rows are dropped, by what happens to them."""
        return {NO_ROOM: f"images and question leave no room in {self.max_tokens} tokens", WITH_MARKS: MARKED}

    def __call__(self, rows: pa.Table, indices: list[int]) -> pa.Table:
        """Columns messages (what remains of them), length, swapped (see `order`), and outcome.

        Args:
            rows: the columns of `features`.
            indices: the row numbers for errors.
        """
        messages = rows["messages"].to_pylist()
        for turns, index in zip(messages, indices, strict=True):
            if problem := fault(turns):
                raise InputError(self._place(index), problem, FIX)
        marks = marks_of(self.processor)
        images = self._image_texts(rows["images"], indices)
        texts = [self._render(turns, index) for turns, index in zip(messages, indices, strict=True)]
        marked = [has_marks(turns, marks) for turns in messages]
        for text, index, written, is_marked in zip(texts, indices, images, marked, strict=True):
            if not is_marked and (places := text.count(self.processor.image_token)) != len(written):
                problem = f"{places} image places for {len(written)} images"
                raise InputError(self._place(index), problem, "Give each image its place")
        lengths = self._lengths([("", []) if skip else row for *row, skip in zip(texts, images, marked, strict=True)])
        kept, outcomes = [], []
        for number, (turns, index, written) in enumerate(zip(messages, indices, images, strict=True)):
            outcome = WITH_MARKS if marked[number] else WHOLE
            if lengths[number] > self.max_tokens:
                turns, lengths[number], outcome = self._shorten(turns, index, written)
            kept.append(turns)
            outcomes.append(outcome)
        columns = [pa.array(kept, rows.schema.field("messages").type), pa.array(lengths, pa.int32())]
        columns += [pa.array([False] * len(kept)), pa.array(outcomes, pa.int8())]
        return pa.table(columns, names=["messages", "length", "swapped", "outcome"])

    def _place(self, index: int) -> str:
        return f"data set {self.name!r}, row {index}"

    def _render(self, turns: list[Message], index: int, **template: Any) -> str:
        try:
            text: str = render(self.processor, [turns], **template)[0][0]
            return text
        except (TemplateError, TypeError) as error:
            problem = f"the chat template refuses it ({error})"
            raise InputError(self._place(index), problem, "Fix its messages") from error

    def _lengths(self, rows: list[Any]) -> list[int]:
        """Tokens of each rendered text, with what the processor writes for its images."""
        texts, left_out = [], []
        for text, written in rows:
            first, *rest = text.split(self.processor.image_token)
            images = [self.image_texts.collapsed(image) for image in written]
            texts.append(first + "".join(image + after for (image, _), after in zip(images, rest, strict=True)))
            left_out.append(sum(tokens for _, tokens in images))
        counted = self.processor.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [len(tokens) + more for tokens, more in zip(counted, left_out, strict=True)]

    def _image_texts(self, images: pa.ChunkedArray, indices: list[int]) -> list[list[str]]:
        """Per row, what the processor writes for each of its images."""
        counts = pc.list_value_length(images).fill_null(0).to_pylist()
        owners = iter(np.repeat(indices, counts).tolist())
        sizes = []
        for chunk in pc.list_flatten(images).chunks:
            for data in chunk.field("bytes"):
                index = next(owners)
                if not data.is_valid:
                    hint = "Add them with cadvi build … --source.format built --source.images …"
                    problem = "its rows name their pictures but do not hold them"
                    raise InputError(f"data set {self.name!r}", problem, hint)
                try:
                    sizes.append(image_size(data.as_buffer()))
                except UnidentifiedImageError as error:  # its text only names the buffer
                    raise InputError(self._place(index), "a picture of it is damaged", REPLACE) from error
                except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, its own …
                    problem = f"a picture of it is damaged or too large ({error})"
                    raise InputError(self._place(index), problem, REPLACE) from error
        written, ends = [], np.cumsum(counts).tolist()
        for index, start, end in zip(indices, [0, *ends], ends, strict=False):
            of_row = self.budget.sizes([(height, width) for height, width in sizes[start:end]])
            try:
                written.append(self.image_texts(of_row))
            except Exception as error:  # processors raise ValueError, ZeroDivisionError, their libraries' own
                shown = ", ".join(f"{width} × {height}" for height, width in of_row)
                problem = f"the processor refuses its pictures of {shown} pixels ({reason(error)})"
                raise InputError(self._place(index), problem, REPLACE) from error
        return written

    def _shorten(self, turns: list[Message], index: int, written: list[str]) -> tuple[list[Message], int, int]:
        """What remains of a conversation that is too long, its length, and its outcome.

        Every image stays. So a row must keep at least a part of the first answer after the last image.
        """
        last_image = max((i for i, turn in enumerate(turns) if _has_image(turn)), default=-1)
        answers = [i for i, turn in enumerate(turns) if turn["role"] == "assistant" and i > last_image]

        def length(number: int, **template: Any) -> int:
            return self._lengths([(self._render(turns[:number], index, **template), written)])[0]

        fitting = bisect_right(answers, self.max_tokens, key=lambda answer: length(answer + 1))
        if fitting:
            end = answers[fitting - 1] + 1
            return turns[:end], length(end), FEWER_TURNS
        if not answers or length(answers[0], add_generation_prompt=True) >= self.max_tokens:
            return [], 0, NO_ROOM
        return turns[: answers[0] + 1], self.max_tokens, SHORTER_ANSWER

    def verify(self, rows: Iterable[dict[str, Any]]) -> None:
        """Make batches of the first rows of each number of images, and compare their lengths with the count.

        Args:
            rows: images (decoded), messages and length.

        Raises:
            InputError: the processor refuses a row, or makes another number of tokens of it.
        """
        seen: Counter[int] = Counter()
        collate = self.collator(self.processor, self.max_tokens, budget=self.budget)
        for row in rows:
            images = len(row["images"] or [])
            if seen[images] >= VERIFIED:
                continue
            seen[images] += 1
            try:
                made = collate([row])["input_ids"].shape[1]
            except InputError:
                raise
            except Exception as error:  # as in `_image_texts`
                problem = f"a row of {images} images of the data set {self.name!r} makes no batch ({reason(error)})"
                raise InputError(type(self.processor).__name__, problem, "Choose a model of another family") from error
            if made != row["length"]:
                problem = f"a row of {images} images has {made} tokens, and {row['length']} were counted"
                raise InputError(type(self.processor).__name__, problem, "Choose a model of another family")


def _has_image(turn: Message) -> bool:
    return any(part["type"] == "image" for part in turn["content"])


def fit_rows(
    dataset: Dataset,
    name: str,
    processor: ProcessorMixin,
    max_tokens: int,
    num_proc: int | None = None,
    budget: PixelBudget = UNLIMITED,
    counting: type[RowCounter] = RowCounter,
) -> Fitted:
    """The rows of a data set that fit, in their order. Text is cut where that makes a row fit.

    Later turns are removed first, each as a whole. If the first answer (after the last image) alone is too long, its
    end is cut. A row whose images and question leave no room for an answer is dropped, and so is one whose text holds
    a special token of the model.

    Args:
        dataset: the columns that `counting` reads; no picture is decoded or copied.
        name: the data set's name in errors.
        processor: of the model to tune, with the template that marks the answers.
        max_tokens: longest row, image tokens included.
        num_proc: processes that count.
        budget: of the pixels of a row's pictures.
        counting: for rows of another kind.

    Raises:
        InputError: a row has more or fewer image places than images, a missing or damaged picture, no answer, or
            messages that the template refuses; or the processor refuses a picture, or counts otherwise.
    """
    counter = counting(name, processor, max_tokens, budget)
    texts = {column: kind for column, kind in counter.features().items() if column != "images"}
    counted = dataset.with_format("arrow").map(
        counter,
        batched=True,
        with_indices=True,
        remove_columns=dataset.column_names,
        features=Features(texts | {"length": Value("int32"), "swapped": Value("bool"), "outcome": Value("int8")}),
        num_proc=num_proc,
        desc=f"Counting tokens of {name}",
    )
    outcomes = counted.with_format("numpy")["outcome"][:]
    reasons = counter.reasons
    counts = np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()
    counted = counted.remove_columns("outcome").with_format(None)
    joined = concatenate_datasets([dataset.select_columns("images"), counted], axis=1)
    is_kept = ~np.isin(outcomes, list(reasons))
    kept = joined if is_kept.all() else joined.select(np.flatnonzero(is_kept))
    counter.verify(kept[index] for index in range(min(len(kept), FIRST)))
    return Fitted(
        kept,
        {why: counts[outcome] for outcome, why in reasons.items()},
        {kind: counts[outcome] for outcome, kind in CUT.items()},
    )
