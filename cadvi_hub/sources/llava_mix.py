"""The instruction mix of LLaVA-1.5: `{id, image, conversations: [{from: human|gpt, value}]}`, `image` absent for text.

`llava_v1_5_mix665k.json`, or the same as `instruct.json`, holds one list of such rows; `instruct.jsonl` holds one row
per line. Both are streamed. `<image>` marks the place of an image in a value.

Rows about several images have a list: `image` as in M4-Instruct, whose id is `sample_id`, or `images` with
`conversation: [{role: user|assistant, content}]` as in Mantis-Instruct.
Formats: https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K,
https://huggingface.co/datasets/lmms-lab/M4-Instruct-Data, https://huggingface.co/datasets/TIGER-Lab/Mantis-Instruct
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
IMAGES_AT_MOST = 100  # of one row; a longer list is a mistake


@dataclass(frozen=True, slots=True)
class InstructExample:
    """A conversation about any number of images; `images` are file names below the image folder, in prompt order."""

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
        names = tuple(found(name, images) for name in _image_names(row))
        row_id = identifier(row, "sample_id" if "id" not in row and "sample_id" in row else "id")
        return InstructExample(row_id, names, messages_of(row, len(names)), settings.name)

    file = next((file for name in FILES if (file := settings.path / name).is_file()), settings.path / FILES[-1])
    rows = json_lines(file) if file.suffix == ".jsonl" else list_rows(file)
    return read_rows(file, rows, make_record, settings, drops)


def messages_of(row: Row, images: int) -> list[Message]:
    """The `conversations`, or Mantis' `conversation`, of a row as messages; `images` is the number of its images.

    Raises:
        RowError: turns that do not alternate, or a number of `<image>` other than `images`.
    """
    mantis = "conversations" not in row and "conversation" in row
    key, speaker, said = ("conversation", "role", "content") if mantis else ("conversations", "from", "value")
    turns = [mapping(turn, f"an entry of {key!r}") for turn in items(row, key)]
    order = list(TURNS.values() if mantis else TURNS)
    if not turns or [turn.get(speaker) for turn in turns] != order * (len(turns) // 2):
        raise unreadable(f"{key!r} does not alternate {', '.join(order)}")
    values = [text(turn, said) for turn in turns]
    placeholders = sum(value.count(IMAGE_PLACEHOLDER) for value in values)
    if placeholders != images:
        raise unreadable(f"{placeholders} {IMAGE_PLACEHOLDER} for {images} images")
    roles = list(TURNS.values()) * (len(turns) // 2)
    return [message(role, value) for role, value in zip(roles, values, strict=True)]


def _image_names(row: Row) -> list[str]:
    """The names in `image` or `images`: none, one, or a list of them."""
    key = "images" if row.get("image") is None and "images" in row else "image"
    if row.get(key) is None:
        return []
    if isinstance(row[key], str):
        return [text(row, key)]
    names = items(row, key)
    if len(names) > IMAGES_AT_MOST:
        raise unreadable(f"{len(names)} images, more than {IMAGES_AT_MOST}")
    return [text(name if isinstance(name, dict) else {"path": name}, "path") for name in names]
