"""What a report shows, and what the live page or static site shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cadvi_hub.core.ranges import Count, Port, Ranged, Seed, Tokens


@dataclass
class ReportSettings(Ranged):
    """What is reported.

    Attributes:
        models: model name → folder that `evaluate` wrote (results.json, predictions/, and judged/ where a judge rated
            it), in the order of the rows. `cadvi report FOLDER NAME=FOLDER …` is the short form.
        data: folder of built data sets; `v1` and `v2` in it are shown.
        questions: folder with `<task>/test*.parquet`, the questions that the models answered; without it, answers are
            shown without pictures.
        out: folder for results.json, report.md and index.html.
        trainings: name → output folder of a training (training.json).
        baseline: the model that every other one is compared with, question by question; "" takes the first.
        paper: whether to show the paper's numbers below ours. They are of other models, and comparable only with
            scores on the paper's own questions.
        note: what a reader must know about these results, in plain words; shown beside them.
        seed: of the choice of samples, and of the bootstrap.
    """

    models: dict[str, Path]
    data: Path | None = None
    questions: Path | None = None
    out: Path = Path("report")
    trainings: dict[str, Path] = field(default_factory=dict)
    baseline: str = ""
    paper: bool = False
    note: str = ""
    seed: Seed = 0


@dataclass
class AskSettings(Ranged):
    """What is asked about which pictures, and who answers.

    Attributes:
        images: the pictures, in their order. `cadvi ask A.jpg B.jpg "What differs?"` is the short form.
        question: about them; "" asks what two pictures have in common and how they differ.
        summary: ask for that, whatever the question.
        model: folder or Hub repo id of a model or adapter, or its name at the endpoint; "" takes the demo's V1 model
            if `make demo` has left one, otherwise the demo's base model.
        base_url: address of an OpenAI-compatible endpoint, up to and including `/v1`; "" runs the model here.
        api_key_env: name of the environment variable that holds the endpoint's key; unset means no key.
        max_tokens: longest answer.
        json: print JSON when the answer is complete: `{"answer": …}`, or the parsed summary.
    """

    images: list[Path] = field(default_factory=list)
    question: str = ""
    summary: bool = False
    model: str = ""
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    max_tokens: Tokens = 400
    json: bool = False


@dataclass
class ViewSettings(Ranged):
    """What the page shows, and where.

    Attributes:
        data: a built data set (`data/v1`), a folder of several (`data`), or such a repository on the Hub.
        results: name → folder that `cadvi evaluate` wrote, one or two of them. `cadvi view FOLDER NAME=FOLDER …` is
            the short form.
        questions: folder of the question sets that the models answered, or Hub repo id; without it, answers are shown
            without pictures.
        images: folders of the pictures that rows only name (`--images referenced`).
        model: the model that compares two pictures: folder or Hub repo id, or its name at the endpoint; "" takes the
            demo's V1 model if `make demo` has left one, otherwise the demo's base model.
        base_url: address of an OpenAI-compatible endpoint, up to and including `/v1`; "" runs the model here.
        api_key_env: name of the environment variable that holds the endpoint's key; unset means no key.
        host: address to listen on; 0.0.0.0 lets others in, who can then read all that is shown.
        host_names: more names under which browsers reach the page, such as that of a proxy. Requests for other names
            are refused, because any site can point its name at this machine.
        port: port to listen on.
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
    host_names: Sequence[str] = ()
    port: Port = 7860
    export: Path | None = None
    rows: Count = 100
