"""The tab in which a model compares two pictures and answers questions about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from cadvi_hub.annotation.prompt import plain, render_prompt
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import Message, message
from cadvi_hub.generation.chat import ChatRequest, Decoding
from cadvi_hub.pages.chat import IN_COMMON_AND_DIFFERENT, Chat
from cadvi_hub.pages.guard import MAX_BYTES
from cadvi_hub.pages.pictures import Shown, data_url, for_page, stored_bytes
from cadvi_hub.pages.rendering import Turn, answer_turn, chat_html, message_html, turns
from cadvi_hub.pages.rows import DataRows

MAX_QUESTION = 2_000  # characters
DECODING = Decoding(max_tokens=400)
# What was written so far stays; nothing more is written.
STILL = "() => document.querySelectorAll('#conversation .writing').forEach((each) => each.classList.remove('writing'))"

Streamed = Iterator[tuple[Any, ...]]


@dataclass
class Conversation:
    """Two encoded pictures and what has been said about them."""

    images: tuple[bytes, ...] = ()
    pictures: tuple[Shown, ...] = ()
    messages: list[Message] = field(default_factory=list)


class CompareTab:
    """The tab; `place` holds the components that say which row of `sets` the data tab shows, if there is one."""

    def __init__(
        self,
        chat: Chat,
        sets: Mapping[str, DataRows],
        store: ImageStore | None,
        place: Sequence[gr.components.Component],
    ):
        self._chat, self._sets, self._store = chat, sets, store
        gr.HTML(
            message_html(f"Give two pictures: a model says what they have in common and how they differ. {chat.about}")
        )
        with gr.Row():
            kinds = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".mpo"]
            files = [
                gr.File(
                    label=f"Picture {number}", file_types=kinds, height=140, min_width=200, elem_id=f"picture-{number}"
                )
                for number in (1, 2)
            ]
        with gr.Row():
            compare = gr.Button("Compare these two pictures", variant="primary", elem_id="compare")
            pick = gr.Button("Compare the pair of the Data tab", elem_id="compare-row", visible=bool(place))
            stop = gr.Button("Stop", elem_id="compare-stop", min_width=80)
        said = gr.HTML(elem_id="conversation")
        with gr.Row():
            question = gr.Textbox(
                label="Ask more about these pictures", max_length=MAX_QUESTION, scale=4, elem_id="follow-up"
            )
            ask = gr.Button("Ask", elem_id="ask", min_width=80)
        state = gr.State(Conversation())
        outputs = [said, state, question]
        quiet: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "concurrency_id": "model",
            "concurrency_limit": 2,
        }
        running = [
            compare.click(self.compare_uploads, files, outputs, **quiet),
            gr.on([ask.click, question.submit], self.ask, [question, state], outputs, **quiet),
        ]
        if place:
            running.append(pick.click(self.compare_row, list(place), outputs, **quiet))
        stop.click(None, cancels=running, js=STILL)

    def compare_uploads(self, first: str | None, second: str | None) -> Streamed:
        """The summary of two uploaded files, as it is written."""
        if not first or not second:
            yield message_html("Give two pictures first."), Conversation(), ""
            return
        try:
            images = []
            for number, file in enumerate((first, second), 1):
                if Path(file).stat().st_size > MAX_BYTES:
                    problem = f"the file is larger than {MAX_BYTES // 1_000_000} MB"
                    raise InputError(f"picture {number}", problem, "Scale it down")
                images.append(Path(file).read_bytes())
            yield from self._compare(images)
        except (InputError, OSError) as error:
            yield message_html(str(error), "problem"), Conversation(), ""

    def compare_row(self, name: str, number: float | None) -> Streamed:
        """The summary of the pictures of a data set's row, as it is written."""
        try:
            row = self._sets[name].row(max(0, int(number or 1) - 1)) or {}
            images = []
            for image in row.get("images") or ():
                images.append(stored_bytes(image, self._store))
            if len(images) != 2:
                raise InputError("this row", f"it has {len(images)} pictures", "Choose a row with two")
            yield from self._compare(images)
        except InputError as error:
            yield message_html(str(error), "problem"), Conversation(), ""

    def ask(self, question: str, conversation: Conversation) -> Streamed:
        """The answer to one more question about the same pictures."""
        question = plain((question or "").strip())[:MAX_QUESTION]
        if not conversation.messages:
            yield message_html("Compare two pictures first."), conversation, question
        elif question:
            yield from self._answer(conversation, [*conversation.messages, message("user", question)], question)
        else:
            yield gr.skip(), conversation, ""

    def _compare(self, images: Sequence[bytes]) -> Streamed:
        checked = [for_page(image, f"picture {number}") for number, image in enumerate(images, 1)]
        pictures = tuple(Shown(data_url(picture), picture.width, picture.height) for picture in checked)
        conversation = Conversation(tuple(images), pictures)
        yield from self._answer(conversation, render_prompt("compare_images", wording=IN_COMMON_AND_DIFFERENT))

    def _answer(self, conversation: Conversation, messages: list[Message], asked: str = "") -> Streamed:
        """The conversation with the answer to the last of `messages`; a failed one leaves it as it was, and what was
        `asked` in the box."""
        said, text = [_spoken(turn) for turn in turns(messages)], ""
        request = ChatRequest(messages, conversation.images, DECODING)

        def html(answer: Turn, writing: bool) -> str:
            return chat_html(conversation.pictures, [*said, answer], self._chat.name, writing)

        yield html(Turn("assistant", ""), True), conversation, ""
        try:
            for piece in self._chat.stream(request):
                text += piece
                yield html(Turn("assistant", text), True), gr.skip(), gr.skip()
        except InputError as error:
            problem = message_html(str(error), "problem")
            yield chat_html(conversation.pictures, said, self._chat.name) + problem, conversation, asked
            return
        answered = Conversation(
            conversation.images, conversation.pictures, [*messages, message("assistant", plain(text))]
        )
        yield html(answer_turn(text), False), answered, ""


def _spoken(turn: Turn) -> Turn:
    return answer_turn(turn.text) if turn.role == "assistant" else turn
