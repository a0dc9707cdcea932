"""The benchmarks of the training run end to end at tiny sizes, and count FLOPs as torch does."""

import sys
from pathlib import Path

import datasets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText

pytest.importorskip("mistral_common", reason="its package holds the SentencePiece tokenizer")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import padding
import training_gpu
import training_input
import training_step

from cadvi_hub.training import methods
from cadvi_hub.training.sampling import GroupedSampler, Grouping
from cadvi_hub.training.structure import lora_targets, projector_names


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)  # each benchmark uses its own folder


def test_batches_of_the_input_benchmark_equal_trls(capsys: pytest.CaptureFixture[str]) -> None:
    training_input.main(["--rows", "4", "--repeats", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["ours", "trl", "trl, same work", "pillow"]


def test_grouped_steps_pad_less_than_random_ones_and_have_one_kind_each() -> None:
    lengths, images = padding.draw_lengths(0.02)
    random = padding.figures(torch.randperm(len(lengths)).tolist(), lengths, images)
    grouping = Grouping("group_by_length", 128, 32)
    ours = padding.figures(GroupedSampler(lengths, images, grouping, seed=0), lengths, images)
    assert ours[0] < 0.1 < 0.3 < random[0]
    assert ours[1] < 0.02 < random[1]
    padding.main(["--share", "0.01"])


def test_tiny_training_gives_a_row_of_the_gpu_table() -> None:
    found = training_gpu.measure(tiny=True, attention="sdpa", kernels="none", batch_size=1, steps=3)
    assert min(found.values()) > 0


def test_both_losses_of_a_training_step_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.PARTS, "sft", methods.PARTS["sft"])  # put back at the end
    found = training_step.measure(tmp_path, steps=8, captions=24)
    assert list(found) == ["ours", "trl"]
    assert min(found.values()) > 0


def test_flops_of_a_row_are_those_that_torch_counts() -> None:
    config, tokens, images, rank = training_gpu.tiny_config(), 300, 2, 16
    model = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    adapter = LoraConfig(r=rank, target_modules=lora_targets(model), modules_to_save=projector_names(model))
    model = get_peft_model(model, adapter)
    ids = torch.ones(1, tokens, dtype=torch.long)
    ids[0, : images * config.image_seq_length] = config.image_token_id
    pixels = torch.randn(images, 3, config.vision_config.image_size, config.vision_config.image_size)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, pixel_values=pixels, labels=ids).loss.backward()
    assert training_input.flops_per_row(config, tokens, images, rank) == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )
