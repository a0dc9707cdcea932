"""The record that says everything about one benchmark set. Each set has a file of its own with one `BENCHMARK`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from cadvi_hub.core.drops import Drops
from cadvi_hub.eval.benchmarks.question import PictureSource, Question
from cadvi_hub.sources.rows import Row

Grouping = Literal["", "pair_accuracy", "consistency"]
PAIRS: Grouping = "pair_accuracy"  # two questions, both right
CONSISTENCY: Grouping = "consistency"  # a statement is right about every pair of images that it is asked of
CATEGORIES = "|"  # between the categories of a question that has several
F1_ABOUT = "Token F1 counts the words shared with the reference answer; it replaces the paper's rating by an LLM."

MODELS_OF_PAPER = (
    "SparklesChat",
    "Otter",
    "MMICL",
    "EMU2-Chat",
    "InternLM-XComposer2-VL",
    "LLaVA-1.6 7B",
    "LLaVA-1.6 13B",
    "LLaVA-1.5 7B",
    "LLaVA-1.5 13B",
    "CaD-VI 7B",
    "CaD-VI 13B",
)


class Joint(NamedTuple):
    """A metric of questions that count together: a unit is right when its questions are all right.

    Attributes:
        metric: its name.
        size: the number of questions in a unit; a smaller one is wrong. 0 takes any number.
        unit: (id, group) of a question → the unit that it belongs to; "" if the metric leaves it out.
    """

    metric: str
    size: int
    unit: Callable[[str, str], str]


def whole_group(_question_id: str, group: str) -> str:
    """The unit of a metric that counts groups."""
    return group


class Provenance(NamedTuple):
    """Where a set comes from.

    Attributes:
        place: its repository or page.
        licence: as its authors state it.
        seen: which columns were seen in the authors' files, and which are known from a paper alone.
        faults: what is known to be wrong with it, in a sentence; "" if nothing is.
    """

    place: str
    licence: str
    seen: str
    faults: str = ""


class ReportColumn(NamedTuple):
    """A column of a report's tables.

    `chance` is the score of guessing, None where it is not known; `unit` says what a cell counts, `about` in one
    sentence what is asked.
    """

    metric: str
    unit: str
    chance: float | None
    about: str


class PaperResults(NamedTuple):
    """What the paper's Table 1 reports: the metric, the questions (or pairs) of its file, % by `MODELS_OF_PAPER`."""

    metric: str
    n: int
    percent: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Everything about one set.

    Attributes:
        name: of the set, of its lighteval task and of its folder.
        columns: what a report shows, the main metric first.
        options: what an answer can be; empty where answers are sentences, or where each question has its own.
        own_options: whether a line of the question file may list its own options.
        own_columns: whether it is made of a file whose columns the user names, with any number of images.
        images: how many images a question is about; 0 where each question has its own number.
        grouping: the metric of the questions that count together; `PAIRS` also means ids `i_0` and `i_1`.
        joint: metrics of questions that count together in other ways.
        cluster: (id, group) of a question → what it shares with those that depend on it; None takes the group.
            Intervals are wider where questions depend on each other.
        compares: whether questions compare two images; in a report, sets that do come first.
        swaps: whether questions can be asked with their two images in the other order.
        categories: in the order that a report shows them; others follow by name.
        category: reads the category of a line of the question file.
        max_tokens: length of an answer in tokens; None leaves it to the settings of an evaluation.
        judge_prompt: prompt for an LLM that rates answers. A set with one is open: its answers are sentences.
        question_file: whether the paper's authors published a question file.
        upstream: reads what the benchmark's own authors published: (path, seed) → questions.
        summaries: reads a built data set, and counts the rows that ask nothing; such a set has no question file.
        pictures: finds the pictures of upstream annotations in some folders; None takes image files.
        flags: what is doubtful about a question, with details.
        paper: the results that the paper reports.
        provenance: where it comes from, and its licence.
    """

    name: str
    columns: tuple[ReportColumn, ...]
    options: tuple[str, ...] = ()
    own_options: bool = False
    own_columns: bool = False
    images: int = 2
    grouping: Grouping = ""
    joint: tuple[Joint, ...] = ()
    cluster: Callable[[str, str], str] | None = None
    compares: bool = True
    swaps: bool = False
    categories: tuple[str, ...] = ()
    category: Callable[[Row], str] | None = None
    max_tokens: int | None = None
    judge_prompt: str = ""
    question_file: bool = True
    upstream: Callable[[Path, int], Iterator[Question]] | None = None
    summaries: Callable[[Path, Drops], Iterator[Question]] | None = None
    pictures: Callable[[Sequence[Path]], PictureSource] | None = None
    flags: Callable[[Question], Iterable[tuple[str, str]]] | None = None
    paper: PaperResults | None = None
    provenance: Provenance | None = None

    @property
    def is_open(self) -> bool:
        """Whether answers are sentences, and not right or wrong."""
        return bool(self.judge_prompt)

    @property
    def joints(self) -> tuple[Joint, ...]:
        """All metrics of questions that count together."""
        size = 2 if self.in_pairs else 0
        return (*((Joint(self.grouping, size, whole_group),) if self.grouping else ()), *self.joint)

    @property
    def in_pairs(self) -> bool:
        """Whether questions come in pairs with ids `i_0` and `i_1`."""
        return self.grouping == PAIRS
