"""A training's command line: packaged recipes, one data set without a mixture, other commands' keys, mistyped keys."""

import json
from pathlib import Path

import pytest

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.models import DEMO_BASE_FOLDER
from cadvi_hub.training.arguments import packaged_recipes, written_out
from cadvi_hub.training.recipe import parse

ROOT = Path(__file__).parents[2]


def test_a_recipe_is_found_by_its_name() -> None:
    assert {"five-minutes", "llava-1.5-7b/v1", "llava-1.5-7b/v1-qlora"} <= packaged_recipes().keys()
    assert written_out(["--config", "llava-1.5-7b/v1"]) == ["--config", str(packaged_recipes()["llava-1.5-7b/v1"])]
    assert written_out(["--config=five-minutes"]) == ["--config", str(packaged_recipes()["five-minutes"])]
    assert written_out(["--config", "mine.yaml", "--bf16"]) == ["--config", "mine.yaml", "--bf16"]


def test_one_data_set_needs_no_mixture() -> None:
    data, args, model_args = parse(
        [
            "--model=demo-base",
            "--data",
            "out/data",
            "--dataset_config",
            "v1",
            "--out=o",
            "--use_cpu",
            "--bf16=false",
        ]
    )
    assert (data.sources["v1"].path, data.sources["v1"].config) == ("out/data", "v1")
    assert (args.output_dir, model_args.model_name_or_path) == ("o", str(DEMO_BASE_FOLDER))
    assert json.loads(written_out(["--dataset_name", "me/pairs"])[1]) == {"pairs": {"path": "me/pairs"}}
    with pytest.raises(InputError, match="there is no --dataset_name"):
        parse(["--dataset_config", "v1"])


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("--learning_rat", "--learning_rate"), ("--mixtrue", "--mixture"), ("--lora_ran", "--lora_r")],
)
def test_a_mistyped_key_is_answered_with_the_one_that_is_meant(wrong: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"{wrong}: there is no such key. Did you mean .*{meant}"):
        parse(["--config", "five-minutes", wrong, "1"])


def test_a_mistyped_key_of_a_recipe_is_answered_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("learning_rat: 1.0e-4\n")
    with pytest.raises(InputError, match=r"mine\.yaml: learning_rat: there .* Did you mean learning_rate"):
        parse(["--config", str(tmp_path / "mine.yaml")])


def test_help_begins_with_examples_and_our_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = capsys.readouterr().out
    parts = ("examples:", "required", "llava-1.5-7b/v1", "DataArguments:", "--mixture", "the library's keys:")
    places = [shown.index(part) for part in parts[:2]] + [shown.rindex(part) for part in parts[3:5]]
    assert places == sorted(places)
    assert all(part in shown for part in parts)
