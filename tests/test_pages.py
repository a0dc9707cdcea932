"""Every command on README.md and in docs/ exists, and each of its keys is one that it takes."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadvi_hub import cli
from cadvi_hub.core.arguments import ALIASES
from cadvi_hub.core.keys import keys_of
from docs.reference_page import reference
from tests.support.pages import ROOT, Block, blocks, commands, copied_pages, mentions, pages

PAGES = [*pages(), *copied_pages()]
ALWAYS = {"config", "help", "debug"}


def names_of(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def split_name(words: list[str]) -> tuple[str, list[str]]:
    """The command and its arguments, of `words` after `cadvi`."""
    two = " ".join(words[:2])
    return (two, words[2:]) if two in cli.COMMANDS else (words[0], words[1:])


def unknown_keys(words: list[str]) -> list[str]:
    """What is wrong with `words`, a command of `cadvi`: the command itself, or its keys."""
    name, arguments = split_name(words[1:])
    if name == cli.TRAIN:  # see the test of trainings
        return []
    if name not in cli.COMMANDS:
        return [] if name in ("COMMAND", cli.TRAIN) or name.startswith("--") else [name]
    command = cli.COMMANDS[name]
    known = {key.name for key in keys_of(command.load(command.settings))} | ALWAYS | set(ALIASES)
    if command.positional:
        known.add(command.positional.key)
    given = [word[2:].partition("=")[0] for word in arguments if word.startswith("--")]
    return [f"{name} --{key}" for key in given if key not in known]


def of_cadvi(page: Path) -> Iterator[tuple[Block, list[str]]]:
    for block in blocks(page):
        for words in block.commands:
            if words[0] == "cadvi":
                yield block, words


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_commands_in_the_sentences_of_a_page_have_the_keys_that_it_names(page: Path) -> None:
    assert [wrong for words in mentions(page) for wrong in unknown_keys(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_every_command_in_a_block_of_a_page_is_accepted(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _, words in of_cadvi(page):
        assert unknown_keys(words) == []
        if "…" not in words and words[1] != cli.TRAIN:
            try:
                cli.parse_settings(*split_name(words[1:]))
            except SystemExit:
                pytest.fail(f"{' '.join(words)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=names_of(PAGES))
def test_every_training_on_a_page_has_a_recipe_that_exists_and_keys_that_exist(page: Path) -> None:
    from cadvi_hub.training.recipe import parse

    for block in blocks(page):
        for words in block.commands:
            starts = [place for place, word in enumerate(words) if word.endswith(("training/sft.py", "training.sft"))]
            starts += [1] if words[:2] == ["cadvi", "train"] else []
            if not starts or "--help" in words or words[0] == "hf":  # a job's paths are its own
                continue
            arguments = words[starts[0] + 1 :]
            for place, word in enumerate(arguments):
                if (ROOT / word).is_file():  # a file, not the name of a packaged recipe
                    arguments[place] = str(ROOT / word)
            parse([*arguments, "--use_cpu", "true"])


def test_a_page_with_a_command_or_a_key_that_does_not_exist_is_found() -> None:
    wrong = commands(
        "cadvi biuld v1\ncadvi build v1 --pears.min_shared 2 --out data \\\n  --seed 1 # comment --nothing"
    )
    assert [unknown_keys(words) for words in wrong] == [["biuld"], ["build --pears.min_shared"]]


def test_the_pages_have_blocks_to_check() -> None:
    readme = [words for _, words in of_cadvi(ROOT / "README.md")]
    assert len(readme) >= 8
    assert sum(len(list(of_cadvi(page))) for page in PAGES) >= 20
    assert sum(len(mentions(page)) for page in PAGES) >= 20


def test_a_block_that_needs_a_registry_a_gpu_a_server_or_the_hub_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    code = [block for page in pages() for block in blocks(page) if block.language in ("bash", "python")]
    needs = re.compile(r"^(pip|git|accelerate|vllm|hf|make|lighteval)$|^(slurm|http.*/v1)$")
    needing = [block for block in code if any(needs.match(word) for words in block.commands for word in words)]
    assert len(needing) >= 8
    assert [block for block in needing if block.reason is None] == []
    marked = Counter(block.reason for block in code if block.reason is not None)
    with capsys.disabled():
        print(f"\n{marked.total()} of {len(code)} blocks cannot run here: {dict(marked)}")


def test_every_page_is_in_the_navigation() -> None:
    linked = pages()
    assert [page for page in (ROOT / "docs").rglob("*.md") if page not in linked] == []


def test_the_readme_is_short_and_has_a_picture() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    assert "](docs/images/pair.png)" in text


def test_the_reference_describes_every_key_of_every_command() -> None:
    text = reference()
    for name, command in cli.COMMANDS.items():
        table = text.partition(f"\n## cadvi {name}\n")[2].partition("\n## ")[0]
        rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `--")]
        assert len(rows) == len(list(keys_of(command.load(command.settings))))
        assert [row[0] for row in rows if len(row) != 4 or not row[1].strip()] == [], name


def test_bare_make_prints_what_there_is() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = re.findall(r"^([a-z]\w*):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert len(targets) > 10
    assert [name for name in targets if name not in ("help", "vllm") and f"make {name} " not in shown] == []
