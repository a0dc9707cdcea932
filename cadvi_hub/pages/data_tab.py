"""The tab in which a reader pages through a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import Aspect
from cadvi_hub.pages.pictures import data_url, shown
from cadvi_hub.pages.rendering import drops_html, message_html, pair_html, row_link, row_position
from cadvi_hub.pages.rows import DataRows, RowFilter

NOTHING_LEFT_OUT = "Nothing was left out."
NO_REPORT = "There is no record of it here (build.json). See the card of the published data set."


class DataTab:
    """The tab; `place` holds what it shows, as (set, number of the row from 1), for the tab that compares."""

    def __init__(self, sets: Mapping[str, DataRows], store: ImageStore | None):
        self._sets, self._store = sets, store
        names = list(sets)
        with gr.Row():
            self._set = gr.Dropdown(names, value=names[0], label="Data set", min_width=120)
            self._text = gr.Textbox(
                label="Search in the texts", placeholder="word, then Enter", max_lines=1, min_width=160
            )
            aspects = [("any", ""), *((str(aspect), str(aspect)) for aspect in Aspect)]
            self._aspect = gr.Dropdown(aspects, value="", label="They differ in", min_width=140)
            self._noun = gr.Textbox(label="Both show", placeholder="dog, then Enter", max_lines=1, min_width=120)
            self._source = gr.Dropdown([("any", "")], value="", label="Source", allow_custom_value=True, min_width=120)
        with gr.Row():
            previous = gr.Button("← Previous (k)", elem_id="data-previous", min_width=100, scale=2)
            self._number = gr.Number(1, label="Row", precision=0, minimum=1, container=False, min_width=60)
            following = gr.Button("Next (j) →", elem_id="data-next", variant="primary", min_width=100, scale=2)
        self._pair = gr.HTML(elem_id="pair")
        with gr.Accordion("What was left out, and why", open=False):
            self._drops = gr.HTML()
        self.place = [self._set, self._number]
        filters = [self._text, self._aspect, self._noun, self._source]
        inputs, outputs = [*self.place, *filters], [self._pair, self._number]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        previous.click(lambda *values: self.move(-1, *values), inputs, outputs, **quiet)
        following.click(lambda *values: self.move(1, *values), inputs, outputs, **quiet)
        searched = [self._text.submit, self._aspect.input, self._noun.submit, self._source.input, self._number.submit]
        gr.on(searched, lambda *values: self.move(0, *values), inputs, outputs, **quiet)
        everything = [*outputs, self._set, self._source, self._drops]
        self._set.input(lambda name: self.open(name, None), self._set, everything, **quiet)
        self._everything, self._quiet = everything, quiet

    def on_load(self, page: gr.Blocks) -> None:
        """Show the row that the address names, or the first one."""

        def load(request: gr.Request) -> tuple[Any, ...]:
            wanted = request.query_params
            return self.open(wanted.get("set") or next(iter(self._sets)), wanted.get("row"))

        page.load(load, None, self._everything, **self._quiet)

    def open(self, name: str, row_id: str | None) -> tuple[Any, ...]:
        """Pair, number, set, sources and drops of a set's row `row_id`, or of its first row."""
        missing = message_html(f"There is no data set {name!r} here.", "problem") if name not in self._sets else ""
        name = next(iter(self._sets)) if missing else name
        rows = self._sets[name]
        try:
            found = rows.number_of(row_id) if row_id else 0
            if found is None:
                missing += message_html(f"There is no row {row_id!r} in {name}.", "problem")
            html, number = self.move(0, name, (found or 0) + 1)
            choices = gr.Dropdown([("any", ""), *((source, source) for source in rows.sources())], value="")
            drops = drops_html(rows.report) or message_html(NOTHING_LEFT_OUT if rows.report else NO_REPORT)
        except InputError as error:
            return message_html(str(error), "problem"), 1, name, gr.Dropdown(), ""
        return missing + html, number, name, choices, drops

    def move(
        self,
        step: int,
        name: str,
        number: float | None,
        text: str = "",
        aspect: str = "",
        noun: str = "",
        source: str = "",
    ) -> tuple[str, int]:
        """The pair `step` rows on among those that fit, and its number from 1."""
        rows, here = self._sets[name], max(0, int(number or 1) - 1)
        wanted = RowFilter((text or "").strip(), aspect or "", (source or "").strip(), (noun or "").strip())
        try:
            found = rows.find(wanted, here + step, backwards=step < 0)
            note = ""
            if found is None and step == 0:
                found = rows.find(wanted)  # from the start again
            if found is None and step and rows.row(here):
                found, note = here, message_html("This is the last one." if step > 0 else "This is the first one.")
            row = None if found is None else rows.row(found)
            if found is None or row is None:
                empty = rows.row(0) is None
                return message_html(
                    "This data set has no rows." if empty else "No row fits. Loosen the filters."
                ), here + 1
            return note + self._html(name, rows, row, found), found + 1
        except InputError as error:
            return message_html(str(error), "problem"), here + 1

    def _html(self, name: str, rows: DataRows, row: Mapping[str, Any], number: int) -> str:
        pictures = [shown(image, data_url, self._store) for image in row.get("images") or ()]
        return pair_html(row, pictures, row_link(name, row["id"]), row_position(number, rows.total))
