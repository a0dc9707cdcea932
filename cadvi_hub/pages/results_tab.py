"""The tab that shows how evaluations went: scores, then single questions by how they were answered."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.pages.columns import notes
from cadvi_hub.pages.evaluations import CHANGED, FILTERS, Evaluations
from cadvi_hub.pages.pictures import data_url, shown
from cadvi_hub.pages.rendering import message_html, question_html, scores_html
from cadvi_hub.pages.scores import score_tables


class ResultsTab:
    """The tab of `evaluations`."""

    def __init__(self, evaluations: Evaluations, store: ImageStore | None):
        self._evaluations, self._store = evaluations, store
        tasks, models = evaluations.tasks, list(evaluations.folders)
        gr.HTML(scores_html(score_tables(evaluations.results), notes(evaluations.results)))
        with gr.Row():
            self._task = gr.Dropdown(tasks, value=tasks[0] if tasks else None, label="Questions", min_width=140)
            names = [("any model", ""), *((model, model) for model in models)]
            self._model = gr.Dropdown(names, value="", label="Answered by", visible=len(models) > 1, min_width=140)
            kinds = [kind for kind in FILTERS if kind != CHANGED or len(models) > 1]
            labels = [("all answers", ""), *((FILTERS[kind], kind) for kind in kinds)]
            self._kind = gr.Dropdown(labels, value="", label="Answer", min_width=160)
        with gr.Row():
            previous = gr.Button("← Previous (k)", elem_id="results-previous", min_width=100, scale=2)
            self._number = gr.Number(1, label="Question", precision=0, minimum=1, container=False, min_width=60)
            following = gr.Button("Next (j) →", elem_id="results-next", variant="primary", min_width=100, scale=2)
        question = gr.HTML(elem_id="question")
        filters = [self._task, self._model, self._kind]
        self._outputs = [question, self._number]
        self._quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        inputs = [*filters, self._number]
        previous.click(lambda *values: self.move(-1, *values), inputs, self._outputs, **self._quiet)
        following.click(lambda *values: self.move(1, *values), inputs, self._outputs, **self._quiet)
        self._number.submit(lambda *values: self.move(0, *values), inputs, self._outputs, **self._quiet)
        chosen = [each.input for each in filters]
        gr.on(chosen, lambda *values: self.move(0, *values), filters, self._outputs, **self._quiet)

    def on_load(self, page: gr.Blocks) -> None:
        """Show the first question."""
        page.load(lambda task: self.move(0, task), self._task, self._outputs, **self._quiet)

    def move(
        self, step: int, task: str | None, model: str = "", kind: str = "", number: float | None = 1
    ) -> tuple[str, int]:
        """The question `step` on among those that were answered so, and its number among them from 1."""
        if not task:
            return message_html("There are no questions in these results."), 1
        try:
            found = self._evaluations.matching(task, model or "", kind or "")
            if not found:
                return message_html("No question was answered so."), 1
            place = min(max(0, int(number or 1) - 1 + step), len(found) - 1)
            question = self._evaluations.question(task, found[place])
            pictures = [shown(image, data_url, self._store) for image in question.images]
            return question_html(question, pictures, f"{place + 1:,} of {len(found):,}"), place + 1
        except InputError as error:
            return message_html(str(error), "problem"), 1
