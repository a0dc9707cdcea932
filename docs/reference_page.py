"""The page "Reference": every key of every command, from the settings' docstrings. `mkdocs.yml` names it as a hook."""

from __future__ import annotations

from typing import Any

from cadvi_hub.commands import COMMANDS, Command
from cadvi_hub.core.keys import keys_of
from cadvi_hub.eval.benchmarks.benchmark import Benchmark
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.training.settings import DataArguments

PIPE = "\\|"  # inside a cell of a table
PAGE = "reference.md"
HEAD = """# Reference

Every key of every command, with its default and what it takes. A recipe (`--config FILE.yaml`) has the same keys,
without the dashes. `cadvi COMMAND --help` prints them, too.
"""
TRAINING = """
## cadvi train

`cadvi train` (in several processes `accelerate launch -m cadvi_hub.training.sft`) takes these keys, those of TRL's
`SFTConfig`, `DPOConfig` or `GRPOConfig`, by `--method`, and those of its `ModelConfig`. `--help` lists all of them.
`cadvi_hub/training/recipe.py` has the defaults that differ from TRL's.
"""
SETS = """
## Question sets

Where each set comes from, what it may be used for, and how well its form is known here: none could be downloaded, so
that each reader is tested on rows that the tests write in the published form.

| set | from | licence | columns | known faults |
|---|---|---|---|---|"""


def reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD]
    for name, command in COMMANDS.items():
        example = f"cadvi {name} {command.example}".strip()
        parts.append(f"\n## cadvi {name}\n\n{_sentence(command.summary)}\n\n```bash\n{example}\n```\n")
        parts.append(_table(command.load(command.settings), command))
    parts += [TRAINING, _table(DataArguments, None), SETS, *map(_set_row, BENCHMARKS.values())]
    return "\n".join(parts) + "\n"


def _set_row(benchmark: Benchmark) -> str:
    of = benchmark.provenance
    cells = (of.place, of.licence, of.seen, of.faults) if of else ("this package", "", "", "")
    return f"| `{benchmark.name}` | {' | '.join(cell.replace('|', PIPE) for cell in cells)} |"


def on_files(files: Any, config: Any) -> Any:
    """MkDocs' hook: adds the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=reference()))
    return files


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _table(settings_class: Any, command: Command | None) -> str:
    positional = command.positional if command else None
    renamed = {positional.field: positional.key} if positional and positional.field else {}
    lines = ["| key | what it is | takes | default |", "|---|---|---|---|"]
    for key in keys_of(settings_class, renamed):
        cells = (f"`--{key.name}`", key.about, key.takes, key.default or "**required**")
        lines.append(f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |")
    return "\n".join(lines) + "\n"
