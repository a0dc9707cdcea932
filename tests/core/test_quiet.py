"""Known messages of libraries are left out, others stay; bars of small models are off only while they load."""

import logging
import warnings
from pathlib import Path

import pytest

from cadvi_hub.core.quiet import without_bars_of_datasets, without_bars_of_small_models, without_known_warnings


def test_known_warnings_are_left_out_and_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("lighteval.pipeline")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        without_known_warnings.__wrapped__()
        warnings.warn("`is_gradient_checkpointing` is deprecated and will be removed", FutureWarning, stacklevel=1)
        warnings.warn("another thing is deprecated", FutureWarning, stacklevel=1)
    assert [str(each.message) for each in told] == ["another thing is deprecated"]
    with caplog.at_level(logging.WARNING):
        logger.warning("--max_samples WAS SET. THESE NUMBERS ARE ONLY PARTIAL")
        logger.warning("another thing")
    assert caplog.messages == ["another thing"]


def test_bars_are_off_while_a_small_model_loads(tmp_path: Path) -> None:
    from huggingface_hub import constants
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.is_progress_bar_enabled()
    with without_bars_of_small_models(tmp_path):
        inside = transformers_logging.is_progress_bar_enabled()
    assert transformers_logging.is_progress_bar_enabled() == before
    assert not inside or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None
    with without_bars_of_small_models("a/repository"):  # its size is not known
        assert transformers_logging.is_progress_bar_enabled() == before


def test_bars_of_datasets_are_off_inside_and_as_before_after_it() -> None:
    import datasets

    before = datasets.are_progress_bars_disabled()
    with without_bars_of_datasets():
        assert datasets.are_progress_bars_disabled()
    assert datasets.are_progress_bars_disabled() == before
