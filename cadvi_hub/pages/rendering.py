"""Rows, questions, scores and conversations as HTML: the same for the report, the live page and the static site.

Every value goes through Jinja's autoescape; nothing that a data set or a model wrote is ever marked as safe.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cadvi_hub.core.schema import IMAGE_PLACEHOLDER, CadSummary
from cadvi_hub.core.summaries import parse_summary
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.hub.cards import Verbatim, escape
from cadvi_hub.pages.charts import Chart
from cadvi_hub.pages.evaluations import AskedQuestion
from cadvi_hub.pages.pictures import Shown
from cadvi_hub.pages.scores import PAPER_NOTE, ScoreTable
from cadvi_hub.pairing.nouns import load_tagger

MAX_TEXT = 5_000  # characters of any one text
OPTIONAL = ("context", "shared_nouns", "answer", "commonalities", "differences")  # columns that not every set has
OPTION = re.compile(r"^([A-Z])\. (.+)$", re.MULTILINE)  # a line of a question: a letter and what it stands for
PROVENANCE = ("source", "annotator", "clip_sim_score", "prompt_hash", "decoding")
NOT_SAID = (None, "", "{}")  # rules have no decoding settings: "{}"

Row = Mapping[str, Any]

tagger = cache(load_tagger)


class Word(NamedTuple):
    """A piece of a caption, whether it is one of the shared nouns, and the space after it."""

    text: str
    shared: bool
    space: str


class Turn(NamedTuple):
    """What somebody said in a conversation, and the summary in it if it is one."""

    role: str
    text: str
    summary: CadSummary | None = None


def pair_html(row: Row, pictures: Sequence[Shown], link: str, position: str = "") -> Markup:
    """One row of a data set: pictures, captions, what is shared and what differs, conversation, provenance.

    Args:
        row: of any of our sets; columns that it lacks are left out.
        pictures: its pictures.
        link: address that leads to this row.
        position: its place in the set, in words.
    """
    return render(
        "pair.html.jinja",
        row={**dict.fromkeys(OPTIONAL), **row},
        pictures=pictures,
        link=link,
        anchor=link[1:] if link.startswith("#") else "",
        position=position,
        captions=[marked(caption or "", row.get("shared_nouns") or ()) for caption in row.get("captions") or ()],
        turns=turns(row.get("messages") or ()),
        question=numbered(row.get("question") or ""),
        names=[image.get("path") for image in row.get("images") or () if image and image.get("path")],
        provenance=[(name.replace("_", " "), row[name]) for name in PROVENANCE if row.get(name) not in NOT_SAID],
    )


def drops_html(report: Mapping[str, Any]) -> Markup:
    """What a build left out: reason, count, and the first places. Empty if it dropped nothing."""
    drops = {
        reason: entry
        for reason, entry in (report.get("drops") or {}).items()
        if isinstance(entry, Mapping) and entry.get("count")
    }
    return render("drops.html.jinja", drops=drops, rows=report.get("rows")) if drops else Markup()


def scores_html(
    tables: Sequence[ScoreTable], notes: Sequence[str], charts: Mapping[str, Sequence[Chart]] | None = None
) -> Markup:
    """The tables of evaluations: % with the 95 % interval; `charts` are by the title of their table."""
    return render("scores.html.jinja", tables=tables, notes=notes, charts=charts or {})


def question_html(question: AskedQuestion, pictures: Sequence[Shown], position: str = "") -> Markup:
    """One benchmark question: pictures, the right answer, and what the models said."""
    text = numbered(question.text)
    return render(
        "question.html.jinja",
        question=question,
        pictures=pictures,
        text=text,
        options=dict(OPTION.findall(text)),
        about=BENCHMARKS[question.task].columns[0].about,
        position=position,
    )


def chat_html(pictures: Sequence[Shown], said: Sequence[Turn], model: str = "", writing: bool = False) -> Markup:
    """A conversation about pictures; `writing` while the last turn is not complete."""
    return render("chat.html.jinja", pictures=pictures, turns=said, model=model, writing=writing)


def message_html(text: str, kind: str = "note") -> Markup:
    """A message to the reader: a `note`, or a `problem`."""
    return render("message.html.jinja", text=text, kind=kind)


def page_html(template: str, **values: Any) -> Markup:
    """A whole page that loads no style or script: both are in it, and its policy permits no other."""
    script = asset("site.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = asset("page.css") + asset("site.css")
    return render(template, style=style, script=script, script_hash=digest, **values)


def asset(name: str) -> str:
    """The text of a file of this package: a style, a script."""
    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def marked(caption: str, shared: Sequence[str]) -> list[Word]:
    """The caption's words; shared nouns are found as pairing found them, by lemma."""
    caption, nouns = short(caption), {noun.lower() for noun in shared}
    if not nouns:
        return [Word(caption, False, "")]
    return [
        Word(token.text, token.pos_ in ("NOUN", "PROPN") and token.lemma_.lower() in nouns, token.whitespace_)
        for token in tagger()(caption)
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
    """A model's answer, with its summary if it has the form of one."""
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


def row_position(number: int, total: int | None) -> str:
    """The place of a row (from 0) among `total` rows, in words."""
    return f"Row {number + 1:,}" + (f" of {total:,}" if total else "")


def row_link(set_name: str, row_id: str) -> str:
    """The part of the live page's address that leads to a row."""
    return "?" + urlencode({"set": set_name, "row": row_id})


def row_anchor(set_name: str, row_id: str) -> str:
    """The part of a file's address that leads to a row."""
    return "#" + quote(f"{set_name}/{row_id}", safe="")


def render(template: str, **values: Any) -> Markup:
    """HTML that needs no more escaping: autoescape went over every value that is not such HTML itself."""
    return Markup(_environment(autoescape=True).get_template(template).render(values))  # noqa: S704


def render_markdown(template: str, **values: Any) -> str:
    """Markdown. HTML escaping is not enough for it: `finalize` escapes every value for both."""
    environment = _environment(autoescape=False, keep_trailing_newline=True, finalize=escape)
    return environment.get_template(template).render(values)


@cache
def _environment(**options: Any) -> Environment:
    environment = Environment(  # noqa: S701  (the callers decide)
        loader=PackageLoader("cadvi_hub.pages", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.globals["paper_note"] = PAPER_NOTE
    environment.filters["short"] = short
    environment.filters["own"] = Verbatim  # what was formatted here
    environment.filters["whole"] = lambda text: Verbatim(escape(text, most=2000))
    return environment
