"""Names of the former layout fail with the new name; names that stayed work."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import cadvi_hub

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("old", cadvi_hub.MOVED)
def test_a_former_module_gives_its_new_name_and_that_is_there(old: str) -> None:
    new = f"cadvi_hub.{cadvi_hub.MOVED[old]}"
    with pytest.raises(ImportError, match=f"cadvi_hub.{old} is now {new}$"):
        importlib.import_module(f"cadvi_hub.{old}")
    file = ROOT / new.replace(".", "/")
    assert file.with_suffix(".py").is_file() or file.is_dir()


def test_every_way_of_importing_gives_the_new_name() -> None:
    with pytest.raises(ImportError, match=r"cadvi_hub\.build is now cadvi_hub\.builder\.build"):
        importlib.import_module("cadvi_hub.build.folder")
    for command in (["-m", "cadvi_hub.upload"], ["-c", "from cadvi_hub import upload"]):
        run = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
        assert "cadvi_hub.upload is now cadvi_hub.hub.upload" in run.stderr


def test_a_former_module_whose_name_is_a_function_now_is_that_function() -> None:
    assert callable(cadvi_hub.publish)
    with pytest.raises(ImportError, match=r"cadvi_hub\.publish is now cadvi_hub\.hub\.publish"):
        importlib.import_module("cadvi_hub.publish")


def test_a_module_that_never_was_is_simply_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'cadvi_hub\.nothing'"):
        importlib.import_module("cadvi_hub.nothing")


@pytest.mark.parametrize(
    ("file", "name"),
    [("lighteval_tasks", "TASKS_TABLE"), ("vision_model", "VisionModel"), ("blank_images", "BlankImages")],
)
def test_files_for_lightevals_command_hold_what_it_looks_for(file: str, name: str) -> None:
    spec = importlib.util.spec_from_file_location(file, ROOT / "eval" / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert hasattr(module, name)
