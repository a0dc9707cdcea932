"""How well `cadvi judge differences --made` tells good judges from poor ones, on summaries of the drawn world.

    python benchmarks/judge_differences.py --made 50

Captions of drawn scenes become summaries without a model (`mentions`), and summaries become lists of differences.
Answers are made of these lists, so that the truth of each item is known. Scripted judges compare them, at an endpoint
on loopback. `--model NAME --base-url URL` measures a real judge beside them; without an address it runs in this
process.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.judge.differences import judge_differences
from cadvi_hub.eval.judge.settings import DifferencesSettings, JudgeModelSettings
from cadvi_hub.eval.settings import BenchmarkSettings
from cadvi_hub.sources.settings import SourceSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.settings import WorldSettings
from tests.support.judges import part
from tests.support.openai_server import Answer, openai_server

Judge = Callable[
    [list[str], str], int
]  # items of the reference, and one of the answer → the number of its match, or 0
KINDS = ("same", "halves_exchanged", "images_exchanged", "borrowed")
CAPTIONS_PER_ANSWER = 4  # so that enough of them pair up


def words(item: str) -> list[str]:
    return re.findall(r"\w+", item.lower())


def first_equal(form: Callable[[str], Any]) -> Judge:
    """A judge for whom two items say the same if their forms are equal."""

    def judge(reference: list[str], item: str) -> int:
        forms = list(map(form, reference))
        return forms.index(form(item)) + 1 if form(item) in forms else 0

    return judge


def halves(item: str) -> set[str]:
    """What an item says, whichever image it names first."""
    return {" ".join(words(half)) for half in re.split(r"\bwhile\b", item.partition(": ")[2] or item)}


def nearest(reference: list[str], item: str) -> int:
    """The item that shares the most words: this judge never says 0."""
    shared = [(Counter(words(each)) & Counter(words(item))).total() for each in reference]
    return shared.index(max(shared)) + 1


JUDGES: dict[str, Judge] = {
    "right": first_equal(halves),
    "compares words in their order": first_equal(words),
    "forgets which image is which": first_equal(lambda item: sorted(words(item))),
    "always says yes": nearest,
    "always says no": lambda reference, item: 0,
}


def make_questions(folder: Path, made: int) -> Path:
    """The question set cad_summary over pairs of drawn pictures; returns its folder."""
    captions = WorldSettings(
        captioned=CAPTIONS_PER_ANSWER * made, edited=0, similar=0, instruct=0, questions=0, out=folder / "world"
    )
    source = SourceSettings(make_world(captions) / "captioned", "scenes")
    data = build(BuildSettings("v1", source, folder / "data"))
    build_benchmark(BenchmarkSettings("cad_summary", data, folder / "questions"))
    return folder / "questions"


def scripted(judge: Judge) -> Callable[[dict[str, Any], int], Answer]:
    def answer(request: dict[str, Any], _number: int) -> Answer:
        reference, items = (
            [line.partition(". ")[2] for line in part(request, name).splitlines()] for name in ("reference", "answer")
        )
        return Answer(json.dumps({"matches": [judge(reference, item) for item in items]}))

    return answer


def line(name: str, scores: dict[str, Any]) -> str:
    """A row of a Markdown table: agreement in all and by kind, and what the judge says of the answers."""
    shown = [f"agreement_{kind}" for kind in KINDS]
    cells = [
        f"{100 * scores[key]:.1f}" if key in scores else "–" for key in ("agreement", *shown, "precision", "recall")
    ]
    return f"| {name} | {' | '.join(cells)} | {100 * scores['unreadable']:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made", type=int, default=50, help="answers")
    parser.add_argument("--model", default="", help="a judge of your own")
    parser.add_argument("--base-url", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = make_questions(folder, given.made)

        def measure(title: str, judge: JudgeModelSettings) -> None:
            settings = DifferencesSettings(folder / "out", str(questions), made=given.made, judge=judge)
            scores = judge_differences(settings)["tasks"]["cad_summary"]
            if title == next(iter(JUDGES)):
                counts = ", ".join(f"{scores[f'agreement_{kind}_n']} {kind}" for kind in KINDS)
                print(f"{scores['n']} answers of {scores['agreement_n']} items: {counts}\n")
                print("| judge | agreement | " + " | ".join(KINDS) + " | precision | recall | unreadable |")
                print("|---" * (len(KINDS) + 5) + "|")
            print(line(title, scores), flush=True)

        for title, judge in JUDGES.items():
            with openai_server(scripted(judge)) as server:
                measure(title, JudgeModelSettings(server.base_url, model=title.replace(" ", "-")))
        if given.model:
            measure(
                given.model, JudgeModelSettings(given.base_url, model=given.model, json_schema=bool(given.base_url))
            )


if __name__ == "__main__":
    main()
