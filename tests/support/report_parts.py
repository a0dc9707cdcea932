"""Small evaluations, data sets and ratings in the form that the real code writes them, and a reader of the page."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import message, v1_features, v2_features
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS, SWAPPED
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.judge.run import rating_scores
from cadvi_hub.eval.scoring import prediction, task_scores
from cadvi_hub.eval.swapping import swap_images
from cadvi_hub.pages.report import collect, write_report
from cadvi_hub.pages.settings import ReportSettings

SVG = "data:image/svg+xml;base64,"
HOSTILE = '<script>alert("x")</script>'
CLOSED = ("bison", "svo_probes", "nlvr2", "eqben", "cola", "single_image")
N = 10  # questions a set


def picture(colour: str, size: int = 16) -> dict[str, Any]:
    return {"bytes": encode_png(Image.new("RGB", (size, size), colour)), "path": f"{colour}.png"}


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def question(task: str, index: int) -> dict[str, Any]:
    options = list(BENCHMARKS[task].options) or (["red", "blue"] if task == "single_image" else [])
    pair, one_image = BENCHMARKS[task].in_pairs, BENCHMARKS[task].images == 1
    return {
        "id": f"{index // 2}_{index % 2}" if pair else str(index),
        "images": [picture("red"), picture("blue")][: 1 if one_image else 2],
        "question": "<image> Which colour?" if one_image else "First <image> second <image>: which?",
        "options": options,
        "answer": options[index % 2] if options else "one red and one blue square",
        "task": task,
        "category": "verb" if task == "svo_probes" else "",
        "group": str(index // 2) if pair else str(index),
        "source": "test",
    }


def evaluation(
    folder: Path, right: int, tasks: Sequence[str] = CLOSED, wrong: str = "C", both_orders: bool = False
) -> Path:
    """What `evaluate` leaves: of each set the first `right` of 10 questions are right, the others answered `wrong`.

    With `both_orders`, the same letters are answered to the swapped questions.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        asked = [question(task, index) for index in range(N)]
        said = [row["answer"] if index < right else wrong for index, row in enumerate(asked)]
        rows[task] = _predicted(task, asked, said)
        if both_orders and BENCHMARKS[task].swaps:
            swapped = [each for row in asked if (each := swap_images(row))]
            rows[task + SWAPPED] = _predicted(task, swapped, said)
    for task, predictions in rows.items():
        lines = (json.dumps(row) + "\n" for row in predictions)
        write_json(folder / "predictions" / f"{task}.jsonl", {}).write_text("".join(lines), "utf-8")
    write_json(folder / "results.json", {task: task_scores(task, rows, both_orders) for task in rows})
    return folder


def _predicted(task: str, asked: Sequence[Mapping[str, Any]], said: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"index": index, **prediction(task, row, row["answer"], text)}
        for index, (row, text) in enumerate(zip(asked, said, strict=True))
    ]


def judged(folder: Path, judge: str, values: Sequence[int | None], task: str = "cad_qa") -> None:
    """What `cadvi judge run` leaves beside an evaluation's answers to `task`; None is an unreadable rating."""
    rated = [
        {
            "index": index,
            "id": str(index),
            "rating": value,
            "reason": "" if value is None else f"Reason {index}.",
            "readable": value is not None,
            "fault": "prose" if value is None else "",
            "cut": False,
        }
        for index, value in enumerate(values)
    ]
    digest = hashlib.sha256((folder / "predictions" / f"{task}.jsonl").read_bytes()).hexdigest()
    scores = {"judge": judge, "judge_prompt": "ab" * 32, "judge_decoding": "{}", "predictions": digest}
    place = folder / "judged" / judge.replace("/", "--")
    write_json(place / "judge.json", {"judge": judge, "endpoint": {}, "tasks": {task: rating_scores(rated) | scores}})
    (place / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rated), "utf-8")


def pair_row(index: int, config: str, caption: str, size: int) -> dict[str, Any]:
    request = message("user", "Image 1: <image>\nImage 2: <image>\nCompare the two images.")
    messages = [request, message("assistant", "Commonalities:\n…")]
    own: dict[str, Any] = {"context": f"The dog {index} is gone."}
    if config == "v1":
        messages += [message("user", f'Which image suits "{caption}"?'), message("assistant", "B")]
        own = {"captions": [caption, "Two dogs sleep."]}
    return {
        "id": f"pair-{index}",
        "images": [picture("green", size), picture("yellow", size)],
        "messages": messages,
        "source": "test",
        "commonalities": f"Both images show a dog ({config}).",
        "differences": [{"aspect": "Counts", "text": f"One dog, then two {HOSTILE}."}],
        "shared_nouns": ["dog"] if config == "v1" else [],
        "annotator": "mentions",
        "prompt_hash": "",
        "decoding": "{}",
        **own,
    }


def data_set(folder: Path, config: str, caption: str = "A dog runs.", number: int = 9, size: int = 16) -> None:
    """A finished build in two shards."""
    features: Features = v1_features() if config == "v1" else v2_features()
    rows = [pair_row(index, config, caption, size) for index in range(number)]
    names = [f"train-0000{part}-of-00002.parquet" for part in range(2)]
    facts = {
        "config": config,
        "rows": number,
        "files": names,
        "pair_counts": {"captions": 40} if config == "v1" else {},
        "drops": {"summary too short": {"count": 1234, "first": ["pair-77"]}},
        "statistics": {},
    }
    write_json(folder / config / "build.json", facts)
    for name, part in zip(names, (rows[:4], rows[4:]), strict=True):
        pq.write_table(pa.Table.from_pylist(part, features.arrow_schema), folder / config / name)


class Page(HTMLParser):
    """What a page holds: start tags with their attributes, text, and whether all tags are closed in order."""

    VOID = ("meta", "img", "input")

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.script = ""
        self.feed(path.read_text("utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.script += data
        else:
            self.text += data

    def pictures(self) -> list[dict[str, str | None]]:
        """The attributes of all pictures but the charts."""
        return [each for each in self.attributes("img") if not (each["src"] or "").startswith(SVG)]

    def charts(self) -> list[tuple[str, ElementTree.Element]]:
        """The alternative text and the SVG of each chart."""
        urls = [(each["alt"] or "", each["src"] or "") for each in self.attributes("img")]
        drawn = [(alt, b64decode(url[len(SVG) :])) for alt, url in urls if url.startswith(SVG)]
        return [(alt, ElementTree.fromstring(svg)) for alt, svg in drawn]  # noqa: S314  (they are ours)

    def attributes(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def reported(folder: Path) -> ReportSettings:
    """Two models, two data sets and two trainings below `folder`, one of which left no log."""
    tasks = (*CLOSED, "cad_qa")
    write_questions((question(task, index) for task in tasks for index in range(N)), folder / "questions")
    data_set(folder / "data", "v1")
    data_set(folder / "data", "v2")
    curve = [{"step": step, "loss": 2 / step} for step in range(1, 31)]
    log = {"finished": True, "rows": {"v1": 90}, "steps": 30, "wall_seconds": 61.0, "curve": curve}
    write_json(folder / "training" / "v2" / "training.json", log)
    (folder / "training" / "v1").mkdir()
    return ReportSettings(
        models={
            "base": evaluation(folder / "evaluation" / "base", 5),
            "v2": evaluation(folder / "evaluation" / "v2", 8, tasks),
        },
        data=folder / "data",
        questions=folder / "questions",
        trainings={name: folder / "training" / name for name in ("v1", "v2")},
        out=folder / "out",
        note="Summaries of V1 were written by `mentions`.",
    )


def page_of(settings: ReportSettings) -> Path:
    return write_report(settings, collect(settings))
