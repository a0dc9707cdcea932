"""The code blocks and commands of README.md and docs/, in the order of the pages."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_RUN = "<!-- not run here: "
BLOCK = re.compile(
    rf"^(?:{re.escape(NOT_RUN)}(?P<reason>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
AND = re.compile(r"\s+&&\s+")


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: its file, relative to the checkout.
        language: after the backticks.
        text: the code.
        reason: why it cannot run in a test, where the comment before it says so.
    """

    page: str
    language: str
    text: str
    reason: str | None

    @property
    def commands(self) -> list[list[str]]:
        """Each command of a shell block as its words, without comments."""
        return commands(self.text) if self.language == "bash" else []


def pages() -> list[Path]:
    """README.md, then the pages in the order of the site's navigation, then those that people copy from."""
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    named = [ROOT / "docs" / name for name in re.findall(r": (\S+\.md)$", nav, re.M)]
    return [ROOT / "README.md", *(page for page in named if page.is_file())]


def copied_pages() -> list[Path]:
    """Documents beside code, whose commands are checked, too."""
    return [file for folder in ("training", "eval") for file in sorted((ROOT / folder).rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks of `page`."""
    name = str(page.relative_to(ROOT))
    text = page.read_text("utf-8")
    return [Block(name, found["language"], found["text"], found["reason"]) for found in BLOCK.finditer(text)]


def commands(text: str) -> list[list[str]]:
    """The commands of shell `text`, one list of words each."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [shlex.split(part, comments=True) for line in lines for part in AND.split(line)]
    return [words for words in found if words]


def mentions(page: Path) -> list[list[str]]:
    """The commands of `cadvi` within the sentences of `page`, one list of words each."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    return [shlex.split(found) for found in re.findall(r"`(cadvi [^`]+)`", text)]
