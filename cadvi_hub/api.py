"""The names for notebooks and scripts: `from cadvi_hub import mine_pairs, summarize, train, compare_images, score`.

Each calls the code behind a command of `cadvi`, with that command's keys as keyword arguments; a key in a group
(`pairs.min_shared`) is in a mapping (`pairs={"min_shared": 1}`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.schema import CadSummary, CaptionedImage, ImagePair
from cadvi_hub.core.summaries import parse_summary, render_summary

__all__ = [
    "build",
    "build_benchmark",
    "compare_images",
    "evaluate",
    "merge",
    "mine_pairs",
    "parse_summary",
    "publish",
    "read_answer",
    "render_summary",
    "report",
    "score",
    "summarize",
    "train",
]


def mine_pairs(captions: Mapping[str, str] | Iterable[tuple[str, str]], **settings: Any) -> list[ImagePair]:
    """Pairs of pictures whose captions share nouns, best first.

    >>> pairs = mine_pairs({
    ...     "1.jpg": "A red kite over a beach.",
    ...     "2.jpg": "A blue kite above a sandy beach.",
    ...     "3.jpg": "A cat sleeps on a sofa.",
    ... })
    >>> [(sorted(pair.images), pair.shared_nouns) for pair in pairs]
    [(['1.jpg', '2.jpg'], ('beach', 'kite'))]

    Args:
        captions: picture → caption, or (picture, caption) where a picture has several.
        settings: keys of `pairs` in `cadvi build`, such as `min_shared=1`.

    Raises:
        InputError: a caption that is too long, or a number out of its range.
    """
    from cadvi_hub.pairing.nouns import tag_captions
    from cadvi_hub.pairing.pairs import mine_pairs as mined
    from cadvi_hub.pairing.settings import PairSettings

    pair_settings = PairSettings(**settings)
    items = captions.items() if isinstance(captions, Mapping) else captions
    images = [CaptionedImage(Path(name).stem, name, caption, "captions") for name, caption in items]
    texts = [image.caption for image in images]
    tagged = list(tag_captions(texts, pair_settings.spacy_model, workers=1))  # a notebook cannot start others
    kept = [(image, tag) for image, tag in zip(images, tagged, strict=True) if not tag.language]
    result = mined(
        [image for image, _ in kept], [tag.nouns for _, tag in kept], pair_settings, [tag.wording for _, tag in kept]
    )
    return result.pairs


def summarize(pair: ImagePair | tuple[str, str], **annotator: Any) -> CadSummary:
    """What two captions have in common and how they differ.

    >>> summary = summarize(("A red kite over a beach.", "A blue kite over a beach."))
    >>> [(difference.aspect.value, difference.text) for difference in summary.differences]
    [('Attributes', 'Image 1 shows a red kite, while image 2 shows a blue kite.')]

    Args:
        pair: a pair of `mine_pairs`, or two captions.
        annotator: keys of `annotator` in `cadvi build`, such as `kind="server", model=…, base_url=…`; without them,
            rules write down what the captions mention. A model's replies are stored in `replies.sqlite`.

    Raises:
        InputError: settings that do not fit, or a summary that the filters drop; the error has the reason.
    """
    from cadvi_hub.annotation.annotators import make_annotator
    from cadvi_hub.annotation.filters import Dropped
    from cadvi_hub.annotation.settings import AnnotatorSettings
    from cadvi_hub.core.errors import InputError
    from cadvi_hub.core.images import ImageFolders

    if not isinstance(pair, ImagePair):
        pair = ImagePair("|".join(pair), ("1", "2"), "captions", pair)
    writer = make_annotator(AnnotatorSettings(**annotator), Path())
    _, summary = next(iter(writer.annotate([pair], ImageFolders([Path()]))))
    if isinstance(summary, Dropped):
        raise InputError(f"pair {pair.pair_id}", f"its summary is dropped ({summary.reason})", "Take another pair")
    return summary


def build(config: str, path: str | Path, out: str | Path, name: str = "mine", **settings: Any) -> Path:
    """Build a data set as `cadvi build` does, and return its folder.

    >>> build("v1", "my_pictures", "data", pairs={"min_shared": 1})  # doctest: +SKIP
    PosixPath('data/v1')

    Args:
        config: `v1`, `v2`, `instruct` or `cad_qa`.
        path: folder of the upstream files; `source={"format": …}` says what they look like.
        out: output folder.
        name: of the source, as the rows have it.
        settings: more keys of `cadvi build`.

    Raises:
        InputError: as `builder.build.build`.
    """
    from cadvi_hub.builder.build import build as build_data_set

    source = {"path": str(path), "name": name, **settings.pop("source", {})}
    return build_data_set(_settings("build", {"dataset": config, "source": source, "out": str(out), **settings}))


def train(recipe: str | Path, **settings: Any) -> Path:
    """Tune a model by a recipe as `cadvi train` does, and return the folder of the merged model.

    >>> train("five-minutes", max_steps=2, output_dir="out/tried")  # doctest: +SKIP
    PosixPath('out/tried/merged')

    Args:
        recipe: a YAML file, or the name of a packaged one.
        settings: keys that win over the recipe.

    Raises:
        InputError: as `training.sft.train`.
    """
    from cadvi_hub.training.recipe import parse
    from cadvi_hub.training.sft import train as tune

    return tune(*parse(["--config", str(recipe), *_arguments(settings)]))


def merge(adapter: str | Path, out: str | Path) -> Path:
    """Merge an adapter into its base as `cadvi merge` does, and return the folder of the merged model."""
    from cadvi_hub.training.adapters import merge_adapter
    from cadvi_hub.training.settings import MergeSettings

    merge_adapter(MergeSettings(str(adapter), Path(out)))
    return Path(out)


def compare_images(
    first: str | Path, second: str | Path, question: str = "", model: str = "", base_url: str = ""
) -> str:
    """A model's answer about two pictures, as `cadvi ask` gives it.

    >>> compare_images("left.jpg", "right.jpg", "What differs?", model="out/v1/merged")  # doctest: +SKIP
    'Image 1 shows a red kite, while image 2 shows a blue kite.'

    Args:
        first: file of a picture.
        second: file of a picture.
        question: without one, the model is asked what they have in common and how they differ.
        model: folder or Hub id of a model or adapter, or its name at the endpoint; the demo's model by default.
        base_url: address of an OpenAI-compatible endpoint; "" runs the model here.

    Raises:
        InputError: a picture that cannot be read, or a model that fails.
    """
    from cadvi_hub.pages.ask import answer_of
    from cadvi_hub.pages.settings import AskSettings

    return answer_of(AskSettings([Path(first), Path(second)], question, model=model, base_url=base_url))


def build_benchmark(task: str, questions: str | Path, out: str | Path, **settings: Any) -> Path:
    """Make a question set as `cadvi benchmarks build` does; returns `out`, which `evaluate` takes as its data."""
    from cadvi_hub.eval.benchmarks.build import build_benchmark as make

    make(_settings("benchmarks build", {"task": task, "questions": str(questions), "out": str(out), **settings}))
    return Path(out)


def evaluate(model: str | Path, data: str | Path, out: str | Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """Scores of a model on question sets, as `cadvi evaluate` computes them: task → metric → value.

    >>> evaluate("out/v1/merged", "out/questions", "out/evaluation/v1")["bison"]["accuracy"]  # doctest: +SKIP
    0.55

    Raises:
        InputError: as `eval.evaluate.evaluate`.
    """
    from cadvi_hub.eval.evaluate import evaluate as run

    return run(_settings("evaluate", {"model": str(model), "data": str(data), "out": str(out), **settings}))


def read_answer(answer: str, options: Sequence[str], tolerant: bool = True) -> str | None:
    """The option that a free answer chooses; None if it chooses none, or several.

    >>> read_answer("I would choose B over A.", ["A", "B"])
    'B'
    >>> read_answer("The statement is not entirely true.", ["True", "False"])
    'False'
    >>> read_answer("It could be either.", ["A", "B"]) is None
    True

    Args:
        answer: what the model wrote.
        options: what may be answered: letters, True and False, or words.
        tolerant: reads whole sentences; otherwise only the option itself counts, as in the paper.
    """
    from cadvi_hub.annotation.answers import read_answer as read

    return read(answer, options, "tolerant" if tolerant else "strict")


def score(
    answers: Sequence[str], right: Sequence[str], options: Sequence[str], tolerant: bool = True
) -> dict[str, Any]:
    """The share of right answers with its 95 % interval (Wilson), and how many answers could not be read.

    >>> score(["The answer is A.", "B", "No idea.", "A"], right=["A", "B", "A", "B"], options=["A", "B"])
    {'n': 4, 'accuracy': 0.5, 'accuracy_interval': (0.15, 0.85), 'unreadable': 1}

    Args:
        answers: what the model wrote.
        right: the right option of each.
        options: of all questions.
        tolerant: as in `read_answer`.

    Raises:
        InputError: no answers, or not as many as right ones.
    """
    from cadvi_hub.core.errors import InputError
    from cadvi_hub.eval.intervals import wilson_interval

    if not answers or len(answers) != len(right):
        raise InputError("score", f"{len(answers)} answers for {len(right)} right ones", "Give one for each")
    read = [read_answer(answer, options, tolerant) for answer in answers]
    hits = sum(option == wanted for option, wanted in zip(read, right, strict=True))
    low, high = wilson_interval(hits, len(answers))
    return {
        "n": len(answers),
        "accuracy": hits / len(answers),
        "accuracy_interval": (round(low, 4), round(high, 4)),
        "unreadable": read.count(None),
    }


def report(evaluations: Mapping[str, str | Path], out: str | Path, **settings: Any) -> Path:
    """Write tables and a page of evaluations (name → folder) as `cadvi report` does, and return the page's file."""
    from cadvi_hub.pages.report import report as write

    models = {name: str(folder) for name, folder in evaluations.items()}
    write(_settings("report", {"models": models, "out": str(out), **settings}))
    return Path(out) / "index.html"


def publish(kind: str, folder: str | Path, repo_id: str, **settings: Any) -> Any:
    """Push a data set or a model to the Hub with its card, as `cadvi publish` does."""
    from cadvi_hub.hub.publish import publish as push

    return push(_settings("publish", {"kind": kind, "folder": str(folder), "repo_id": repo_id, **settings}))


def _settings(command: str, keys: Mapping[str, Any]) -> Any:
    """The settings of a command of `cadvi` from keyword arguments, with the same checks."""
    from cadvi_hub.cli import parse_settings

    return parse_settings(command, _arguments(keys))


def _arguments(keys: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as those of a command line."""
    texts = {
        key: str(value) if isinstance(value, str | Path) else json.dumps(value, default=str)
        for key, value in keys.items()
    }
    return [f"--{key}={text}" for key, text in texts.items()]
