"""The command `cadvi`: one verb per room; settings come from a YAML recipe and the command line, which wins."""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from cadvi_hub.core.errors import InputError


class Command(NamedTuple):
    """A verb: where its settings dataclass and its function are, and what it does."""

    module: str
    settings: str
    function: str
    summary: str


# Named here and imported when asked for: `cadvi --help` must not wait for torch.
COMMANDS = {
    "demo": Command(
        "cadvi_hub.demo.run",
        "DemoSettings",
        "demo",
        "the whole method at small scale, from captions to the results table",
    ),
    "scenes": Command(
        "cadvi_hub.world.make",
        "WorldSettings",
        "make_world",
        "draw the embedded world: captions, pairs, questions with ground truth",
    ),
    "nlvr": Command(
        "cadvi_hub.world.nlvr", "NlvrSettings", "captioned_boxes", "turn NLVR's boxes into captioned images"
    ),
    "build": Command(
        "cadvi_hub.builder.build",
        "BuildSettings",
        "build",
        "build a data set: v1, v2, instruct or cad_qa (cadvi build v1 …)",
    ),
    "pairs mine": Command(
        "cadvi_hub.builder.build",
        "BuildSettings",
        "mine",
        "mine the pairs of a build and stop before any model is asked",
    ),
    "pairs explain": Command(
        "cadvi_hub.pairing.explain", "ExplainSettings", "explain", "how many captions and pairs each rule removed"
    ),
    "ground": Command(
        "cadvi_hub.grounding.score", "GroundSettings", "ground", "check a data set's statements against scene graphs"
    ),
    "benchmarks build": Command(
        "cadvi_hub.eval.benchmarks.build",
        "BenchmarkSettings",
        "build_benchmark",
        "question files or upstream annotations, and pictures → a set that the tasks read",
    ),
    "evaluate": Command(
        "cadvi_hub.eval.evaluate", "EvaluateSettings", "evaluate_and_show", "run the lighteval tasks on a model"
    ),
    "compare": Command(
        "cadvi_hub.eval.comparison",
        "CompareSettings",
        "compare",
        "two evaluations on the same questions: paired bootstrap and McNemar's test",
    ),
    "judge run": Command(
        "cadvi_hub.eval.judge.run",
        "JudgeSettings",
        "run",
        "let an LLM rate the open answers of an evaluation from 0 to 5",
    ),
    "judge check": Command(
        "cadvi_hub.eval.judge.check",
        "JudgeCheckSettings",
        "check",
        "can a judge be trusted? Its ratings of answers whose worth is known",
    ),
    "assemble": Command(
        "cadvi_hub.training.assembling",
        "AssembleSettings",
        "assemble_model",
        "make a LLaVA of Vicuna, CLIP and LLaVA's stage-1 projector",
    ),
    "merge": Command(
        "cadvi_hub.training.merging", "MergeSettings", "merge_adapter", "merge an adapter into its base and prove it"
    ),
    "report": Command(
        "cadvi_hub.pages.report",
        "ReportSettings",
        "report",
        "tables, Markdown and a page from evaluations (cadvi report FOLDER NAME=FOLDER …)",
    ),
    "view": Command(
        "cadvi_hub.pages.view",
        "ViewSettings",
        "view",
        "a page to look at pairs, answers and two pictures of your own (cadvi view FOLDER NAME=FOLDER …)",
    ),
    "publish": Command(
        "cadvi_hub.hub.publish", "PublishSettings", "publish", "push a data set or a model to the Hub, with its card"
    ),
}


def usage() -> str:
    """What `cadvi --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cadvi COMMAND [--config recipe.yaml] [--key value …]",
            "",
            "Teach a vision-language model to compare two images.",
            "",
            "commands:",
            *lines,
            "",
            "`cadvi COMMAND --help` lists the keys of a command. `--config` takes a file or a packaged recipe",
            f"({', '.join(packaged_recipes())}). Train by `accelerate launch -m cadvi_hub.training.sft --config …`.",
        ]
    )


def packaged_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        Path(entry.name).stem
        for entry in (resources.files("cadvi_hub") / "recipes").iterdir()
        if entry.name.endswith(".yaml")
    )


def _recipe_path(value: str) -> str:
    """A recipe file, or a packaged recipe by name."""
    if not Path(value).is_file() and value in packaged_recipes():
        return str(resources.files("cadvi_hub") / "recipes" / f"{value}.yaml")
    return value


def parse_settings(name: str, arguments: Sequence[str]) -> Any:
    """The settings of command `name` from `arguments`; unknown keys and wrong values end the program."""
    from jsonargparse import ArgumentParser

    command = COMMANDS[name]
    settings_class = getattr(importlib.import_module(command.module), command.settings)
    recipe_key = "--config"
    arguments = list(arguments)
    named = command.settings == "BuildSettings"  # `cadvi build v1` names the data set, so that --config is the recipe
    # Fifty lines of brackets would hide the error that follows them; the keys are listed below the usage.
    what = " {v1,v2,instruct,cad_qa}" if named else ""
    if command.settings == "BenchmarkSettings":  # `cadvi benchmarks build bison`
        what = " NAME"
        if arguments and not arguments[0].startswith("-"):
            arguments = [*arguments[1:], "--task", arguments[0]]
    if command.settings in ("ReportSettings", "ViewSettings"):  # `cadvi report FOLDER NAME=FOLDER …`
        what = " RESULTS…"
        folders = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
        arguments = arguments[len(folders) :]
        if folders:
            from cadvi_hub.pages.report import named_folders

            key = "--models" if command.settings == "ReportSettings" else "--results"
            arguments += [key, json.dumps(named_folders(folders))]
    usage = f"cadvi {name}{what} [--config recipe.yaml] [--key value …]"
    parser = ArgumentParser(prog=f"cadvi {name}", description=command.summary, usage=usage)
    if named:
        if arguments and not arguments[0].startswith("-"):
            arguments = [*arguments[1:], "--dataset", arguments[0]]
        parser.add_argument(
            "--dataset", required=True, choices=["v1", "v2", "instruct", "cad_qa"], help="the data set to build"
        )
    parser.add_argument(recipe_key, action="config", help="YAML recipe: a file or the name of a packaged one")
    skipped = {"config"} if named else set()
    parser.add_class_arguments(settings_class, skip=skipped)
    for index, value in enumerate(arguments):
        if value == recipe_key and index + 1 < len(arguments):
            arguments[index + 1] = _recipe_path(arguments[index + 1])
        elif value.startswith(recipe_key + "="):
            arguments[index] = f"{recipe_key}={_recipe_path(value.partition('=')[2])}"
    chosen = parser.instantiate_classes(parser.parse_args(arguments))
    values = {field.name: chosen[field.name] for field in fields(settings_class) if field.name in chosen}
    if named:
        values["config"] = chosen["dataset"]
    return settings_class(**values)


def extra_with(module: str) -> str | None:
    """The first extra of this package that installs `module`; None if none does."""
    from importlib import metadata

    for requirement in metadata.requires("cadvi-hub") or ():
        if match := re.fullmatch(rf"{re.escape(module)}\W.*extra == [\"'](\w+)[\"']", requirement):
            return match[1]
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: bad input, or an extra that is not installed, ends with one line on stderr and exit status 1."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    name, *rest = arguments
    if rest and f"{name} {rest[0]}" in COMMANDS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name == "--version":
        from cadvi_hub import __version__

        print(__version__)
        return
    if name not in COMMANDS:
        longer = [known for known in COMMANDS if known.startswith(f"{name} ")]
        sys.exit(f"cadvi: no command {name!r}. Commands: {', '.join(longer or COMMANDS)}")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cadvi_hub").setLevel(logging.INFO)  # what a run cost; the clients' line per request stays out
    try:
        settings = parse_settings(name, rest)
        result = getattr(importlib.import_module(COMMANDS[name].module), COMMANDS[name].function)(settings)
    except InputError as error:
        sys.exit(f"cadvi {name}: {error}")
    except ModuleNotFoundError as error:
        if not (extra := extra_with(error.name or "")):
            raise
        sys.exit(f"cadvi {name}: {error.name} is not installed. Run `pip install 'cadvi-hub[{extra}]'`")
    except KeyboardInterrupt:
        sys.exit(f"cadvi {name}: stopped; the same command goes on from there")
    if result is not None:
        print(result)


if __name__ == "__main__":
    main()
