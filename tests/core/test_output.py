"""An output folder: what a command made there, what others put there, and a result that is never half replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import WriteError, replacing_folder
from cadvi_hub.core.output import RECORD, open_output, replacing_output
from tests.support.crashes import DiedError, dying, shown

HOLD = """
import sys
from pathlib import Path
from cadvi_hub.core.output import open_output
with open_output(Path(sys.argv[1]), "test"):
    print("held", flush=True)
    sys.stdin.read()
"""


def tree(folder: Path) -> dict[str, str]:
    return {name: content.decode() for name, content in shown(folder).items()}


def write(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / name).write_text(content)


def test_a_second_process_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        who = rf"process {first.pid} on {os.uname().nodename}, since 20"
        refused = rf"another process is writing to this folder \({who}"
        with pytest.raises(InputError, match=refused), open_output(tmp_path, "test"):
            pass
        first.kill()
    with open_output(tmp_path, "test"):
        pass


def test_nothing_is_replaced_that_the_command_did_not_make(tmp_path: Path) -> None:
    write(tmp_path, mine="thesis")
    with open_output(tmp_path, "test") as output:
        with pytest.raises(InputError, match=r"mine: `test` did not make it, and would replace it"):
            output.claim(["new", "mine"])
        with pytest.raises(InputError, match="mine: `test` did not make it"), output.replacing() as new:
            write(new, mine="other", theirs="other")
    with open_output(tmp_path, "test") as output, output.replacing() as new:
        write(new, theirs="first")
    with (
        open_output(tmp_path, "another") as output,
        pytest.raises(InputError, match="theirs: `another` did not make it"),
    ):
        output.claim(["theirs"])
    with open_output(tmp_path, "test") as output, output.replacing() as new:
        write(new, others="second")
    assert tree(tmp_path) == {"mine": "thesis", "others": "second"}


@pytest.mark.parametrize("name", ["mine/below", "mine"])
def test_a_file_where_a_folder_goes_and_a_broken_link_are_in_the_way(tmp_path: Path, name: str) -> None:
    if name == "mine":
        (tmp_path / "mine").symlink_to("nowhere")
    else:
        write(tmp_path, mine="thesis")
    with open_output(tmp_path, "test") as output, pytest.raises(InputError, match="mine: `test` did not make it"):
        output.claim([name])


def test_files_of_a_former_version_are_the_commands_own(tmp_path: Path) -> None:
    write(tmp_path, result="old", mine="thesis")
    with open_output(tmp_path, "test", lambda folder: ["result"]) as output, output.replacing() as new:
        write(new, result="new")
    assert tree(tmp_path) == {"result": "new", "mine": "thesis"}
    write(tmp_path, later="not there when the record was made")
    with (
        open_output(tmp_path, "test", lambda folder: ["later"]) as output,
        pytest.raises(InputError, match="later"),
    ):
        output.claim(["later"])


def test_a_result_is_the_old_one_or_the_new_one_wherever_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"a": "1", "b": "1", "last": "1", "mine": "thesis"}
    new = {"a": "2", "c": "2", "last": "2", "mine": "thesis"}
    deaths = 0
    while True:
        folder = tmp_path / str(deaths)
        folder.mkdir()
        write(folder, mine="thesis")
        with open_output(folder, "test") as output, output.replacing() as filled:
            write(filled, a="1", b="1", last="1")
        try:
            with (
                dying(monkeypatch, deaths, folder),
                open_output(folder, "test") as output,
                output.replacing(last="last") as filled,
            ):
                write(filled, a="2", c="2", last="2")
            break
        except DiedError:
            found = tree(folder)
            assert found in (old, new) or "last" not in found  # which says that the others belong together
            with open_output(folder, "reader"):
                assert tree(folder) in (old, new)
        deaths += 1
    assert tree(folder) == new
    assert deaths > 8


def test_a_whole_folder_is_the_old_one_or_the_new_one_wherever_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = 0
    while True:
        folder = tmp_path / f"out{deaths}"
        with replacing_output(folder, "test") as filled:
            write(filled, a="1", b="1")
        try:
            with dying(monkeypatch, deaths, folder), replacing_output(folder, "test") as filled:
                write(filled, a="2", c="2")
            break
        except DiedError:
            assert tree(folder) in ({"a": "1", "b": "1"}, {"a": "2", "c": "2"})
            with replacing_output(folder, "test") as filled:
                write(filled, a="3")
            assert tree(folder) == {"a": "3"}
        deaths += 1
    assert tree(folder) == {"a": "2", "c": "2"}
    assert deaths > 4


def test_a_disk_that_cannot_swap_folders_keeps_the_old_one_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "another")
    folder = tmp_path / "out"
    for deaths in range(4):
        with replacing_folder(folder) as new:
            write(new, a="1")
        with pytest.raises(DiedError), dying(monkeypatch, deaths + 2, folder), replacing_folder(folder) as new:
            write(new, a="2")
        with pytest.raises(ZeroDivisionError), replacing_folder(folder) as new:
            raise ZeroDivisionError
        assert tree(folder) in ({"a": "1"}, {"a": "2"})
    with replacing_folder(folder) as new:
        write(new, a="3")
    assert tree(tmp_path) == {"out/a": "3"}


def test_a_folder_with_anything_else_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    write(tmp_path / "a", thesis="mine")
    monkeypatch.chdir(tmp_path / "a/b")
    for place in ("..", ".", "../../a"):
        refused = pytest.raises(InputError, match="it is the current folder, or holds it")
        with refused, replacing_output(Path(place), "test"):
            pass
    monkeypatch.chdir(tmp_path)
    refused = pytest.raises(InputError, match="a/b: `test` did not make it")
    with refused, replacing_output(tmp_path / "a", "test"):
        pass
    folder = tmp_path / "out"
    with replacing_output(folder, "test") as new:
        write(new, ours="1")
    refused = pytest.raises(InputError, match="late: `test` did not make it")
    with refused, replacing_output(folder, "test") as new:
        write(new, ours="2")
        write(folder, late="mine")
    assert tree(folder) == {"ours": "1", "late": "mine"}
    with pytest.raises(InputError, match="late: it is a file"), replacing_output(folder / "late", "test"):
        pass


@pytest.mark.parametrize("made", [["../thesis"], ["/etc/thesis"], [1], "x/../../thesis", None])
def test_a_record_that_names_files_elsewhere_is_refused(tmp_path: Path, made: Any) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path, thesis="mine")
    ready = {"command": "test", "names": [], "stale": made, "last": ""}
    for record in ({"made": {"test": made}}, {"made": {"test": []}, "ready": ready}):
        (tmp_path / "out" / RECORD).write_text(json.dumps(record))
        with pytest.raises(InputError, match="it is not the record"), open_output(tmp_path / "out", "test"):
            pass
    assert (tmp_path / "thesis").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path, out="a file")
    with pytest.raises(WriteError, match=r"out: cannot be written"), open_output(tmp_path / "out", "test"):
        pass
