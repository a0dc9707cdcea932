"""`--dry_run` prints rows, steps, tokens and memory, and writes nothing; its numbers are those of the training."""

from pathlib import Path

import pytest
from transformers import AutoModelForImageTextToText

from cadvi_hub.training import sft
from cadvi_hub.training.dry_run import estimate, measure
from cadvi_hub.training.mixture import load_mixture
from cadvi_hub.training.models import load_base, load_processor, lora_config, outline_of, template_file
from cadvi_hub.training.recipe import parse
from tests.support.tunings import make_room


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("room"))


def arguments(room: Path, out: Path) -> list[str]:
    keys = ["--model", str(room / "base"), "--dataset_name", str(room), "--dataset_config", "v1", "--out", str(out)]
    return [*keys, "--chat_template_path", "cadvi.jinja", "--bf16", "false", "--per_device_train_batch_size", "4"]


def test_it_prints_what_the_training_would_do_and_writes_nothing(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*arguments(room, tmp_path / "run"), "--num_train_epochs", "2", "--dry_run"]
    sft.main(given)
    shown = capsys.readouterr().out
    data, _, model_args = parse(given)
    processor = load_processor(model_args, template_file("cadvi.jinja"))
    tokens = sum(load_mixture(data.sources, processor, data.max_tokens, seed=0).dataset["length"])
    assert "24: 24 of v1" in shown
    assert f"{tokens:,} an epoch" in shown
    assert "steps     12 of 4 rows (4 a process × 1 processes × 1): 2 epochs" in shown
    assert not (tmp_path / "run").exists()


def test_its_weights_are_those_of_the_model_and_its_adapter(room: Path, tmp_path: Path) -> None:
    from peft import get_peft_model

    _, args, model_args = parse([*arguments(room, tmp_path / "run"), "--use_cpu"])
    size = measure(outline_of(str(room / "base"), None), model_args)
    base = load_base(model_args)
    adapted = get_peft_model(base, lora_config(model_args, base, None))
    whole = AutoModelForImageTextToText.from_pretrained(room / "base")
    assert size.weights == sum(weight.numel() for weight in whole.parameters())
    assert size.trained == sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    memory = estimate(whole, size, model_args, args, 100)
    assert (memory.weights, memory.trained) == (4 * size.weights, 16 * size.trained)
    assert estimate(whole, size, model_args, args, 200).activations == 2 * memory.activations
