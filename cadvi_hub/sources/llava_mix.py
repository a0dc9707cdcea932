"""The instruction mix of LLaVA-1.5: `{id, image, conversations: [{from: human|gpt, value}]}`, `image` absent for text.

`llava_v1_5_mix665k.json`, or the same as `instruct.json`, holds one list of such rows; `instruct.jsonl` holds one row
per line. Both are streamed. `<image>` marks the place of the image in a value.
Format: https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.json_stream import json_lines, list_rows
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, Message, message
from cadvi_hub.sources.rows import Row, found, identifier, items, mapping, read_rows, text, unreadable
from cadvi_hub.sources.settings import SourceSettings

FILES = ("instruct.jsonl", "llava_v1_5_mix665k.json", "instruct.json")  # the first that is there is read
TURNS = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True, slots=True)
class InstructExample:
    """A conversation about one image or none; `images` are file names below the image folder."""

    id: str
    images: tuple[str, ...]
    messages: list[Message]
    source: str


def read_llava_mix(settings: SourceSettings, images: ImageStore, drops: Drops) -> Iterator[InstructExample]:
    """Yield one example per row in file order.

    Raises:
        InputError: no file, a file that is not a JSON list, or a bad row if `settings.bad_rows` is `refuse`.
    """

    def make_record(row: Row) -> InstructExample:
        names = (found(text(row, "image"), images),) if row.get("image") is not None else ()
        return InstructExample(identifier(row, "id"), names, messages_of(row, len(names)), settings.name)

    file = next((file for name in FILES if (file := settings.path / name).is_file()), settings.path / FILES[-1])
    rows = json_lines(file) if file.suffix == ".jsonl" else list_rows(file)
    return read_rows(file, rows, make_record, settings, drops)


def messages_of(row: Row, images: int) -> list[Message]:
    """The `conversations` of a row as messages; `images` is the number of its images.

    Raises:
        RowError: turns that do not alternate, or a number of `<image>` other than `images`.
    """
    turns = [mapping(turn, "an entry of 'conversations'") for turn in items(row, "conversations")]
    if not turns or [turn.get("from") for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise unreadable("'conversations' does not alternate human, gpt")
    values = [text(turn, "value") for turn in turns]
    placeholders = sum(value.count(IMAGE_PLACEHOLDER) for value in values)
    if placeholders != images:
        raise unreadable(f"{placeholders} {IMAGE_PLACEHOLDER} for {images} images")
    return [message(TURNS[turn["from"]], value) for turn, value in zip(turns, values, strict=True)]
