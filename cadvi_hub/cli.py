"""The command `cadvi`: settings come from a YAML recipe and the command line. The command line wins."""

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
from typing import Any

from cadvi_hub.commands import COMMANDS, Command, Positional
from cadvi_hub.core.ends import ending_in_one_line
from cadvi_hub.core.ranges import check_ranges
from cadvi_hub.core.recipe_file import read_recipes, with_packaged_recipes

__all__ = ["COMMANDS", "TRAIN", "Command", "main", "packaged_recipes", "parse_settings", "usage"]
# It reads its settings as TRL does, and several processes may run it: `accelerate launch -m cadvi_hub.training.sft`.
TRAIN = "train"
TRAIN_SUMMARY = "tune a model: --method sft, dpo or grpo (cadvi train --config llava-1.5-7b/v1)"


def usage() -> str:
    """What `cadvi --help` prints."""
    summaries = {name: command.summary for name, command in COMMANDS.items()} | {TRAIN: TRAIN_SUMMARY}
    width = max(map(len, summaries))
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
            "`cadvi COMMAND --help` shows an example and every key. `--config` takes a file or a packaged recipe",
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
    return with_packaged_recipes(arguments, packaged_recipes())


def parse_settings(name: str, arguments: Sequence[str]) -> Any:
    """The settings of command `name` from `arguments`.

    Raises:
        InputError: a key does not exist, or a number is out of its range.
        SystemExit: a value is wrong or missing, or `--help` is asked for; the reason is printed.
    """
    from jsonargparse import ArgumentParser

    from cadvi_hub.core.arguments import check_recipe_keys, written_out
    from cadvi_hub.core.keys import help_text, keys_of

    command = COMMANDS[name]
    settings_class = command.load(command.settings)
    positional = command.positional
    renamed = {positional.field: positional.key} if positional and positional.field else {}
    usage = f"cadvi {name} {positional.shown + ' ' if positional else ''}[--config recipe.yaml] [--key value …]"
    if {"-h", "--help"} & set(arguments):
        print(help_text(settings_class, usage, command.summary, f"cadvi {name} {command.example}".strip(), renamed))
        sys.exit(0)
    # The usage is short: fifty lines of brackets would hide the error after them.
    parser = ArgumentParser(prog=f"cadvi {name}", usage=f"{usage}\nexample: cadvi {name} {command.example}")
    parser.add_argument("--config", action="config", help="YAML recipe: a file or the name of a packaged one")
    if positional and positional.field:
        parser.add_argument(f"--{positional.key}", required=True, choices=positional.choices)
    parser.add_class_arguments(settings_class, skip=set(renamed))
    keys = list(keys_of(settings_class, renamed))
    arguments = written_out(keys, _with_keys(positional, arguments))
    for file, recipe in read_recipes(arguments):
        check_recipe_keys(str(file), recipe, keys)
    try:
        parsed = parser.parse_args(arguments)
    except OverflowError:  # a whole number that no float can hold: out of any range
        parsed = parser.parse_args([re.sub(r"\d{300,}", "9.9e300", argument) for argument in arguments])
    check_ranges(settings_class, vars(parsed))  # before the parts are made, which do not know their keys
    chosen = parser.instantiate(parsed)
    names = [field.name for field in fields(settings_class)]
    return settings_class(**{name: chosen[key] for name in names if (key := renamed.get(name, name)) in chosen})


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Every error ends with one line on stderr and exit status 1; `--debug` shows the traceback, too."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    if arguments[0] == TRAIN:
        _train(arguments[1:])
        return
    debug = "--debug" in arguments
    name, *rest = [argument for argument in arguments if argument != "--debug"] or [""]
    if rest and f"{name} {rest[0]}" in COMMANDS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name == "--version":
        from cadvi_hub import __version__

        print(__version__)
        return
    if name not in COMMANDS:
        _no_such_command(name, rest)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cadvi_hub").setLevel(logging.INFO)  # the cost of a run, but no line per request
    with ending_in_one_line(f"cadvi {name}", debug):
        settings = parse_settings(name, rest)
        result = COMMANDS[name].load(COMMANDS[name].function)(settings)
        if result is not None:
            print(result, flush=True)
        if ends := COMMANDS[name].ends:  # not on stdout, where a script reads the result
            print(ends.format(settings=settings, result=result), file=sys.stderr)


def _train(arguments: list[str]) -> None:
    with ending_in_one_line(f"cadvi {TRAIN}", "--debug" in arguments):
        from cadvi_hub.training.sft import main as train

        train(arguments)


def _no_such_command(name: str, rest: list[str]) -> None:
    """Ends the program with the commands that begin with `name`, or those that look like it."""
    import difflib

    longer = {known: command for known, command in COMMANDS.items() if known.startswith(f"{name} ")}
    if longer and {"-h", "--help"} & set(rest):
        print("\n".join([f"usage: cadvi {name} …", "", *(f"  {k}  {c.summary}" for k, c in longer.items())]))
        sys.exit(0)
    wanted = f"{name} {rest[0]}" if longer and rest and not rest[0].startswith("-") else name
    found = difflib.get_close_matches(wanted, [*COMMANDS, TRAIN], 2, 0.6)
    hint = f"Did you mean {' or '.join(found)}? " if found else ""
    sys.exit(f"cadvi: no command {wanted[:100]!r}. {hint}Commands: {', '.join(longer or [*COMMANDS, TRAIN])}")


if __name__ == "__main__":
    main()
