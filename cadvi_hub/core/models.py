"""Loading what strangers publish as a model: no code of theirs runs, and every failure is one error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular, read_file
from cadvi_hub.core.quiet import without_bars_of_small_models

# For every `Auto….from_pretrained`. Without it transformers asks at the terminal, and takes "y" from a pipe.
NO_REMOTE_CODE: dict[str, Any] = {"trust_remote_code": False}
DEMO_BASE = "demo-base"  # the name of the base model that comes with the package
DEMO_BASE_FOLDER = Path(__file__).parents[1] / "demo" / "base_model"
_CONFIGURATIONS = (
    "config.json",
    "tokenizer_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)


def named(model: str) -> str:
    """The folder of the package's base model for its name; other names as they are."""
    return str(DEMO_BASE_FOLDER) if model == DEMO_BASE and not Path(model).exists() else model


@contextmanager
def loading(place: str, problem: str, hint: str, name: str | Path, revision: str | None = None) -> Iterator[None]:
    """Turn whatever a library raises for a model that it cannot load into an error of one line.

    transformers, tokenizers, safetensors and PEFT share no class of errors: a truncated file raises SafetensorError,
    a broken tokenizer a plain Exception, a number of the wrong type in a configuration TypeError or ValueError.

    Args:
        place: the model, as the error names it.
        problem: what is wrong; the reason follows in brackets.
        hint: what the user can do.
        name: folder or Hub repository that is loaded.
        revision: of the repository.

    Raises:
        InputError: the block raised something else; if it wants to run code of the model, the error names the file.
    """
    if Path(name).is_dir():
        for file in Path(name).iterdir():
            if not file.is_dir():
                check_regular(file)
    try:
        with without_bars_of_small_models(name):
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            wanted = _remote_code(str(name), revision)
            problem, hint = f"it loads only with its own code ({wanted})", "Such code is never run; name another model"
            raise InputError(place, problem, hint) from error
        if isinstance(error, ImportError):  # a quantization, an attention, a tokenizer's library
            hint = "Install what it names, or choose another"
        raise InputError(place, f"{problem} ({reason(error)})", hint) from error


def reason(error: Exception) -> str:
    """The first line of an error's text; its class, where the text alone says nothing."""
    text = str(error).strip().split("\n")[0].removesuffix(".")[:500]
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def _remote_code(name: str, revision: str | None) -> str:
    """The configuration that names code, and the files that it names."""
    for file in _CONFIGURATIONS:
        if not (path := _stored(name, file, revision)):
            continue
        try:
            content = json.loads(read_file(path))
            named = content.get("auto_map") or {}
            code = sorted({str(value) for value in (named.values() if isinstance(named, dict) else named)})
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if code:
            return f"{path if Path(name).is_dir() else file}, auto_map: {', '.join(code)[:200]}"
    return "auto_map in its configuration"


def _stored(name: str, file: str, revision: str | None) -> Path | None:
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file, revision=revision)
    return Path(found) if isinstance(found, str) else None
