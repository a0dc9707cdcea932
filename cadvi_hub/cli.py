"""The command `cadvi`: settings come from a YAML recipe and the command line. The command line wins."""

from __future__ import annotations

import importlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from cadvi_hub import __version__
from cadvi_hub.core.ends import ending_in_one_line
from cadvi_hub.core.ranges import check_ranges
from cadvi_hub.core.recipe_file import check_recipes


class Positional(NamedTuple):
    """Arguments before the first key, and the key that they stand for.

    Attributes:
        shown: how the usage shows them.
        key: the key, without dashes.
        field: the field of the settings, where it has another name than the key.
        choices: the allowed values, where the command needs one of them.
        reader: function below `cadvi_hub`, (key, arguments) → {key: value}, for several arguments; without it,
            there is one.
    """

    shown: str
    key: str
    field: str | None = None
    choices: tuple[str, ...] = ()
    reader: str = ""


class Command(NamedTuple):
    """A command: the module below `cadvi_hub` with its settings class and its function, and what it does."""

    module: str
    settings: str
    function: str
    summary: str
    positional: Positional | None = None

    def load(self, attribute: str) -> Any:
        """The settings class or the function; imports their module."""
        return getattr(importlib.import_module(f"cadvi_hub.{self.module}"), attribute)


# `--config` names the recipe, so the field `config` of the settings gets the key `--dataset`.
_DATA_SETS = ("v1", "v2", "instruct", "cad_qa", "preferences")
_DATA_SET = Positional("{" + ",".join(_DATA_SETS) + "}", "dataset", "config", _DATA_SETS)
# Modules are imported when their command runs: `cadvi --help` must not wait for torch.
COMMANDS = {
    "demo": Command(
        "demo.run", "DemoSettings", "demo", "the whole method at small scale, from captions to the results table"
    ),
    "ablations": Command(
        "demo.ablations",
        "AblationSettings",
        "ablations",
        "the demo over three seeds, with parts left out and fewer pairs",
    ),
    "scenes": Command(
        "world.make",
        "WorldSettings",
        "make_world",
        "draw the small world: captions, pairs, questions and their truth",
    ),
    "nlvr": Command("world.nlvr", "NlvrSettings", "captioned_boxes", "turn NLVR's boxes into captioned images"),
    "build": Command(
        "builder.build",
        "BuildSettings",
        "build",
        "build a data set: v1, v2, instruct, cad_qa or preferences (cadvi build v1 …)",
        _DATA_SET,
    ),
    "pairs mine": Command(
        "builder.build",
        "BuildSettings",
        "mine",
        "mine the pairs of a build, and stop before any model is asked",
        _DATA_SET,
    ),
    "pairs explain": Command(
        "pairing.explain", "ExplainSettings", "explain", "show how many captions and pairs each rule removed"
    ),
    "ground": Command(
        "grounding.score", "GroundSettings", "ground", "check a data set's statements against scene graphs"
    ),
    "benchmarks build": Command(
        "eval.benchmarks.build",
        "BenchmarkSettings",
        "build_benchmark",
        "make a benchmark for the tasks from question files or upstream annotations, and pictures",
        Positional("NAME", "task"),
    ),
    "benchmarks list": Command(
        "eval.benchmarks.listing", "ListSettings", "list_benchmarks", "list the benchmark sets and what each asks"
    ),
    "evaluate": Command(
        "eval.evaluate", "EvaluateSettings", "evaluate_and_show", "run the lighteval tasks on a model"
    ),
    "compare": Command(
        "eval.comparison",
        "CompareSettings",
        "compare",
        "compare two evaluations on the same questions: paired bootstrap and McNemar's test",
    ),
    "judge run": Command(
        "eval.judge.run", "JudgeSettings", "run", "let an LLM rate the open answers of an evaluation from 0 to 5"
    ),
    "judge check": Command(
        "eval.judge.check", "JudgeCheckSettings", "check", "test a judge on answers whose quality is known"
    ),
    "judge differences": Command(
        "eval.judge.differences",
        "DifferencesSettings",
        "differences",
        "let an LLM say which of the true differences an answer names: precision and recall",
    ),
    "assemble": Command(
        "training.llava",
        "AssembleSettings",
        "assemble_model",
        "assemble LLaVA from Vicuna, CLIP and LLaVA's stage-1 projector",
    ),
    "merge": Command(
        "training.adapters", "MergeSettings", "merge_adapter", "merge an adapter into its base, and check the result"
    ),
    "report": Command(
        "pages.report",
        "ReportSettings",
        "report",
        "tables, Markdown and a page from evaluations (cadvi report FOLDER NAME=FOLDER …)",
        Positional("RESULTS…", "models", reader="pages.report.folders_by_key"),
    ),
    "view": Command(
        "pages.view",
        "ViewSettings",
        "view",
        "a page to look at pairs, answers and two pictures of your own (cadvi view FOLDER NAME=FOLDER …)",
        Positional("RESULTS…", "results", reader="pages.report.folders_by_key"),
    ),
    "ask": Command(
        "pages.ask",
        "AskSettings",
        "ask",
        'ask a model about two pictures (cadvi ask A.jpg B.jpg "What differs?")',
        Positional("PICTURES… [QUESTION]", "images", reader="pages.ask.asked"),
    ),
    "replies recover": Command(
        "generation.recover", "RecoverSettings", "recover", "save what can be read of a damaged reply store"
    ),
    "publish": Command(
        "hub.publish", "PublishSettings", "publish", "push a data set or a model to the Hub, with its card"
    ),
}


# Its keys are TRL's, which has a parser of its own.
TRAIN, TRAIN_SUMMARY = "train", "tune a model (--method sft, dpo or grpo)"


def usage() -> str:
    """What `cadvi --help` prints."""
    width = max(map(len, COMMANDS))
    summaries = {name: command.summary for name, command in COMMANDS.items()} | {TRAIN: TRAIN_SUMMARY}
    lines = [f"  {name:<{width}}  {summary}" for name, summary in summaries.items()]
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
            f"({', '.join(packaged_recipes())}).",
            "`--debug` shows where in the program an error arises.",
            "To train in several processes: `accelerate launch -m cadvi_hub.training.sft --config …`.",
        ]
    )


def packaged_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with the package."""
    folder = Path(str(resources.files("cadvi_hub"))) / "recipes"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _with_keys(positional: Positional | None, arguments: Sequence[str]) -> list[str]:
    """`arguments` with a key in front of the positional ones, and with the paths of packaged recipes."""
    arguments = list(arguments)
    given = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    if positional and given and positional.reader:
        module, _, function = positional.reader.rpartition(".")
        keys = getattr(importlib.import_module(f"cadvi_hub.{module}"), function)(positional.key, given)
        arguments = arguments[len(given) :]
        arguments += [
            f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in keys.items()
        ]
    elif positional and given:
        arguments = [*arguments[1:], f"--{positional.key}", given[0]]
    recipes = packaged_recipes()
    for index, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if key == "--config" and not equals and index + 1 < len(arguments):
            index, value = index + 1, arguments[index + 1]
        if key == "--config" and value in recipes and not Path(value).is_file():
            arguments[index] = f"{key}={recipes[value]}" if equals else str(recipes[value])
    return arguments


def _with_values(settings_class: type, arguments: Sequence[str]) -> list[str]:
    """`arguments` with `true` after each flag that has no value: `--summary` is `--summary true`."""
    flags = set(_flags(settings_class))
    following = [*arguments[1:], "--"]
    written: list[str] = []
    for argument, after in zip(arguments, following, strict=True):
        written.append(f"{argument}=true" if argument in flags and after.startswith("--") else argument)
    return written


def _flags(settings_class: type, prefix: str = "--") -> Iterator[str]:
    """The keys of the settings, and of those within them, that are true or false."""
    for name, kind in get_type_hints(settings_class).items():
        if kind is bool:
            yield f"{prefix}{name}"
        elif is_dataclass(kind) and isinstance(kind, type):
            yield from _flags(kind, f"{prefix}{name}.")


def parse_settings(name: str, arguments: Sequence[str]) -> Any:
    """The settings of command `name` from `arguments`. Unknown keys and wrong values end the program."""
    from jsonargparse import ArgumentParser

    command = COMMANDS[name]
    settings_class = command.load(command.settings)
    positional = command.positional
    # Instead of fifty lines of brackets, which would hide the error after them. --help lists the keys below.
    usage = f"cadvi {name} {positional.shown + ' ' if positional else ''}[--config recipe.yaml] [--key value …]"
    parser = ArgumentParser(prog=f"cadvi {name}", description=command.summary, usage=usage)
    parser.add_argument("--config", action="config", help="YAML recipe: a file or the name of a packaged one")
    renamed = {}
    if positional and positional.field:
        renamed = {positional.field: positional.key}
        parser.add_argument(
            f"--{positional.key}", required=True, choices=positional.choices, help="the data set to build"
        )
    parser.add_class_arguments(settings_class, skip=set(renamed))
    arguments = _with_values(settings_class, _with_keys(positional, arguments))
    check_recipes(arguments)
    try:
        parsed = parser.parse_args(arguments)
    except OverflowError:  # a whole number that no float can hold: out of any range
        parsed = parser.parse_args([re.sub(r"\d{300,}", "9.9e300", argument) for argument in arguments])
    check_ranges(settings_class, vars(parsed))  # before the parts are made, which do not know their keys
    chosen = parser.instantiate_classes(parsed)
    names = [field.name for field in fields(settings_class)]
    return settings_class(**{name: chosen[key] for name in names if (key := renamed.get(name, name)) in chosen})


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Every error ends with one line on stderr and exit status 1; `--debug` shows the traceback, too."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    debug = "--debug" in arguments
    name, *rest = [argument for argument in arguments if argument != "--debug"] or [""]
    if rest and f"{name} {rest[0]}" in COMMANDS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name == "--version":
        print(__version__)
        return
    if name == TRAIN:
        importlib.import_module("cadvi_hub.training.sft").main(arguments[1:])
        return
    if name not in COMMANDS:
        longer = [known for known in COMMANDS if known.startswith(f"{name} ")]
        sys.exit(f"cadvi: no command {name[:100]!r}. Commands: {', '.join(longer or [*COMMANDS, TRAIN])}")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cadvi_hub").setLevel(logging.INFO)  # the cost of a run, but no line per request
    with ending_in_one_line(f"cadvi {name}", debug):
        settings = parse_settings(name, rest)
        result = COMMANDS[name].load(COMMANDS[name].function)(settings)
        if result is not None:
            print(result)


if __name__ == "__main__":
    main()
