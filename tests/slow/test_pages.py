"""README.md and docs/ as a reader copies them, and the notebook: every block that can run here does, in order."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.pages import ROOT, Block, blocks, pages

pytestmark = pytest.mark.slow
# What is smaller here than on the page.
SMALLER = {
    "--captioned 600": "--captioned 40",
    "--questions 40": "--questions 4",
    "--config five-minutes\n": "--config five-minutes --max_steps 2 --per_device_train_batch_size 4\n",
}
SMALLER_NOTEBOOK = {"captioned=600": "captioned=40", "questions=40": "questions=4", "max_steps=60": "max_steps=2"}
CODE = [block for page in pages() for block in blocks(page) if block.language in ("bash", "python")]


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """The folder in which a reader types: the checkout's folders, and nothing that a command makes."""
    for name in ("training", "docs", "eval"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def own_files(folder: Path) -> None:
    """What the guides take for the reader's own: captioned pictures, and a table of questions about pictures."""
    (folder / "my_pictures").symlink_to(folder / "out/scenes/captioned")
    (folder / "pictures").symlink_to(folder / "out/scenes/captioned/images")
    names = sorted(file.name for file in (folder / "pictures").iterdir())[:4]
    with (folder / "mine.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "answer", "left", "right"])
        rows.writerows(["Are these the same picture?", "no", *pair] for pair in (names[:2], names[2:]))


def run(block: Block, folder: Path) -> None:
    text = block.text
    for shown, smaller in SMALLER.items():
        text = text.replace(shown, smaller)
    command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.page}:\n{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def test_every_block_that_can_run_here_does_in_the_order_of_the_pages(
    reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shown in SMALLER:
        assert any(shown in block.text for block in CODE), shown
    for block in CODE:
        if block.page != "README.md" and not (reader / "mine.csv").exists():
            own_files(reader)
        if block.reason is None:
            run(block, reader)
    assert (reader / "out/report/index.html").is_file()
    marked = Counter(block.reason for block in CODE if block.reason)
    with capsys.disabled():
        print(f"\n{len(CODE) - marked.total()} blocks ran, {marked.total()} are marked as not run here:")
        print("\n".join(f"  {number} × {reason}" for reason, number in sorted(marked.items())))


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "examples/compare.ipynb").read_text("utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for shown, smaller in SMALLER_NOTEBOOK.items():
        assert shown in code, shown
        code = code.replace(shown, smaller)
    code += "\nassert all(of['bison']['n'] >= 4 for of in scores.values()) and set(scores) == {'base', 'tuned'}"
    run(Block("examples/compare.ipynb", "python", code, None), tmp_path)
