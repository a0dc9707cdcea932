"""Files of others survive every command, a second process is refused, an old result stays until the new is whole."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.evaluations import Evaluations
from cadvi_hub.training.runs import MERGED
from tests.faults.record import Faults
from tests.support.crashes import DiedError, dying, shown
from tests.support.output_commands import COMMANDS, Commands

MINE = b"the only copy of a thesis"
HOLD = """
import sys
from itertools import groupby, islice
from pathlib import Path
from cadvi_hub.core.locks import locked
with locked(Path(sys.argv[1]), Path("out"), ""):
    print("held", flush=True)
    sys.stdin.read()
"""
# The folder whose lock a command takes, and its lock.
LOCKS = dict.fromkeys(("nlvr", "assemble", "merge"), "../.{name}.lock")
LOCKS |= {"benchmarks build": "bison/.lock", "compare": ".comparison.json.lock"}
LOCKS |= {"judge run": "judged/judge/.lock", "judge check": "judge/.lock"}
# The file without which nobody takes the others for a result; a merged model is replaced in one step.
LAST = {"build": "build.json", "benchmarks build": "bison/build.json", "evaluate": "results.json"}
LAST |= {"report": "index.html", "view": "index.html"}
# Parts of a run that are no result: `_work`, the replies that it continues from, lighteval's own files of each run,
# and what a command reads in the folder that it writes to.
BESIDE = ("replies.sqlite", "results/", "details/", "judged/replies.sqlite")
READ = {"judge run": ("predictions/",), "ground": ("train-",)}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(tmp_path_factory.mktemp("commands"))


def results(name: str, out: Path) -> dict[str, bytes]:
    """The files of a command's result."""
    beside = (*BESIDE, *READ.get(name, ()))
    found = {file: content for file, content in shown(out).items() if "_work" not in Path(file).parts}
    return {file: content for file, content in found.items() if not file.startswith(beside)}


def in_the_way(name: str, out: Path) -> list[str]:
    """Names that a command replaces, the first two of each folder, and those of the folders above them."""
    files = [Path(file) for file in results(name, out)]
    folders = {folder for file in files for folder in file.parents if folder.name}
    chosen = [
        file for file in files if sorted(other for other in files if other.parent == file.parent).index(file) < 2
    ]
    if name == "train":  # every file of a tuned adapter is as important
        chosen = [file for file in files if MERGED not in file.parts]
    return sorted(map(str, {*chosen, *folders}))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_somebody_else_survives(name: str, commands: Commands, tmp_path: Path, faults: Faults) -> None:
    count = faults("files of others")
    commands[name](clean := tmp_path / "clean")
    names = in_the_way(name, clean)
    assert names
    for number, taken in enumerate(names):
        mine = tmp_path / f"out{number}" / taken
        if (clean / taken).is_dir():
            mine /= "thesis.tex"
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_bytes(MINE)
        count.call(commands[name], tmp_path / f"out{number}")
        count.rows([taken], [taken] if mine.is_file() and mine.read_bytes() == MINE else [])
        if not (clean / taken).is_dir():
            assert count.numbers["refused"], f"{taken} is not refused"
    beside = clean / "thesis.tex"
    beside.write_bytes(MINE)
    count.call(commands[name], clean, True)
    count.rows([beside], [beside] if beside.is_file() and beside.read_bytes() == MINE else [])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_process_is_refused_at_once(name: str, commands: Commands, tmp_path: Path, faults: Faults) -> None:
    count = faults("two processes")
    out = tmp_path / "out"
    lock = Path(os.path.normpath(out / LOCKS.get(name, ".lock").format(name=out.name)))
    lock.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        refused = count.call(commands[name], out)
        first.kill()
    assert isinstance(refused, InputError)
    assert f"(process {first.pid} on {os.uname().nodename}, since 20" in str(refused)
    assert not results(name, out)
    count.call(commands[name], out)
    assert results(name, out)


REPORT = pytest.param("report", marks=pytest.mark.slow)  # it has many crash points


# A world is never replaced, and a training with other settings is refused.
@pytest.mark.parametrize(
    "name",
    [*("build", "ground", "benchmarks build", "evaluate", "compare", "view", "merge"), REPORT],
)
def test_the_old_result_stays_until_the_new_one_is_whole(
    name: str, commands: Commands, tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = faults("crash points")
    commands[name](old := tmp_path / "old")
    commands[name](new := tmp_path / "new")
    commands[name](new, True)
    before, after = results(name, old), results(name, new)
    assert before != after
    deaths = 0
    while True:
        commands[name](out := tmp_path / f"{deaths}/out")
        assert results(name, out) == before
        try:
            with dying(monkeypatch, deaths, out):
                commands[name](out, True)
            break
        except DiedError:
            count.add("tried")
            found = results(name, out)
            whole = found in (before, after) or (name in LAST and LAST[name] not in found)
            count.rows([deaths], [deaths] if whole else [])
            commands[name](out, True)
            count.rows([deaths], [deaths] if results(name, out) == after else [])
        deaths += 1
    assert results(name, out) == after


def test_whoever_reads_while_a_result_moves_sees_one_evaluation_or_none(
    commands: Commands, tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = faults("readers of a moving result")

    def read(out: Path) -> object:
        found = Evaluations({"model": out})
        return found.results, {task: found.kinds(task) for task in found.tasks}

    evaluate = commands["evaluate"]
    evaluate(tmp_path / "old")
    evaluate(tmp_path / "new", True)
    whole = [read(tmp_path / name) for name in ("old", "new")]
    assert whole[0] != whole[1]
    seen: list[object] = []
    while len(seen) == 0 or seen[-1] != whole[1]:
        evaluate(out := tmp_path / f"{len(seen)}/out")
        with contextlib.suppress(DiedError), dying(monkeypatch, len(seen), out):
            evaluate(out, True)
        seen.append(count.call(read, out))
        count.rows([len(seen)], [len(seen)] if seen[-1] in whole or isinstance(seen[-1], InputError) else [])
    assert whole[0] in seen
