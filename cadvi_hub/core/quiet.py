"""Messages of libraries that a user can do nothing about, each with the reason why it says nothing."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_SMALL = 10**9  # bytes of weights that load in seconds

_WARNINGS = (
    # PEFT 0.21 and TRL 1.16 read this property of transformers 5.23; its new name says the same.
    (FutureWarning, "`is_gradient_checkpointing` is deprecated"),
    (FutureWarning, "`gradient_checkpointing` is deprecated"),  # TRL 1.16 sets it by default
)
# lighteval, in capital letters, whenever fewer questions are asked than a set has; the user asked for that.
_LOGS = {"lighteval.pipeline": "--max_samples WAS SET"}


@cache
def without_known_warnings() -> None:
    """Leave out the messages above, for the rest of the process."""
    for kind, text in _WARNINGS:
        warnings.filterwarnings("ignore", f"{text}.*", kind)
    for name, text in _LOGS.items():
        logging.getLogger(name).addFilter(_Without(text))


class _Without(logging.Filter):
    def __init__(self, text: str):
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self._text not in record.getMessage()


@contextmanager
def without_bars_of_small_models(name: str | Path) -> Iterator[None]:
    """No bar "Loading weights" while a folder of small weights is loaded: one command can load several."""
    folder = Path(name)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else _SMALL
    if size >= _SMALL or "transformers" not in sys.modules:
        yield
        return
    from huggingface_hub import constants
    from transformers.utils import logging as transformers_logging

    # Where the environment decides, they are off already, and turning them on would only warn.
    was_shown = transformers_logging.is_progress_bar_enabled() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    if was_shown:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def without_bars_of_datasets() -> Iterator[None]:
    """No bars of `datasets`, for tables that a library writes by the way, such as lighteval's details."""
    import datasets

    was_shown = not datasets.are_progress_bars_disabled()
    if was_shown:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if was_shown:
            datasets.enable_progress_bars()
