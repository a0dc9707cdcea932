"""A page to look at pairs, results of evaluations, and two pictures beside each other; live, or as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cadvi_hub.core.errors import InputError


@dataclass
class ViewSettings:
    """What the page shows, and where.

    Attributes:
        data: a built data set (`data/v1`), a folder of several (`data`), or such a repository on the Hub.
        results: name → folder that `cadvi evaluate` wrote, one or two of them. `cadvi view FOLDER NAME=FOLDER …` is
            the short form.
        questions: folder of the question sets that the models answered, or Hub repo id; without it, answers are shown
            without pictures.
        images: folders of the pictures that rows only name (`--images referenced`).
        model: the model that compares two pictures: folder or Hub repo id, or its name at the endpoint; "" takes the
            demo's V1 model where `make demo` has left one, else the demo's base model.
        base_url: address of an OpenAI-compatible endpoint, up to and including `/v1`; "" runs the model here.
        api_key_env: name of the environment variable that holds the endpoint's key; unset means no key.
        host: address to listen on; 0.0.0.0 lets others in, who can then read all that is shown.
        port: to listen on.
        export: folder for a page of files that needs no server; nothing is served then.
        rows: exported rows of each data set, and questions of each benchmark, spread evenly.
    """

    data: str = ""
    results: dict[str, Path] = field(default_factory=dict)
    questions: str = ""
    images: Sequence[Path] = ()
    model: str = ""
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    host: str = "127.0.0.1"
    port: int = 7860
    export: Path | None = None
    rows: int = 100


def view(settings: ViewSettings) -> str | None:
    """Serve the page until it is stopped, or write it to `settings.export`.

    Returns:
        Where the written page lies.

    Raises:
        InputError: a folder or file that cannot be read, gradio is missing, or the port is taken.
    """
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
