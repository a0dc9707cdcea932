"""Without a GPU, only positions that have a label are projected to the vocabulary, and a model learns the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from cadvi_hub.training.trainer import Tuner, TuningTrainer
from tests.support.tiny_vlms import make_tiny_vlm
from tests.support.tunings import curve, make_room, run


@pytest.mark.parametrize("family", ["llava", "qwen3_vl"])
def test_only_labelled_positions_are_scored_and_the_model_learns_the_same(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room(tmp_path, rows=8, images=(1, 2))
    if family != "llava":
        make_tiny_vlm(tmp_path / "base", family)
    scored: list[tuple[int, int]] = []  # positions, and those of them with a label
    step = TuningTrainer.compute_loss

    def watched(trainer: TuningTrainer, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        labelled = int((inputs["labels"][:, 1:] != -100).sum())
        keep = model.register_forward_hook(lambda _, __, output: scored.append((output.log_probs.numel(), labelled)))
        try:
            return step(trainer, model, inputs, *args, **kwargs)
        finally:
            keep.remove()

    monkeypatch.setattr(TuningTrainer, "compute_loss", watched)
    run(tmp_path, tmp_path / "new", max_steps=3)
    assert len(scored) >= 3
    assert all(positions == labelled > 0 for positions, labelled in scored)
    scored.clear()
    step = Tuner.compute_loss
    run(tmp_path, tmp_path / "old", max_steps=3)
    assert all(positions > labelled for positions, labelled in scored)
    for new, old in zip(curve(tmp_path / "new"), curve(tmp_path / "old"), strict=True):
        assert new == pytest.approx(old, rel=1e-5)
    weights = [
        AutoModelForImageTextToText.from_pretrained(tmp_path / name / "merged").state_dict() for name in ("new", "old")
    ]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-4, atol=1e-5)
