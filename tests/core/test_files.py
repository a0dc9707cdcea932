"""A source's digest tells its content, whatever its files are called and wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import digest_of_files


def test_the_digest_changes_with_what_files_hold_and_their_order_alone(tmp_path: Path) -> None:
    names = ("one", "two", "copy of one")
    one, two, copy = (tmp_path / name for name in names)
    for file, content in zip((one, two, copy), (b"a", b"b", b"a"), strict=True):
        file.write_bytes(content)
    assert digest_of_files([one, two]) == digest_of_files([copy, two])
    assert len({digest_of_files(files) for files in ([one, two], [two, one], [one], [one, one], [])}) == 5


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "gone", tmp_path):
        with pytest.raises(InputError, match=rf"^{missing}: cannot be read \(.*Check source\.path"):
            digest_of_files([missing])


def test_a_bar_shows_the_bytes_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.core.files._CHUNK", 4)
    shown = []

    class Bar(tqdm.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            shown.append((n, self.total))
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    files = [tmp_path / "one", tmp_path / "two"]
    files[0].write_bytes(b"abcdefghij")
    files[1].write_bytes(b"klm")
    digest_of_files(files)
    assert shown == [(4, 13), (4, 13), (2, 13), (3, 13)]
