"""Files are whole or absent, errors name them, and a digest depends on content alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tqdm

from cadvi_hub.core import files
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import WriteError, digest_of_files, read_json, replacing, replacing_folder, write_json


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be renamed: the last step of every write."""

    def fail(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", fail)


def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    content = {"a": [1, None, "é"]}
    write_json(tmp_path / "a.json", content)
    files.write_text(tmp_path / "b.txt", "é\n")
    files.write_json_lines(tmp_path / "c.jsonl", iter([content, []]))
    assert read_json(tmp_path / "a.json") == content
    assert (tmp_path / "a.json").read_bytes() == '{\n  "a": [\n    1,\n    null,\n    "é"\n  ]\n}\n'.encode()
    assert (tmp_path / "b.txt").read_bytes() == "é\n".encode()
    assert (tmp_path / "c.jsonl").read_bytes() == '{"a": [1, null, "é"]}\n[]\n'.encode()
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.txt", "c.jsonl"}


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def write_half() -> None:
        with replacing(file) as new:
            new.write(b"half of the n")
            assert file.read_bytes() == b"old"
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_fills_while_a_file_is_written_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    with pytest.raises(WriteError, match="/a: cannot be written"), replacing(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_rows_that_fail_leave_no_file(tmp_path: Path) -> None:
    def rows() -> Any:
        yield {}
        raise InputError("x", "is bad", "Fix it")

    with pytest.raises(InputError, match="x: is bad"):
        files.write_json_lines(tmp_path / "rows.jsonl", rows())
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "part"

    def write_half() -> None:
        with replacing_folder(folder) as new:
            (new / "b").write_text("2")
            raise KeyError

    with replacing_folder(folder) as new:
        (new / "a").write_text("1")
        assert not folder.exists()
    with pytest.raises(KeyError):
        write_half()
    assert [path.name for path in folder.iterdir()] == ["a"]
    with replacing_folder(folder) as new:
        assert not list(new.iterdir())  # what the failed block left is gone
        (new / "c").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [folder]


def _fill(path: Path) -> None:
    with replacing_folder(path):
        pass


WRITERS = pytest.mark.parametrize(
    "write", [lambda path: write_json(path, {}), lambda path: files.write_json_lines(path, [{}]), _fill]
)


@WRITERS
@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_a_write_error_that_names_the_place(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(WriteError, match=r"/out: cannot be written \(No space left on device\)\. Free some space"):
        write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@WRITERS
def test_a_place_that_is_no_folder_is_a_write_error(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"/file/out: cannot be written \(Not a directory\)"):
        write(tmp_path / "file/out")


def test_only_what_a_disk_says_to_a_writer_is_a_write_error() -> None:
    with pytest.raises(WriteError, match="x: cannot be written"), files.writing("x"):
        raise OSError(errno.EROFS, "Read-only file system")
    with pytest.raises(FileNotFoundError), files.writing("x"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")  # the block may have read it


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, r"it cannot be read \(No such file or directory\)"),
        (b'{"a": ', "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 200_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_what_is_not_a_json_object_is_refused_with_the_hint(tmp_path: Path, content: Any, problem: str) -> None:
    file = tmp_path / "a.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json: {problem}.*Name another file"):
        read_json(file, "Name another file")


def test_a_file_a_folder_and_a_link_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "a").mkdir(parents=True)
    (tmp_path / "folder/a").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(kept)
    for name in ("folder", "file", "link", "missing"):
        files.remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "a").is_dir()


def test_the_digest_changes_with_what_files_hold_and_their_order_alone(tmp_path: Path) -> None:
    names = ("one", "two", "copy of one")
    one, two, copy = (tmp_path / name for name in names)
    for file, content in zip((one, two, copy), (b"a", b"b", b"a"), strict=True):
        file.write_bytes(content)
    assert digest_of_files([one, two]) == digest_of_files([copy, two])
    assert len({digest_of_files(given) for given in ([one, two], [two, one], [one], [one, one], [])}) == 5


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for missing, problem in ((tmp_path / "gone", r"cannot be read \("), (tmp_path, "it is a folder")):
        with pytest.raises(InputError, match=rf"^{missing}: {problem}.*Check source\.path"):
            digest_of_files([missing])


def test_a_bar_shows_the_bytes_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.core.files._CHUNK", 4)
    shown: list[tuple[float | None, float | None]] = []

    base: Any = tqdm.tqdm  # a generic class, but only for type checkers

    class Bar(base):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            shown.append((n, self.total))
            done: bool | None = super().update(n)
            return done

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    read = [tmp_path / "one", tmp_path / "two"]
    read[0].write_bytes(b"abcdefghij")
    read[1].write_bytes(b"klm")
    digest_of_files(read)
    assert shown == [(4, 13), (4, 13), (2, 13), (3, 13)]


def test_content_and_name_are_forced_to_the_disk_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        fsync(handle)
        done.append("sync " + Path(f"/proc/self/fd/{handle}").readlink().name)

    def watched_rename(self: Path, target: Path) -> Path:
        done.append(f"rename {self.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_rename)
    write_json(tmp_path / "a.json", {})
    assert done == ["sync .a.json.tmp", "rename .a.json.tmp", f"sync {tmp_path.name}"]
    done.clear()
    with replacing_folder(tmp_path / "folder") as new:
        (new / "b").write_text("")
        (new / "sub").mkdir()
        (new / "sub/c").write_text("")
    names = {"sync .folder.tmp", "sync b", "sync sub", "sync c"}
    assert (set(done[:4]), done[4:]) == (names, ["rename .folder.tmp", f"sync {tmp_path.name}"])
    done.clear()
    with replacing(tmp_path / "one of many", durable=False) as file:
        file.write(b"")
    assert done == ["rename .one of many.tmp"]
