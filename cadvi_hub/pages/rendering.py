"""Rows, questions and conversations as HTML: pure functions, the same for the live page and the exported one.

Every value goes through Jinja's autoescape; nothing that a data set or a model wrote is ever marked as safe.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, CadSummary
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.pages.evaluations import FILTERS, AskedQuestion
from cadvi_hub.pages.pictures import Shown
from cadvi_hub.pages.report_columns import COLUMNS, Results, notes, tables
from cadvi_hub.pages.report_table import cells, sizes

if TYPE_CHECKING:
    from jinja2 import Environment
    from spacy.language import Language

MAX_TEXT = 5_000  # characters of any one text
OPTIONAL = ("context", "shared_nouns", "answer", "commonalities", "differences")  # columns that not every set has
OPTION = re.compile(r"^([A-Z])\. (.+)$", re.MULTILINE)  # a line of a question: a letter and what it stands for
PROVENANCE = ("source", "annotator", "clip_sim_score", "prompt_hash", "decoding")
NOT_SAID = (None, "", "{}")  # rules have no decoding settings: "{}"

Row = Mapping[str, Any]


class Word(NamedTuple):
    """A piece of a caption, whether it is one of the shared nouns, and the space after it."""

    text: str
    shared: bool
    space: str


class Turn(NamedTuple):
    """What somebody said in a conversation, and the summary in it where it is one."""

    role: str
    text: str
    summary: CadSummary | None = None


def pair_html(
    row: Row, pictures: Sequence[Shown], link: str, tagger: Language | None = None, position: str = ""
) -> Markup:
    """One row of a data set: pictures, captions, what is shared and what differs, conversation, provenance.

    Args:
        row: of any of our sets; columns that it lacks are left out.
        pictures: its pictures.
        link: address that leads to this row.
        tagger: spaCy's, which finds the shared nouns in captions by lemma, as pairing did.
        position: where it stands in the set, in words.
    """
    return _render(
        "pair.html.jinja",
        row={**dict.fromkeys(OPTIONAL), **row},
        pictures=pictures,
        link=link,
        anchor=link[1:] if link.startswith("#") else "",
        position=position,
        captions=[
            marked(caption or "", row.get("shared_nouns") or (), tagger) for caption in row.get("captions") or ()
        ],
        turns=turns(row.get("messages") or ()),
        question=numbered(row.get("question") or ""),
        names=[image.get("path") for image in row.get("images") or () if image and image.get("path")],
        provenance=[(name.replace("_", " "), row[name]) for name in PROVENANCE if row.get(name) not in NOT_SAID],
    )


def drops_html(report: Mapping[str, Any]) -> Markup:
    """What a build left out: reason, count, and the first places. Empty where it dropped nothing."""
    drops = {
        reason: entry
        for reason, entry in (report.get("drops") or {}).items()
        if isinstance(entry, Mapping) and entry.get("count")
    }
    return _render("drops.html.jinja", drops=drops, rows=report.get("rows")) if drops else Markup()


def scores_html(results: Results) -> Markup:
    """The tables of one or two evaluations: % with the 95 % interval."""
    shown = []
    for table in tables(results):
        rows = cells(results, table.columns, table.best)
        columns = list(zip(table.columns, map(sizes, zip(*rows.values(), strict=True)), strict=True))
        shown.append({"title": table.title, "about": table.about, "columns": columns, "rows": rows})
    return _render("scores.html.jinja", tables=shown, notes=notes(results))


def question_html(question: AskedQuestion, pictures: Sequence[Shown], position: str = "") -> Markup:
    """One benchmark question: pictures, the right answer, and what the models said."""
    text = numbered(question.text)
    return _render(
        "question.html.jinja",
        question=question,
        pictures=pictures,
        text=text,
        options=dict(OPTION.findall(text)),
        about=next((column.about for column in COLUMNS if column.task == question.task), ""),
        position=position,
    )


def chat_html(pictures: Sequence[Shown], said: Sequence[Turn], model: str = "", writing: bool = False) -> Markup:
    """A conversation about pictures; `writing` while the last turn is not complete."""
    return _render("chat.html.jinja", pictures=pictures, turns=said, model=model, writing=writing)


def message_html(text: str, kind: str = "note") -> Markup:
    """A message to the reader: a `note`, or a `problem`."""
    return _render("message.html.jinja", text=text, kind=kind)


def site_html(
    sets: Sequence[tuple[str, str, str, Sequence[str]]], scores: str, answers: Sequence[str], tasks: Sequence[str]
) -> Markup:
    """The exported page, of HTML that the functions above made.

    Args:
        sets: name, what its rows are, drops and rows of each data set.
        scores: of the evaluations.
        answers: the questions.
        tasks: names of their sets.
    """
    script = asset("site.js")
    return _render(
        "site.html.jinja",
        sets=sets,
        scores=scores,
        answers=answers,
        tasks=tasks,
        kinds=FILTERS,
        style=asset("view.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def asset(name: str) -> str:
    """The text of a file of this package: the style, a script."""
    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def marked(caption: str, shared: Sequence[str], tagger: Language | None) -> list[Word]:
    """The caption's words; shared nouns are found as pairing found them, by lemma."""
    caption, nouns = short(caption), {noun.lower() for noun in shared}
    if tagger is None or not nouns:
        return [Word(caption, False, "")]
    return [
        Word(token.text, token.pos_ in ("NOUN", "PROPN") and token.lemma_.lower() in nouns, token.whitespace_)
        for token in tagger(caption)
    ]


def turns(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """The turns of a conversation, pictures numbered through."""
    return list(_numbered_turns(messages))


def _numbered_turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    number = 0
    for turn in messages:
        text = ""
        for part in turn["content"]:
            if part["type"] == "image":
                number += 1
                text += f"[picture {number}]"
            else:
                text += part["text"] or ""
        yield Turn(turn["role"], short(text))


def answer_turn(text: str) -> Turn:
    """A model's answer, with its summary where it has the form of one."""
    try:
        return Turn("assistant", short(text), parse_summary(text))
    except ValueError:
        return Turn("assistant", short(text))


def numbered(prompt: str) -> str:
    """A prompt with "[picture 1]", "[picture 2]" … where its images go."""
    first, *rest = prompt.split(IMAGE_PLACEHOLDER)
    return short(first + "".join(f"[picture {number}]{text}" for number, text in enumerate(rest, 1)))


def short(text: str) -> str:
    """The text, cut after `MAX_TEXT` characters."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def row_link(set_name: str, row_id: str) -> str:
    """The part of an address that leads to a row."""
    return "?" + urlencode({"set": set_name, "row": row_id})


def _render(template: str, **values: Any) -> Markup:
    """HTML that needs no more escaping: autoescape went over every value that is not such HTML itself."""
    return Markup(_environment().get_template(template).render(values))  # noqa: S704


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cadvi_hub.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    return environment
