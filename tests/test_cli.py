"""The command line: quick help, recipes with overrides, unknown keys refused, bad input in one line."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cadvi_hub import cli
from cadvi_hub.builder.settings import BuildSettings

HEAVY = ("torch", "transformers", "datasets", "spacy", "lighteval", "jsonargparse", "numpy")


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    script = "import sys; from cadvi_hub.cli import main; main(['--help']); print(list(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in (*cli.COMMANDS, "train"))
    loaded = done.stderr
    assert not [name for name in HEAVY if f"'{name}'" in loaded]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_explains_its_keys(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert "--config" in capsys.readouterr().out


@pytest.mark.parametrize(("method", "key"), [("sft", "assistant_only_loss"), ("dpo", "beta"), ("grpo", "use_vllm")])
def test_help_of_a_training_shows_the_keys_of_its_method(
    method: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--method", method, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"--{key}" in shown
    assert "--mixture" in shown


def test_a_training_without_a_method_that_exists_ends_in_one_line() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--method", "ppo"])
    assert stop.value.code == "training: setting method: it is 'ppo'. Choose one of sft, dpo, grpo"


def test_the_command_line_wins_over_the_recipe() -> None:
    settings = cli.parse_settings("build", ["v1", "--config", "v1", "--pairs.min_shared", "5", "--out", "elsewhere"])
    assert isinstance(settings, BuildSettings)
    assert (settings.config, settings.pairs.min_shared, str(settings.out)) == ("v1", 5, "elsewhere")
    assert settings.annotator.model == "mistralai/Mixtral-8x7B-Instruct-v0.1"  # from the recipe


def test_arguments_before_the_first_key_stand_for_a_key() -> None:
    benchmark = cli.parse_settings("benchmarks build", ["bison", "--questions", "q", "--images", "i", "--out", "o"])
    assert benchmark.task == "bison"
    report = cli.parse_settings("report", ["one/v1", "mine=two/v2", "--out", "page"])
    assert {name: str(folder) for name, folder in report.models.items()} == {"v1": "one/v1", "mine": "two/v2"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "v1", "--config", "v1", "--pears.min_shared", "5"],
        ["build", "v1", "--config", "v1", "--pairs.min_shared", "many"],
        ["build", "v7", "--config", "v1"],
        ["demo", "--config", "no-such-recipe"],
    ],
)
def test_unknown_keys_and_values_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code not in (0, None)
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_key_in_a_recipe_file_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("seed: 1\nworlds: {captioned: 3}\n")
    with pytest.raises(SystemExit, match=r"recipe\.yaml: worlds"):
        cli.main(["demo", "--config", str(recipe)])


def test_bad_input_ends_with_one_line_that_names_the_hint(tmp_path: Path) -> None:
    arguments = ["--source.path", str(tmp_path), "--source.name", "mine", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        cli.main(["build", "v1", *arguments])
    assert "captions.jsonl" in str(stop.value)
    assert str(tmp_path) in str(stop.value)


def test_a_library_that_is_not_installed_ends_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(settings: object) -> None:
        raise ModuleNotFoundError(name=missing)

    monkeypatch.setattr("cadvi_hub.hub.publish.publish", publish)
    arguments = ["publish", "--kind", "dataset", "--folder", "none", "--repo_id", "me/none"]
    missing = "lighteval"
    with pytest.raises(SystemExit, match=r"lighteval is not installed. Run `pip install 'cadvi-hub\[eval\]'`"):
        cli.main(arguments)
    missing = "a_module_of_no_extra"
    with pytest.raises(SystemExit, match=r"no check foresaw why \(ModuleNotFoundError.* --debug"):
        cli.main(arguments)
    with pytest.raises(ModuleNotFoundError):
        cli.main([*arguments, "--debug"])


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(SystemExit, match="no command 'biuld'"):
        cli.main(["biuld"])


def test_half_a_command_names_its_second_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"Commands: pairs mine, pairs explain$"):
        cli.main(["pairs"])
    with pytest.raises(SystemExit, match="0"):
        cli.main(["pairs", "--help"])
    assert "pairs explain  show how many" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        (["evalute"], "evaluate"),
        (["pairs", "mien"], "pairs mine"),
        (["build", "v1", "--source.pth", "x"], "--source.path"),
        (["build", "v1", "--base_url", "x"], "--annotator.base_url"),
        (["evaluate", "--modle", "x"], "--model"),
    ],
)
def test_a_mistyped_command_or_key_is_answered_with_the_one_that_is_meant(wrong: list[str], meant: str) -> None:
    with pytest.raises(SystemExit, match=f"Did you mean {meant}"):
        cli.main(wrong)


def test_a_mistyped_key_of_a_recipe_is_answered_with_the_one_that_is_meant(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("pairs: {min_shred: 1}\n")
    with pytest.raises(SystemExit, match=r"recipe\.yaml: pairs\.min_shred: .* Did you mean --pairs\.min_shared"):
        cli.main(["build", "v1", "--config", str(recipe)])


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_example_of_a_command_is_accepted(name: str) -> None:
    cli.parse_settings(name, shlex.split(cli.COMMANDS[name].example))


ONLY_PRINTS = {"pairs explain", "benchmarks list", "compare", "view", "ask", "replies recover"}


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_a_command_that_writes_files_says_at_its_end_where_they_are_or_what_to_do_next(name: str) -> None:
    command = cli.COMMANDS[name]
    assert bool(command.ends) == (name not in ONLY_PRINTS)
    said = command.ends.format(settings=cli.parse_settings(name, shlex.split(command.example)), result="RESULT")
    assert "{" not in said
    assert "None" not in said


def test_help_shows_the_example_and_the_required_keys_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    parts = ("example:", "required:", "--model TEXT", "optional:", "--tasks", "endpoint:")
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


def test_keys_of_other_tools_and_lists_in_words_are_understood() -> None:
    arguments = ["--model_name_or_path", "m", "--dataset_name=d", "--output_dir", "o", "--both_orders"]
    settings = cli.parse_settings("evaluate", [*arguments, "--tasks", "bison,", "nlvr2", "svo"])
    assert (settings.model, settings.data, settings.out, settings.both_orders) == ("m", "d", Path("o"), True)
    assert settings.tasks == ["bison", "nlvr2", "svo"]
    build = cli.parse_settings("build", ["v1", "--dataset_name", "d", "--source.name", "n", "--output_dir", "o"])
    assert (build.source.path, build.out) == (Path("d"), Path("o"))


@pytest.mark.parametrize("name", ["evaluate", "build"])
def test_a_command_without_arguments_names_what_it_needs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([name])
    told = capsys.readouterr().err
    assert "required: " in told
    assert f"example: cadvi {name}" in told


def test_a_wrong_value_is_told_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["build", "v1", "--rows_per_shard", "many"])
    told = capsys.readouterr().err
    assert "rows_per_shard" in told
    assert told.count("\n") < 8
