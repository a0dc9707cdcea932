"""The live page: three tabs by Gradio, on this machine alone by default, and nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.pages.chat import chat_with
from cadvi_hub.pages.compare_tab import CompareTab
from cadvi_hub.pages.data_tab import DataTab
from cadvi_hub.pages.evaluations import Evaluations
from cadvi_hub.pages.guard import MAX_BYTES, Guard, NameGuard
from cadvi_hub.pages.rendering import asset, message_html, tagger
from cadvi_hub.pages.results_tab import ResultsTab
from cadvi_hub.pages.rows import DataRows, open_sets
from cadvi_hub.pages.settings import ViewSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's own scripts are inline and evaluate templates; but nothing may be loaded from, or sent, elsewhere.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'self'; object-src 'none'"
)

MAX_WAITING = 32  # requests in the queue of each event; more are told to come back


class Headers:
    """Adds `POLICY` to every response."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(event: Message) -> None:
            if event["type"] == "http.response.start":
                added = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                event["headers"] = [*event["headers"], *added]
            await send(event)

        await self._app(scope, receive, answer)


def serve(settings: ViewSettings, block: bool = True) -> gr.Blocks:
    """Start the page; with `block` until it is stopped.

    Raises:
        InputError: a folder or file that cannot be read, or the port is taken.
    """
    page = make_page(settings)
    known: dict[str, Any] = {"listening": settings.host, "names": settings.host_names}
    try:
        page.launch(
            server_name=settings.host,
            server_port=settings.port,
            share=False,
            prevent_thread_lock=True,  # so that the address is printed first
            quiet=True,  # what it says is for those who write Gradio programs
            max_file_size=MAX_BYTES,
            footer_links=[],
            ssr_mode=False,
            run_history=False,
            theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),  # no fonts of Google's
            css=asset("page.css"),
            head=f"<script>{asset('keys.js')}</script>",
            app_kwargs={"middleware": [Middleware(Headers), Middleware(Guard, **known)]},
        )
    except OSError as error:
        place = f"port {settings.port} of {settings.host}"
        raise InputError(
            place, "it is taken, or the address is not this machine's", "Choose another --port"
        ) from error
    # Gradio puts its own around ours, and answers there whatever a browser asks on behalf of another site.
    page.app.middleware_stack = NameGuard(page.app.middleware_stack, **known)
    print(f"The page is at {page.local_url} until Ctrl+C stops it", flush=True)
    if block:
        page.block_thread()
    return page


def make_page(settings: ViewSettings) -> gr.Blocks:
    """The page, not yet served.

    Raises:
        InputError: a folder or file that cannot be read.
    """
    sets: Mapping[str, DataRows] = open_sets(settings.data) if settings.data else {}
    questions = open_sets(settings.questions) if settings.questions and settings.results else {}
    evaluations = Evaluations(settings.results, questions) if settings.results else None
    chat = chat_with(settings.model, settings.base_url, settings.api_key_env)
    store = ImageFolders(settings.images, search=True) if settings.images else None
    if any("captions" in rows.columns() for rows in sets.values()):
        tagger()  # so that the first row does not wait for it
    tabs: list[Any] = []
    with gr.Blocks(title="Comparing two images", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        with gr.Tab("Data"):
            if sets:
                tabs.append(DataTab(sets, store))
            else:
                gr.HTML(message_html("No data set was named. Start it as: cadvi view --data data/v1"))
        with gr.Tab("Results"):
            if evaluations:
                tabs.append(ResultsTab(evaluations, store))
            else:
                gr.HTML(
                    message_html("No results were named. Start it as: cadvi view out/evaluation --questions questions")
                )
        with gr.Tab("Compare"):
            CompareTab(chat, sets, store, tabs[0].place if sets else ())
        for tab in tabs:
            tab.on_load(page)
    page.queue(max_size=MAX_WAITING)
    return page
