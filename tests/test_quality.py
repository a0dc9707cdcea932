"""What `make quality` promises: wrong calls and upward imports are found, files stay short, the documents are true."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cadvi_hub"
CODE_FOLDERS = ("cadvi_hub", "tests", "benchmarks", "training", "eval", "docs")
BIN = Path(sys.executable).parent

WRONG_CALL = """
from cadvi_hub.training.adapters import merge

merge(1, 2, 3, 4, 5, 6, 7, 8, 9)
"""
RIGHT_CALL = """
from pathlib import Path

from cadvi_hub.training.adapters import merge

merge(Path("adapter"), Path("merged"))
"""
UPWARD_IMPORT = """

def evaluate() -> None:
    import cadvi_hub.eval.evaluate
"""

# Words that make a native reader stop. Prompts and the drawn world's texts are data, so they are not searched; the
# changelog has to give old names.
BANNED = re.compile(
    r"\b(mend(s|ed|ing)?|dear(er|est)?|lest|thereof|wherein|is none that|errors as of|rows behind so many)\b", re.I
)
BANNED_NAMES = {"common", "helpers", "manager", "misc", "utils"}


def python_files() -> Iterator[Path]:
    for folder in CODE_FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.slow  # a minute without mypy's cache; `make quality` has filled it
def test_a_wrong_call_across_rooms_fails_type_checking_and_a_right_one_passes(tmp_path: Path) -> None:
    for name, source in (("wrong", WRONG_CALL), ("right", RIGHT_CALL)):
        (tmp_path / f"{name}.py").write_text(source)
    command = [BIN / "mypy", tmp_path / "wrong.py", tmp_path / "right.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert done.returncode == 1, done.stdout + done.stderr
    assert all("wrong.py" in line for line in errors)
    assert any('Too many arguments for "merge"' in line for line in errors)


def test_an_import_of_a_higher_room_breaks_the_layers_even_inside_a_function(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in PACKAGE.rglob("*.py"):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    command = [str(BIN / "lint-imports"), "--no-logo", "--no-cache"]
    kept = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert kept.returncode == 0, kept.stdout
    with (tmp_path / "cadvi_hub" / "core" / "errors.py").open("a") as errors:
        errors.write(UPWARD_IMPORT)
    broken = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "cadvi_hub.core is not allowed to import cadvi_hub.eval" in broken.stdout


def test_no_python_file_is_longer_than_300_lines() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in python_files()}
    assert {file: lines for file, lines in lengths.items() if lines > 300} == {}


def test_the_package_has_at_most_16_rooms() -> None:
    assert len({file.parent for file in PACKAGE.rglob("__init__.py")} - {PACKAGE}) <= 16


def test_file_names_say_what_is_inside() -> None:
    assert [file for file in python_files() if file.stem in BANNED_NAMES or file.stem.endswith(("_v2", "_new"))] == []


def test_texts_for_readers_are_in_plain_words() -> None:
    texts = [*python_files(), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile"]
    texts += [file for folder in (*CODE_FOLDERS, "dataset_cards", "model_cards") for file in readable(ROOT / folder)]
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in texts
        if file not in (Path(__file__), ROOT / "CHANGELOG.md") and PACKAGE / "world" not in file.parents
        for match in BANNED.finditer(file.read_text())
    ]
    assert found == []


def readable(folder: Path) -> Iterator[Path]:
    for pattern in ("*.md", "*.yaml", "*.jinja"):
        for file in folder.rglob(pattern):
            if file.parent.name not in ("prompts", "chat_templates", "base_model"):
                yield file


def test_each_of_the_ten_questions_is_answered_by_at_most_two_files_that_exist() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    section = contributing.partition("## Ten questions")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+\?) \| (.+) \|$", section, re.M)
    assert len(rows) == 10
    for question, answer in rows:
        files = set(re.findall(r"`([\w.-]+/[\w./-]+)`", answer))
        assert 1 <= len(files) <= 2, question
        assert [file for file in files if not (ROOT / file).is_file()] == [], question
