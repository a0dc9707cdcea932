"""A wheel holds what people open and copy, and works outside the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
from huggingface_hub import DatasetCardData
from cadvi_hub.cli import packaged_recipes
from cadvi_hub.hub.cards import render_card, shipped
print(*packaged_recipes())
print(shipped("training"))
print(render_card("dataset_cards", DatasetCardData(license="mit"), "unfinished.md.jinja", repo_id="me/data"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked files: a build leaves folders beside what it reads."""
    folder = tmp_path_factory.mktemp("wheel")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).symlink_to(ROOT / name)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=folder / "source", check=True, capture_output=True, timeout=120
    )
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_recipes_prompts_templates_cards_and_the_base_model(wheel: Path) -> None:
    held = set(ZipFile(wheel).namelist())
    patterns = ["recipes/*.yaml", "**/*.jinja", "demo/base_model/*", "pages/space/*", "py.typed"]
    files = [file.relative_to(ROOT) for pattern in patterns for file in (ROOT / "cadvi_hub").glob(pattern)]
    assert len(files) > 30
    assert not {str(file) for file in files} - held
    folders = ("training", "eval", "dataset_cards", "model_cards")
    top = [file for name in folders for file in (ROOT / name).rglob("*") if file.is_file()]
    expected = {f"cadvi_hub/shipped/{file.relative_to(ROOT)}" for file in top if file.suffix != ".pyc"}
    assert len(expected) > 20
    assert not expected - held
    assert not [name for name in held if name.startswith("tests/") or "__pycache__" in name]


def test_an_installed_copy_lists_recipes_and_renders_a_card(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path / "installed")  # what pip does with a wheel of plain Python
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    recipes, training, card = run.stdout.split("\n", 2)
    assert recipes.split() == sorted(file.stem for file in (ROOT / "cadvi_hub" / "recipes").glob("*.yaml"))
    assert training == str(tmp_path / "installed" / "cadvi_hub" / "shipped" / "training")
    assert (Path(training) / "sft.py").is_file()
    assert "# me/data" in card
