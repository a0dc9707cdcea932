"""The package imports where there is no `fcntl` (Windows), and without its extras as far as it does not need them."""

import ast
import subprocess
import sys
from pathlib import Path

import cadvi_hub

# Libraries of the extras: modules that need one are not imported here, but their own imports are read.
EXTRAS = (
    *("accelerate", "av", "bitsandbytes", "datatrove", "deepspeed", "gradio", "lighteval", "peft", "torch"),
    *("transformers", "trl", "vllm"),
)
POSIX_ONLY = {"fcntl", "grp", "posix", "pwd", "resource", "termios"}
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in {(*EXTRAS, "fcntl")!r}:
    sys.modules[name] = None  # its import raises a ModuleNotFoundError
import cadvi_hub
imported, failed = 0, []
for module in pkgutil.walk_packages(cadvi_hub.__path__, "cadvi_hub.", failed.append):
    try:
        importlib.import_module(module.name)
        imported += 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {EXTRAS!r}:
            failed.append(f"{{module.name}}: {{error}}")
assert not failed, failed
print(imported)
"""


def test_the_package_imports_without_fcntl() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_no_module_imports_at_its_top_what_only_posix_has() -> None:
    files = list(Path(cadvi_hub.__path__[0]).rglob("*.py"))
    found = set()
    for file in files:
        for node in ast.parse(file.read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found |= {(file.name, name) for name in names if name.partition(".")[0] in POSIX_ONLY}
    assert len(files) > 150
    assert not found
