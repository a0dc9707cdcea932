"""A page to look at pairs, results of evaluations, and two pictures beside each other; live, or as files."""

from __future__ import annotations

from cadvi_hub.core.errors import InputError
from cadvi_hub.pages.settings import ViewSettings


def view(settings: ViewSettings) -> str | None:
    """Serve the page until it is stopped, or write it to `settings.export`.

    Returns:
        The path of the written page.

    Raises:
        InputError: a folder or file that cannot be read, more than two results, gradio is missing, or the port is
            taken.
    """
    if len(settings.results) > 2:
        problem = f"{len(settings.results)} are named"
        raise InputError("results", problem, "Name one or two; `cadvi report` takes more")
    if settings.export:
        from cadvi_hub.pages.export import export

        return f"Page: {export(settings)}"
    try:
        from cadvi_hub.pages.page import serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise InputError("gradio", "it is not installed", 'Run `pip install "cadvi-hub[view]"`') from error
    serve(settings)
    return None
