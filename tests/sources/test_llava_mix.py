"""Rows of LLaVA's form about several images, and ids that would show where files were."""

from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.sources.llava_mix import read_llava_mix
from tests.sources.test_readers import LLAVA_ROWS, folder, read, turns, write_lines

__all__ = ["folder"]  # a fixture


M4 = {"sample_id": 5, "image": ["b.png", "./a.png"], "conversations": turns("<image> or <image>?", "The second.")}
MANTIS = {
    "id": "5",
    "images": [{"path": "b.png", "bytes": None}, {"path": "a.png", "bytes": None}],
    "conversation": [
        {"role": "user", "content": "<image> or <image>?"},
        {"role": "assistant", "content": "The second."},
    ],
}


@pytest.mark.parametrize("row", [M4, MANTIS, {**MANTIS, "images": ["b.png", "a.png"]}])
def test_llava_rows_about_several_images_keep_each_in_its_place(folder: Path, row: dict[str, Any]) -> None:
    write_lines(folder / "instruct.jsonl", row)
    (record,), drops = read(read_llava_mix, folder)
    assert drops == {}
    assert (record.id, record.images) == ("5", ("b.png", "a.png"))
    image = {"type": "image", "text": None}
    parts = [image, {"type": "text", "text": " or "}, image, {"type": "text", "text": "?"}]
    assert record.messages[0] == {"role": "user", "content": parts}
    assert [message["role"] for message in record.messages] == ["user", "assistant"]


def test_an_id_that_is_an_absolute_path_is_published_as_a_name(folder: Path) -> None:
    write_lines(
        folder / "instruct.jsonl", *({**LLAVA_ROWS[1], "id": name} for name in ("/home/me/x.jpg", "C:\\me\\x", "a/b"))
    )
    assert [record.id for record in read(read_llava_mix, folder)[0]] == ["x.jpg", "x", "a/b"]
